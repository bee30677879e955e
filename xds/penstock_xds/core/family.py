"""The streams one client process has open, where it takes each type, or each resource, on a stream of its own.

Without aggregation Envoy opens a stream for its clusters, one for its listeners, and one more for every set of
endpoints and every route configuration. Each is served by a `StreamCore`; what may be sent on one depends on what the
client has confirmed on another, so they share a family. An aggregated stream is a family of one.

A family reads the state of its members for `Gates`, tells them all of a new snapshot before any of them acts on it,
and changes nothing else. Whoever does the I/O lets the others look again when one of them has moved.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from penstock_xds.core.snapshot import Snapshot
from penstock_xds.core.type_state import TypeState


class Member(Protocol):
    """A stream of the family, as the others see it."""

    @property
    def types(self) -> Mapping[str, TypeState]:
        """The state of its types, by URL."""
        ...

    def take(self, snapshot: Snapshot, now: float) -> None:
        """Take what the client should have from now on."""
        ...


class Family:
    """Streams that are gated together. Not safe for concurrent use."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: tuple[Member, ...] = ()

    def join(self, member: Member) -> None:
        """Add a stream."""
        self._members = (*self._members, member)

    def leave(self, member: Member) -> None:
        """Remove a stream that has ended."""
        self._members = tuple(m for m in self._members if m is not member)

    @property
    def empty(self) -> bool:
        """Whether no stream is left."""
        return not self._members

    @property
    def several(self) -> bool:
        """Whether the client has more than one stream."""
        return len(self._members) > 1

    def want(self, snapshot: Snapshot, now: float) -> None:
        """Tell every stream, so that none acts on the new snapshot while another still goes by the old."""
        for member in self._members:
            member.take(snapshot, now)

    def states(self, type_url: str) -> list[TypeState]:
        """Return the states of a type on all streams; a stream that was only promised something has one, too."""
        return [state for m in self._members if (state := m.types.get(type_url)) is not None]

    def all_states(self) -> Iterable[TypeState]:
        """Return the states of all types on all streams."""
        for member in self._members:
            yield from member.types.values()
