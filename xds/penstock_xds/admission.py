"""Who may be given a first answer now: at most so many streams at a time, in the order they came.

After a restart thousands of clients come at once, and each first answer is everything there is. Served all together
they would delay one another, hold all those bytes at once, and keep the event loop from the small urgent pushes to
clients that are long since connected. Those never ask here.

One event loop, no locks. Nothing here waits: who asks is called when its turn comes.
"""

from collections import OrderedDict
from collections.abc import Callable


class Ticket:
    """A place in the queue, then a slot, until it is given back."""

    __slots__ = ("_admission", "granted", "held")

    def __init__(self, admission: "Admission", granted: Callable[[], None]) -> None:
        self._admission = admission
        self.granted = granted
        """Called when the turn has come."""
        self.held = False
        """Whether the turn has come and the slot was not given back."""

    def give_back(self) -> None:
        """Leave the queue, or free the slot for the next in it. Again: nothing happens."""
        self._admission.take_back(self)


def _nobody() -> None:
    """Stand in for who was to be called."""


Queue = OrderedDict[Ticket, None]


class Admission:
    """So many slots; first come, first served, but for those who come again."""

    def __init__(self, slots: int) -> None:
        """Open the door.

        Args:
            slots: how many tickets are held at a time; at least 1.

        Raises:
            ValueError: fewer, which would admit nobody ever.

        """
        if slots < 1:
            raise ValueError(f"{slots} slots would admit nobody")
        self._slots = slots
        self._returning: Queue = OrderedDict()
        self._newcomers: Queue = OrderedDict()
        self.holding = 0
        """How many slots are taken."""

    @property
    def queued(self) -> int:
        """How many wait for a slot."""
        return len(self._returning) + len(self._newcomers)

    def ask(self, granted: Callable[[], None], *, returning: bool = False) -> Ticket:
        """Ask for a slot: the ticket is held at once if one is free, and `granted` is called later if not.

        `returning` goes before all who have had none yet: better that some clients are complete than all of them half.
        """
        ticket = Ticket(self, granted)
        if self.holding < self._slots:
            self._admit(ticket)
        else:
            (self._returning if returning else self._newcomers)[ticket] = None
        return ticket

    def take_back(self, ticket: Ticket) -> None:
        """Take a ticket back; for `Ticket.give_back`."""
        self._returning.pop(ticket, None)
        self._newcomers.pop(ticket, None)
        # A timer may hold the ticket for a while; it must not hold the stream with it.
        ticket.granted = _nobody
        if not ticket.held:
            return
        ticket.held = False
        self.holding -= 1
        queue = self._returning or self._newcomers
        if queue:
            following, _ = queue.popitem(last=False)
            self._admit(following)
            following.granted()

    def _admit(self, ticket: Ticket) -> None:
        ticket.held = True
        self.holding += 1
