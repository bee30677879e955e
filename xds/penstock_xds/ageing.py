"""When a stream has served its time.

Streams that live for months never spread over replicas that were added meanwhile. So each may be given an age, drawn
from a range so that those opened together do not leave together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# gRPC draws the age of each connection from within 10 % of what it is told.
_GRPC_JITTER: Final = 0.1


@dataclass(frozen=True, slots=True)
class Ageing:
    """How old streams may get."""

    max_age: float
    """Seconds, above 0."""
    jitter: float
    """The share of `max_age` by which a stream may end earlier, 0 to 1."""
    patience: float
    """Seconds a stream may outlive its age because it is in the middle of a change."""

    def __post_init__(self) -> None:
        if self.max_age <= 0 or not 0 <= self.jitter <= 1:
            raise ValueError(f"an age of {self.max_age} s with a jitter of {self.jitter} is no age")

    def retire_at(self, opened_at: float, random: Callable[[], float]) -> float:
        """Draw when a stream is to end; `random` returns 0 to 1."""
        return opened_at + self.max_age * (1 - self.jitter * random())

    def must_go(self, now: float, retire_at: float, *, settled: bool) -> bool:
        """Whether the stream ends now: it is old enough, and not in the middle of a change (for too long)."""
        return now >= retire_at and (settled or now >= retire_at + self.patience)

    @property
    def connection_age(self) -> float:
        """The age to tell gRPC, in seconds, so that it announces a connection's end before its streams reach theirs.

        A stream that ends alone is opened again on the same connection, to the same server. Told before that the
        connection is to end (GOAWAY), the client opens a new one and may come out at another replica.
        """
        return self.max_age * (1 - self.jitter) / (1 + _GRPC_JITTER)
