"""One timer for all streams of a server, for what needs no exact moment: overdue writes and streams grown old.

A timer per write would cost more than many a write.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from penstock_xds.ageing import Ageing
from penstock_xds.session import Ending, Session

# Looking at 5 000 streams takes about a millisecond; once a second is nothing.
_LONGEST_PAUSE_SECONDS: Final = 1.0

# A wait may be found over this share of itself too late.
_LATENESS: Final = 1 / 8


class Patrol:
    """Walks round the sessions of a server while it runs."""

    def __init__(
        self,
        sessions: Mapping[str, Session],
        *,
        clock: Callable[[], float],
        write_timeout: float,
        ageing: Ageing | None,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._ageing = ageing
        shortest = min(write_timeout, write_timeout if ageing is None else ageing.max_age)
        self._pause = min(_LONGEST_PAUSE_SECONDS, shortest * _LATENESS)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Set out."""
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._go_round)

    def stop(self) -> None:
        """Stay at home. Again: nothing happens."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Look at each session once."""
        now = self._clock()
        for session in tuple(self._sessions.values()):
            session.give_up_if_overdue(now)
            if (
                self._ageing is not None
                and now >= session.retire_at
                and self._ageing.must_go(now, session.retire_at, settled=session.settled)
            ):
                session.end(Ending("the stream has reached its age"))

    def _go_round(self) -> None:
        self.look()
        self.start()
