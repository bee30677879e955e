"""Which streams belong to one client process: those of one node that came over one connection.

Only for clients that take each type on a stream of its own: make before break then spans several streams, which must
know of one another (`penstock_xds.core.family`). A node id alone would not do, as several processes may claim the same
one; a connection has one process at its end. Envoy opens all its streams to a server over one connection.

Runs on the event loop's thread, like the sessions it wakes.
"""

from collections.abc import Callable

from penstock_xds.core.family import Family
from penstock_xds.views import Client

Wake = Callable[[], None]


class Household:
    """The streams of one client process. When one of them has moved, the others look again."""

    __slots__ = ("_wakes", "family")

    def __init__(self) -> None:
        self.family = Family()
        self._wakes: dict[str, Wake] = {}

    def enter(self, stream_id: str, wake: Wake) -> None:
        """Have a stream woken when another one has moved."""
        self._wakes[stream_id] = wake

    def stir(self, stream_id: str) -> None:
        """Wake all streams but this one, which has moved."""
        for other, wake in self._wakes.items():
            if other != stream_id:
                wake()

    def leave(self, stream_id: str) -> bool:
        """Forget a stream that has ended; whether it was the last one."""
        self._wakes.pop(stream_id, None)
        # What it held back, the others may send now.
        self.stir(stream_id)
        return not self._wakes


class Households:
    """The households of one server."""

    def __init__(self) -> None:
        self._households: dict[tuple[str, str, str], Household] = {}

    def __len__(self) -> int:
        return len(self._households)

    def of(self, client: Client) -> Household | None:
        """Return the household of a stream; None if it has none, as it is aggregated or its connection has no name."""
        if not client.method.type_url or client.peer.startswith("unix"):
            return None
        return self._households.setdefault(_key(client), Household())

    def leave(self, client: Client) -> None:
        """Forget a stream that has ended, and a household nobody is left in."""
        household = self._households.get(_key(client))
        if household is not None and household.leave(client.stream_id):
            del self._households[_key(client)]


def _key(client: Client) -> tuple[str, str, str]:
    return (client.group, client.node.id, client.peer)
