"""What each group of clients is served: what was published for it, without what it refused.

The cache belongs to the event loop's thread: publish and read there. Publishing only tells each stream that there is
something newer; it never waits for a client. What is served to whom is decided by one `Rollout` a group; this is the
shell that gives it the time and carries out what it says.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penstock_xds.core.canary import CanaryRun, Holdings
from penstock_xds.core.debounce import Debounce, Pace
from penstock_xds.core.messages import Acked, Nacked
from penstock_xds.core.refusals import Refusal
from penstock_xds.core.rollout import Rollout
from penstock_xds.core.snapshot import Snapshot
from penstock_xds.core.steps import Member, Retry, Step, Verdict, Watcher
from penstock_xds.timers import CallLater, Timer, on_running_loop
from penstock_xds.views import tell

logger = logging.getLogger(__name__)


class CacheListener(Protocol):
    """Callbacks of a cache, called on its thread when all streams have been told. They must be quick.

    One that raises is logged and costs no client anything.
    """

    def on_quarantine(self, refusal: Refusal) -> None:
        """Note that a published version is not sent to the group any more, and what is served instead."""

    def on_release(self, refusal: Refusal) -> None:
        """Note that a quarantine is over; `refusal.ended` says why."""


class _NothingKnown:
    """A client that does not say what it holds: it is asked about nothing, so it is no canary worth waiting for."""

    def confirmed(self, type_url: str, name: str) -> str | None:  # noqa: ARG002  # the protocol's signature
        return None

    def subscribes(self, type_url: str, name: str) -> bool:  # noqa: ARG002  # the protocol's signature
        return False


@dataclass(slots=True)
class _Group:
    """One group's rollout and its timers."""

    name: str
    rollout: Rollout
    pace: Pace | None
    waiting: tuple[Snapshot, float] | None = None
    """The newest publication that is held back by the debounce, and its canary share."""
    debounce_timer: Timer | None = None
    canary_timer: Timer | None = None
    canary_deadline: float | None = None


class Membership:
    """One stream's place in its group. Tell it what the client answers, and when the stream ends."""

    __slots__ = ("_cache", "_group", "_member")

    def __init__(self, cache: "SnapshotCache", group: _Group, member: Member) -> None:
        self._cache = cache
        self._group = group
        self._member = member

    def asked(self) -> None:
        """Note that the client asked for a type for the first time. Before it is sent anything of it."""
        self._cache.carry_out(self._group, self._group.rollout.asked(self._member))

    def acked(self, event: Acked) -> None:
        """Note that the client accepted a response."""
        self._cache.carry_out(self._group, self._group.rollout.acked(self._member, event))

    def nacked(self, event: Nacked) -> None:
        """Note that the client refused resources. Those are not sent to the group any more, as far as tolerated."""
        self._cache.carry_out(self._group, self._group.rollout.nacked(self._member, event, self._cache.wall_clock()))

    def leave(self) -> None:
        """Note that the stream ended; its watcher is not called again. Leaving twice does nothing more."""
        self._cache.carry_out(self._group, self._group.rollout.leave(self._member, self._cache.clock()))
        self._cache.tidy(self._group)


