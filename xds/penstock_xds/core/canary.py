"""A new snapshot on trial with a few streams of a group before the others get it.

It spreads when all streams on trial have accepted everything that changed for them. One that leaves is no longer
waited for. One that stays silent beyond the timeout is given up and another stream is tried in its place, since one
Envoy that hangs must not hold back the fleet. If none of those tried ever answered and none is left to try, nothing
spreads and the trial stays in sight as *stuck*: an operator would rather find the old configuration served than the new
one on every Envoy because nobody objected. A late acceptance, a stream that joins, or the next publication moves it on.

Only the stream's side is here; who decides what is served is `penstock_xds.core.rollout`. Pure; changed by one
Rollout alone.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from penstock_xds.core.order import round_order
from penstock_xds.core.serving import Serving, Trial
from penstock_xds.core.snapshot import Snapshot, content_hash

# To find streams that a change concerns, this many of its names are asked about: asking every stream about each of ten
# thousand would stall the server.
_ASKED_ABOUT = 100


class Holdings(Protocol):
    """What a client says it has and wants; a StreamCore is one."""

    def confirmed(self, type_url: str, name: str) -> str | None:
        """Return the version of the resource that the client has accepted and still holds."""

    def subscribes(self, type_url: str, name: str) -> bool:
        """Whether the client asks for the resource."""


@dataclass(frozen=True, slots=True)
class CanaryRun:
    """A canary under way, for people to look at."""

    group: str
    share: float
    node_ids: tuple[str, ...]
    """The nodes that have been sent the new snapshot."""
    waiting_for: tuple[str, ...]
    """Those of them that have not accepted all of it."""
    since: float
    """Unix time in seconds."""
    stuck: bool
    """Nobody is left to try: it spreads when one of those waited for accepts after all, or a new stream does."""


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that is new or another in the new snapshot."""

    type_url: str
    name: str
    version: str


@dataclass(slots=True)
class Canary:
    """A snapshot on trial."""

    trial: Trial
    share: float
    since: float
    serving: Serving
    changes: Sequence[Change] = ()
    progress: dict[str, int] = field(default_factory=dict)
    """Streams that have been sent it, to how many of the changes they have accepted, in order."""
    awaited: set[str] = field(default_factory=set)
    """Those of them that count: not given up."""
    deadline: float | None = None
    """When those awaited are given up."""

    @property
    def snapshot(self) -> Snapshot:
        """What is on trial."""
        return self.trial.snapshot

    def done(self, stream_id: str) -> bool:
        """Whether the stream has accepted everything."""
        return self.progress[stream_id] >= len(self.changes)

    def passed(self) -> bool:
        """Whether the snapshot has proven itself."""
        return bool(self.awaited) and all(self.done(s) for s in self.awaited)

    def send_to(self, stream_ids: Iterable[str], deadline: float) -> None:
        """Try these streams, too."""
        for stream_id in stream_ids:
            self.progress[stream_id] = 0
            self.awaited.add(stream_id)
            self.deadline = deadline

    def advance(self, stream_id: str, client: Holdings, refused: Callable[[Change], bool]) -> None:
        """See how far the stream has come. `refused`: whether it has refused a change, which is an answer, too."""
        at = self.progress[stream_id]
        while at < len(self.changes) and self._is_settled(self.changes[at], client, refused):
            at += 1
        self.progress[stream_id] = at
        if self.done(stream_id):
            # Late, perhaps, but it counts again.
            self.awaited.add(stream_id)

    def _is_settled(self, change: Change, client: Holdings, refused: Callable[[Change], bool]) -> bool:
        if not client.subscribes(change.type_url, change.name):
            return True
        held = client.confirmed(change.type_url, change.name)
        if held == change.version or refused(change):
            return True
        kept = self.serving.reduced.tolerated.get((change.type_url, change.name))
        return kept is not None and held in kept

    def give_up(self) -> int:
        """Wait no longer for those that have not accepted; returns how many that were."""
        silent = [s for s in self.awaited if not self.done(s)]
        self.awaited.difference_update(silent)
        self.deadline = None
        return len(silent)

    def leave(self, stream_id: str) -> None:
        """Note that a stream ended."""
        self.progress.pop(stream_id, None)
        self.awaited.discard(stream_id)


def changes_between(stable: Snapshot, new: Snapshot) -> tuple[Change, ...]:
    """List what clients would be sent, in the order of service.

    Not what they would lose: no client refuses that, and one that still uses something may be left it for long.
    """
    found: list[Change] = []
    by_type = new.changes_since(stable)
    for type_url in sorted(by_type, key=round_order):
        before, after = stable.resources(type_url), new.resources(type_url)
        for name in sorted(by_type[type_url]):
            old, wanted = before.get(name), after.get(name)
            if wanted is not None and (old is None or old.version != wanted.version):
                found.append(Change(type_url, name, wanted.version))
    return tuple(found)


def choose(
    candidates: Mapping[str, tuple[str, Holdings]], count: int, changes: Sequence[Change], seed: str
) -> list[str]:
    """Pick streams for a trial, of those that subscribe to something that changed: at least `count`, if there are.

    None at all if it concerns nobody.

    Args:
        candidates: stream ids, to the unit that the stream belongs to (streams of one unit are picked together) and
            to what the client wants.
        count: how many streams.
        changes: what is new.
        seed: the version on trial: the choice is the same for the same version and another for another.

    """
    units: dict[str, list[str]] = {}
    for stream_id, (unit, _) in candidates.items():
        units.setdefault(unit, []).append(stream_id)
    order = sorted(units, key=lambda unit: content_hash(seed.encode(), unit.encode()))
    asked = list(islice(changes, _ASKED_ABOUT))

    def concerned(unit: str) -> bool:
        clients = (candidates[s][1] for s in units[unit])
        return any(c.subscribes(change.type_url, change.name) for c in clients for change in asked)

    picked = _take(units, filter(concerned, order), count)
    if not picked and len(asked) < len(changes):
        return _take(units, order, count)
    return picked


def _take(units: Mapping[str, Sequence[str]], order: Iterable[str], count: int) -> list[str]:
    picked: list[str] = []
    for unit in order:
        picked += units[unit]
        if len(picked) >= count:
            break
    return picked


def share_of(share: float, streams: int) -> int:
    """Return how many of the streams a share is: at least 1."""
    return max(1, math.ceil(share * streams))


def seed_of(snapshot: Snapshot) -> str:
    """Return a name for the snapshot's content."""
    return content_hash(*(part.encode() for t in snapshot.types() for part in (t, snapshot.version(t))))
