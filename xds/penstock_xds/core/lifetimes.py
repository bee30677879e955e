"""When resources with a time to live must be heard of again.

Source: xDS protocol specification, "TTL". A client drops such a resource when its time is over; a heartbeat (name,
version and time to live, no body) starts its time anew. The client's time starts when it reads what is sent here, so
counting from the moment of sending errs on the safe side.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from penstock_xds.core.references import Held
from penstock_xds.core.snapshot import Resource

# A third, so that one that is lost or late leaves time for another.
_RENEW_AT: Final = 1 / 3
# When one is due, those due soon go along: one message instead of many.
_RENEW_ALONG_AT: Final = 1 / 6
# From here on a heartbeat might arrive after the end and find nothing to prolong, so the body goes along.
_DOUBTFUL_AT: Final = 2 / 3


@dataclass(slots=True)
class Due:
    """What must be heard of again now."""

    beats: list[str] = field(default_factory=list)
    """The client holds them for certain."""
    whole: list[str] = field(default_factory=list)
    """It may have dropped them."""


class Lifetimes:
    """The running times of one type on one stream."""

    __slots__ = ("_next", "_renewed", "_unsure")

    def __init__(self) -> None:
        self._renewed: dict[str, tuple[float, float]] = {}
        """Name to when it was last sent and its time to live."""
        self._unsure: set[str] = set()
        self._next: float | None = None

    @property
    def next_due(self) -> float | None:
        """When the next one is due; None if nothing here expires."""
        if self._next is None and self._renewed:
            self._next = min(at + ttl * _RENEW_AT for at, ttl in self._renewed.values())
        return self._next

    def note(self, resources: Iterable[Resource], now: float) -> None:
        """Note resources or heartbeats that are being sent."""
        for resource in resources:
            if resource.ttl is not None:
                self._renewed[resource.name] = (now, resource.ttl)
            else:
                self._renewed.pop(resource.name, None)
            self._unsure.discard(resource.name)
        self._next = None

    def doubt(self, resources: Iterable[Resource]) -> None:
        """Note heartbeats the client refused: next time they come with their bodies."""
        self._unsure.update(r.name for r in resources)

    def due(self, held: Mapping[str, Held], now: float) -> Due:
        """Find what is due, of what the client holds still."""
        found = Due()
        for name in [n for n in self._renewed if n not in held]:
            del self._renewed[name]
            self._unsure.discard(name)
        for name, (at, ttl) in self._renewed.items():
            age = now - at
            if age >= ttl * _DOUBTFUL_AT or (name in self._unsure and age >= ttl * _RENEW_AT):
                found.whole.append(name)
            elif age >= ttl * _RENEW_ALONG_AT and name not in self._unsure:
                found.beats.append(name)
        self._next = None
        return found