class SnapshotCache:
    """What each group is served. One cache may feed several servers.

    A version of a resource that a client refuses (NACK) is *quarantined* for the client's group: it is not sent to the
    group again, and the last version of it that the group accepted goes on being served, resource by resource. It
    ends when the resource is published with another content, or by `release`.

    Quarantines are in memory. After a restart a bad version is sent once more, refused, and quarantined again; what
    was good before is then unknown until clients acknowledge it, but they keep what they hold meanwhile.
    """

    def __init__(
        self,
        *,
        refusal_tolerance: float = 0.0,
        canary_timeout: float = 60.0,
        debounce: Debounce | None = None,
        listener: CacheListener | None = None,
        guard: Callable[[str, Snapshot], str | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        call_later: CallLater = on_running_loop,
    ) -> None:
        """Begin without any group.

        Args:
            refusal_tolerance: the share, from 0 to below 1, of the clients that answered to a version that may refuse
                it before it is quarantined for all. 0: the first refusal does. Whatever it is, a client is never sent
                again what it refused itself.
            canary_timeout: seconds, above 0, that canaries have to accept before others are tried.
            debounce: how long publications may wait in a storm of them; None: each goes out at once.
            listener: is told when quarantines begin and end.
            guard: is asked, with the group, about every mixture of what was published with older versions before it
                is served. If it gives a reason why not, the group keeps the whole of what it had before, and the
                refusal says so (`Refusal.held`).
            clock: monotonic seconds, for waits.
            wall_clock: Unix seconds, for what people are shown.
            call_later: how to wait; the running event loop's unless given.

        Raises:
            ValueError: a number is out of its range.

        """
        self.clock = clock
        self._refusal_tolerance = refusal_tolerance
        self._canary_timeout = canary_timeout
        self._debounce = debounce
        self._listener = listener
        self._guard = guard
        self.wall_clock = wall_clock
        self._call_later = call_later
        self._groups: dict[str, _Group] = {}
        self._joins = 0
        # Finds numbers out of range now, not with the first group.
        self._new_rollout("")

    # Publishing

    def publish(self, group: str, snapshot: Snapshot, *, canary: float = 0.0, urgent: bool = False) -> None:
        """Serve the snapshot to the group from now on. A snapshot equal to the last one published changes nothing.

        Make it complete: what it lacks, clients drop. Publishing takes the place of whatever was published before,
        also of a canary under way and of what still waits in a debounce; so give `canary` again for what has not
        proven itself yet. Without it, everybody gets it.

        Args:
            group: whom to serve.
            snapshot: what to serve.
            canary: above 0, what changed goes first to that share of the group's streams, at least one, and to the
                others when those have accepted it (see `penstock_xds.core.canary`). Without an open stream, or if it
                concerns none of them, it is served at once. At most 1.
            urgent: do not debounce; goes out now.

        Raises:
            ValueError: `canary` is out of its range.

        """
        if not 0.0 <= canary <= 1.0:
            raise ValueError(f"canary must be from 0 to 1, not {canary}")
        served = self._group(group)
        if served.pace is None:
            self._send(served, snapshot, canary)
            return
        if served.waiting is None and served.rollout.published == snapshot and served.rollout.canary is None:
            return
        wait = served.pace.wait(self.clock(), urgent=urgent)
        if wait > 0.0:
            served.waiting = (snapshot, canary)
            if served.debounce_timer is None:
                served.debounce_timer = self._call_later(wait, lambda: self._send_waiting(served))
            return
        if served.debounce_timer is not None:
            served.debounce_timer.cancel()
        served.waiting = served.debounce_timer = None
        self._send(served, snapshot, canary)

    def get(self, group: str) -> Snapshot | None:
        """Return what the group is served, but for canaries and clients that hold something newer; None at first."""
        found = self._groups.get(group)
        return None if found is None else found.rollout.served

    def groups(self) -> tuple[str, ...]:
        """Return the groups that have a snapshot, in name order."""
        return tuple(sorted(name for name, group in self._groups.items() if group.rollout.served is not None))

    def _send_waiting(self, group: _Group) -> None:
        waiting, group.waiting, group.debounce_timer = group.waiting, None, None
        if waiting is not None and group.pace is not None:
            group.pace.send(self.clock())
            self._send(group, *waiting)

    def _send(self, group: _Group, snapshot: Snapshot, canary: float) -> None:
        self.carry_out(group, group.rollout.publish(snapshot, self.clock(), canary=canary))

    # Streams

    def join(
        self,
        group: str,
        stream_id: str,
        watcher: Watcher,
        *,
        node_id: str = "",
        client: Holdings | None = None,
        aggregated: bool = True,
        retry: Retry | None = None,
    ) -> Membership:
        """Have the watcher called with what the stream is to have, now and whenever that changes.

        The watcher must return at once: the publisher calls it.

        Args:
            group: the stream's group.
            stream_id: names the stream for the choice of canaries.
            watcher: is given the stream's snapshots.
            node_id: the client's.
            client: is asked what the client holds; a StreamCore is one.
            aggregated: whether all types come on this stream. If not, the streams of one node are canaries together.
            retry: is told, before the watcher, what an operator has released: the client is to be sent that again,
                even if it refused it itself.

        """
        served = self._group(group)
        self._joins += 1
        member = Member(
            # Of its own, as several servers may use the same.
            stream_id=f"{self._joins}/{stream_id}",
            node_id=node_id,
            unit=f"{node_id}/{stream_id}" if aggregated else node_id,
            client=_NothingKnown() if client is None else client,
            watcher=watcher,
            retry=retry,
        )
        target = served.rollout.join(member, self.clock())
        if target is not None:
            watcher(target)
        self._set_timer(served)
        return Membership(self, served, member)

    # Refusals and canaries

    def refusals(self, group: str | None = None) -> tuple[Refusal, ...]:
        """Return what is quarantined now of what is published, of one group or of all, in their order."""
        groups = sorted(self._groups) if group is None else [group]
        return tuple(
            self._refusal(name, verdict)
            for name in groups
            if name in self._groups
            for verdict in self._groups[name].rollout.verdicts()
        )

    def release(self, group: str, type_url: str, name: str, version: str) -> bool:
        """Lift a quarantine: forget who refused the version, and serve it, to those who refused it as well.

        Refused again, it is quarantined again.

        Returns whether it was quarantined.
        """
        found = self._groups.get(group)
        step = None if found is None else found.rollout.release(type_url, name, version)
        if found is None or step is None:
            return False
        for member in step.moved:
            if member.retry is not None:
                member.retry(type_url, name, version)
        self.carry_out(found, step)
        return True

    def rollouts(self) -> tuple[CanaryRun, ...]:
        """Return the canaries under way, in the order of their groups."""
        return tuple(run for name in sorted(self._groups) if (run := self._canary_run(self._groups[name])) is not None)

    def _canary_run(self, group: _Group) -> CanaryRun | None:
        canary = group.rollout.canary
        if canary is None:
            return None
        silent = [s for s in canary.progress if not canary.done(s)]
        return CanaryRun(
            group=group.name,
            share=canary.share,
            node_ids=group.rollout.node_ids(canary.progress),
            waiting_for=group.rollout.node_ids(silent),
            since=self._unix_time(canary.since),
            stuck=not canary.awaited,
        )

    # For memberships

    def carry_out(self, group: _Group, step: Step) -> None:
        """Tell streams and listeners what came of something. Not for users of the cache."""
        for member in step.moved:
            if member.target is not None and member.open:
                member.watcher(member.target)
        if group.rollout.next_deadline() != group.canary_deadline:
            self._set_timer(group)
        for verdict in step.released:
            self._tell_released(self._refusal(group.name, verdict))
        for verdict in step.quarantined:
            self._tell_quarantined(self._refusal(group.name, verdict))

    def tidy(self, group: _Group) -> None:
        """Forget a group nobody is in and nothing was published for. Not for users of the cache."""
        if not group.rollout.members and group.rollout.published is None and group.waiting is None:
            self._groups.pop(group.name, None)

    def _group(self, name: str) -> _Group:
        found = self._groups.get(name)
        if found is None:
            pace = None if self._debounce is None else Pace(self._debounce)
            found = self._groups[name] = _Group(name, self._new_rollout(name), pace)
        return found

    def _new_rollout(self, group: str) -> Rollout:
        guard = self._guard
        return Rollout(
            refusal_tolerance=self._refusal_tolerance,
            canary_timeout=self._canary_timeout,
            guard=None if guard is None else lambda snapshot: guard(group, snapshot),
        )

    def _set_timer(self, group: _Group) -> None:
        deadline = group.rollout.next_deadline()
        if deadline == group.canary_deadline:
            return
        if group.canary_timer is not None:
            group.canary_timer.cancel()
        group.canary_deadline, group.canary_timer = deadline, None
        if deadline is not None:
            group.canary_timer = self._call_later(max(0.0, deadline - self.clock()), lambda: self._poll(group))

    def _poll(self, group: _Group) -> None:
        group.canary_deadline = group.canary_timer = None
        self.carry_out(group, group.rollout.poll(self.clock()))

    # What it tells

    def _unix_time(self, at: float) -> float:
        return self.wall_clock() - (self.clock() - at)

    def _refusal(self, group: str, verdict: Verdict) -> Refusal:
        case = verdict.case
        return Refusal(
            group=group,
            type_url=case.resource.type_url,
            name=case.resource.name,
            version=case.resource.version,
            node_ids=case.node_ids(),
            message=case.message,
            first_at=case.first_at,
            last_at=case.last_at,
            served_instead=verdict.instead,
            held_back=verdict.held_back,
            ended=verdict.ended,
            held=verdict.held,
        )

    def _tell_quarantined(self, refusal: Refusal) -> None:
        # Logged only where no listener is set, as with refusals: the listener knows better what it means.
        if self._listener is not None:
            tell(self._listener.on_quarantine, refusal)
            return
        facts = {**_facts(refusal), "nodes": refusal.node_ids, "refusal": refusal.message}
        logger.warning("resource version quarantined", extra=facts)

    def _tell_released(self, refusal: Refusal) -> None:
        if self._listener is not None:
            tell(self._listener.on_release, refusal)
            return
        logger.info("quarantine ended", extra={**_facts(refusal), "reason": refusal.ended})


def _facts(refusal: Refusal) -> dict[str, object]:
    return {
        "group": refusal.group,
        "type_url": refusal.type_url,
        "resource": refusal.name,
        "version": refusal.version,
        "served_instead": refusal.served_instead,
        "held_back": [name for _, name in refusal.held_back],
        "held": refusal.held,
    }
