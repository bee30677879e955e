"""What each stream of one group is to have: the published snapshot, minus what the group refused, canaries first.

    publish(snapshot, now, canary=0.1)      something new for the group
    join(...) / leave(member, now)          streams come and go
    asked(member)                           a client asked for one more type
    acked(member, event) / nacked(...)      what it said to a response
    release(...)                            an operator lifts a quarantine
    poll(now), next_deadline()              waits that end by themselves

Each returns a `Step`: the members whose target is another now, and the quarantines that began or ended. Pure: no event
loop, clock, gRPC or logging; times are seconds on any one clock. One Rollout a group, used from one thread.

The two halves: `serving` works out what is served when something is quarantined, `canary` how a trial goes. With
neither a refusal nor a canary an acknowledgement costs one comparison, and nothing is kept per stream and resource.

Quarantine and trial are in memory. After a restart a bad version is sent once more and refused once more.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

from penstock_xds.core.canary import Canary, Change, changes_between, choose, seed_of, share_of
from penstock_xds.core.earlier import EarlierTargets
from penstock_xds.core.last_good import Key, LastGood
from penstock_xds.core.messages import Acked, Nacked
from penstock_xds.core.refusals import Case, Ending, Refusals
from penstock_xds.core.serving import Serving, Trial, keeping, serve
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.core.steps import Guard, Member, Step, Verdict

# How many clients are asked whether they hold something nobody acknowledged. What a fleet brought from before a restart
# all of it holds; and what is not found is taken from no client that has it, only not served to others.
_ASKED_ABOUT_HOLDINGS = 16


_NO_STEP = Step()


class Rollout:
    """Decides for one group."""

    def __init__(
        self, *, refusal_tolerance: float = 0.0, canary_timeout: float = 60.0, guard: Guard | None = None
    ) -> None:
        """Begin without a snapshot.

        Args:
            refusal_tolerance: the share, from 0 to below 1, of those that answered to a version that may refuse it
                before it is quarantined; 0: the first refusal does.
            canary_timeout: seconds, above 0, that canaries have to accept before others are tried.
            guard: has the last word on every mixture. When it refuses one, the group keeps the whole of the newest
                target before it that holds none of what is quarantined. Without such a target, what is quarantined is
                left out, and clients keep what they hold of it.

        Raises:
            ValueError: a number is out of its range.

        """
        if not 0.0 <= refusal_tolerance < 1.0:
            raise ValueError(f"refusal_tolerance must be at least 0 and below 1, not {refusal_tolerance}")
        if not canary_timeout > 0.0:
            raise ValueError(f"canary_timeout must be above 0 s, not {canary_timeout}")
        self._counts_acceptances = refusal_tolerance > 0.0
        self._canary_timeout = canary_timeout
        self._guard = guard
        self._earlier = EarlierTargets()
        self._members: dict[str, Member] = {}
        self._refusals = Refusals(refusal_tolerance)
        self._past = LastGood()
        self._stable: Snapshot | None = None
        """As published; what is served of it is in `_serving`."""
        self._serving: Serving | None = None
        self._canary: Canary | None = None
        self._told: dict[tuple[str, str, str], Verdict] = {}

    # To look at

    @property
    def members(self) -> int:
        """How many streams are open."""
        return len(self._members)

    @property
    def published(self) -> Snapshot | None:
        """The latest snapshot published, on trial or not."""
        return self._stable if self._canary is None else self._canary.snapshot

    @property
    def served(self) -> Snapshot | None:
        """What a stream that joins now is to have."""
        return None if self._serving is None else self._serving.reduced

    @property
    def canary(self) -> Canary | None:
        """The trial under way."""
        return self._canary

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return the quarantines of what is published now."""
        return tuple(self._told.values())

    def node_ids(self, stream_ids: Iterable[str]) -> tuple[str, ...]:
        """Return the nodes of these streams, each once, in name order."""
        return tuple(sorted({self._members[s].node_id for s in stream_ids}))

    def next_deadline(self) -> float | None:
        """When to poll although nothing happened."""
        return None if self._canary is None else self._canary.deadline

    # What happens

    def publish(self, snapshot: Snapshot, now: float, *, canary: float = 0.0) -> Step:
        """Have the group brought to the snapshot: all at once, or with `canary` (a share, 0 to 1) some streams first.

        A publication takes the place of a trial under way; its canaries go on to be those of the next.
        """
        newest = self.published
        if newest == snapshot and (canary > 0.0 or self._canary is None):
            return _NO_STEP
        if newest is not None:
            self._past.supersede(newest, snapshot, self._is_held)
        before, self._canary = self._canary, None
        if canary > 0.0 and self._stable is not None and self._members and snapshot != self._stable:
            self._try_out(snapshot, canary, now, () if before is None else before.progress)
        else:
            self._stable = snapshot
        self._refusals.prune(self._is_published)
        return self._settle()

    def join(self, member: Member, now: float) -> Snapshot | None:
        """Take in a stream; returns what it is to have, if there is anything yet.

        During a trial that is the stable state; but a trial that has nobody to wait for goes on with this stream.
        """
        self._members[member.stream_id] = member
        canary = self._canary
        if canary is not None and not canary.awaited:
            canary.send_to((member.stream_id,), now + self._canary_timeout)
        member.target = self._target_of(member)
        return member.target

    def leave(self, member: Member, now: float) -> Step:
        """Note the end of a stream."""
        if not member.open:
            return _NO_STEP
        member.open = False
        del self._members[member.stream_id]
        if self._refusals:
            self._refusals.leave(member.stream_id)
        canary = self._canary
        if canary is None or member.stream_id not in canary.progress:
            return _NO_STEP
        canary.leave(member.stream_id)
        if not canary.awaited:
            canary.deadline = None
            self._try_others(canary, share_of(canary.share, len(self._members)), now)
        return self._settle()

    def asked(self, member: Member) -> Step:
        """Note that a client asked for a type for the first time, and may have said what it holds."""
        return self._aim(member) if self._refusals else _NO_STEP

    def acked(self, member: Member, event: Acked) -> Step:
        """Note that a client accepted a response."""
        member.answered = True
        known = self._past.knows(event.type_url, event.resources)
        if known and self._canary is None and not self._refusals:
            return _NO_STEP
        # Before it is noted as good, as this very acknowledgement may end its quarantine.
        changed = member.open and self._weigh(member, event.type_url, event.resources)
        if (changed or not known) and self._accept(event.type_url, event.resources):
            # There is more to go back to now.
            changed |= self._leaves_out()
        changed |= self._advance(member)
        return self._settle() if changed else self._aim(member)

    def nacked(self, member: Member, event: Nacked, at: float) -> Step:
        """Note that a client refused resources; `at` (Unix seconds) is only told to people."""
        if not member.open:
            return _NO_STEP
        member.answered = True
        changed = False
        for resource in event.resources:
            case = self._refusals.refuse(resource, member.stream_id, member.node_id, event.message, at)
            if self._counts_acceptances:
                case.acceptors.update(
                    m.stream_id
                    for m in self._members.values()
                    if m is not member and m.client.confirmed(*case.key) == resource.version
                )
            if self._refusals.judge(case):
                changed = True
                if case.quarantined:
                    self._past.forget(resource)
        weighed = self._weigh(member, event.type_url, event.accepted)
        known = self._past.knows(event.type_url, event.accepted)
        if (weighed or not known) and self._accept(event.type_url, event.accepted):
            changed |= self._leaves_out()
        changed |= weighed
        self._refusals.prune(self._is_published)
        return self._settle() if self._advance(member) or changed else _NO_STEP

    def release(self, type_url: str, name: str, version: str) -> Step | None:
        """Forget that a version was refused: it is served again, and quarantined again if it is refused again.

        Returns None if it is not quarantined.
        """
        case = self._refusals.find(type_url, name, version)
        if case is None or not case.quarantined:
            return None
        self._refusals.drop(case)
        newest = self.published
        if newest is not None and self._is_held(case.resource):
            self._past.accept(type_url, (case.resource,), newest.resources(type_url))
        return self._settle()

    def poll(self, now: float) -> Step:
        """Do what is due by time."""
        canary = self._canary
        if canary is None or canary.deadline is None or now < canary.deadline:
            return _NO_STEP
        for stream_id in tuple(canary.awaited):
            # Whoever came back with all it needs had nothing to acknowledge.
            self._look_at(canary, self._members[stream_id])
        self._try_others(canary, canary.give_up(), now)
        return self._settle()

    # How

    def _accept(self, type_url: str, resources: tuple[Resource, ...]) -> bool:
        newest = self.published
        if newest is None:
            return False
        good = tuple(r for r in resources if not self._is_quarantined(r)) if self._refusals else resources
        news = self._past.accept(type_url, good, newest.resources(type_url))
        self._past.remember(type_url, resources)
        return news

    def _leaves_out(self) -> bool:
        return any("" in serving.instead.values() for serving, _ in self._servings())

    def _weigh(self, member: Member, type_url: str, resources: tuple[Resource, ...]) -> bool:
        return bool(self._refusals) and self._refusals.accept(type_url, resources, member.stream_id, member.node_id)

    def _aim(self, member: Member) -> Step:
        """Look again at what the stream is to have: it may hold all that is left out by now."""
        target = self._target_of(member)
        if target is member.target or not member.open:
            return _NO_STEP
        member.target = target
        return Step(moved=(member,))

    def _advance(self, member: Member) -> bool:
        """See whether a stream on trial has come further; returns whether the trial has passed."""
        canary = self._canary
        if canary is None or member.stream_id not in canary.progress:
            return False
        self._look_at(canary, member)
        return canary.passed()

    def _look_at(self, canary: Canary, member: Member) -> None:
        canary.advance(member.stream_id, member.client, lambda change: self._has_refused(member, change))

    def _has_refused(self, member: Member, change: Change) -> bool:
        case = self._refusals.find(change.type_url, change.name, change.version)
        return case is not None and member.stream_id in case.refusers

    def _try_out(self, snapshot: Snapshot, share: float, now: float, before: Iterable[str]) -> None:
        trial = Trial(snapshot, {} if self._stable is None else self._past.unknown(self._stable, snapshot))
        canary = Canary(trial, share, now, Serving(snapshot, snapshot))
        self._canary = canary
        # Chosen by what would change for them, which what is quarantined has a say in.
        self._serve()
        deadline = now + self._canary_timeout
        canary.send_to(before, deadline)
        self._try_others(canary, share_of(share, len(self._members)) - len(canary.progress), now)
        if not canary.progress:
            # It concerns no stream there is, so none could say anything about it.
            self._stable, self._canary = snapshot, None

    def _try_others(self, canary: Canary, count: int, now: float) -> None:
        untried = {
            m.stream_id: (m.unit, m.client) for m in self._members.values() if m.stream_id not in canary.progress
        }
        if count > 0 and untried:
            chosen = choose(untried, count, canary.changes, seed_of(canary.snapshot))
            canary.send_to(chosen, now + self._canary_timeout)

    def _settle(self) -> Step:
        """Work out anew what is served, spread what has passed its trial, and find who and what that concerns."""
        self._serve()
        self._past.look_again()
        canary = self._canary
        if canary is not None:
            for member in [self._members[s] for s in canary.progress]:
                if member.answered:
                    self._look_at(canary, member)
            if canary.passed():
                self._stable, self._canary = canary.snapshot, None
                self._refusals.prune(self._is_published)
                self._serve()
        moved = []
        for member in self._members.values():
            target = self._target_of(member)
            if target is not member.target:
                member.target = target
                moved.append(member)
        quarantined, released = self._tell()
        return Step(tuple(moved), quarantined, released)

    def _serve(self) -> None:
        quarantined = self._refusals.quarantined() if self._refusals else {}
        canary = self._canary
        if self._stable is not None:
            if self._serving is not None and self._guard is not None:
                self._earlier.add(self._serving.reduced)
            serving = serve(self._stable, quarantined, self._past, trial=None if canary is None else canary.trial)
            self._serving = keeping(self._serving, self._guarded(serving, self._stable, quarantined))
        if canary is not None and self._serving is not None:
            serving = serve(canary.snapshot, quarantined, self._past)
            canary.serving = keeping(canary.serving, self._guarded(serving, canary.snapshot, quarantined))
            changes = changes_between(self._serving.reduced, canary.serving.reduced)
            if changes != canary.changes:
                canary.changes = changes
                canary.progress = dict.fromkeys(canary.progress, 0)

    def _guarded(self, serving: Serving, published: Snapshot, quarantined: Mapping[Key, frozenset[str]]) -> Serving:
        if self._guard is None or not serving.instead:
            return serving
        held = self._guard(serving.reduced)
        if held is None and serving.whole is not serving.reduced:
            held = self._guard(serving.whole)
        if held is None:
            return serving
        earlier = self._earlier.find(serving.instead, quarantined)
        if earlier is None:
            earlier = published.altered(dict.fromkeys(serving.instead), {k: quarantined[k] for k in serving.instead})
        return Serving(earlier, earlier, instead={k: _version_in(earlier, k) for k in serving.instead}, held=held)

    def _target_of(self, member: Member) -> Snapshot | None:
        canary = self._canary
        serving = self._serving if canary is None or member.stream_id not in canary.progress else canary.serving
        if serving is None:
            return None
        if serving.whole is serving.reduced:
            return serving.whole
        holds_all = all(member.client.confirmed(t, n) == version for (t, n), version in serving.wanting.items())
        return serving.whole if holds_all else serving.reduced

    def _tell(self) -> tuple[tuple[Verdict, ...], tuple[Verdict, ...]]:
        """Compare the quarantines of what is published with those last told of."""
        if not self._refusals and not self._told:
            return (), ()
        found: dict[tuple[str, str, str], Verdict] = {}
        for serving, published in self._servings():
            for (type_url, name), instead in serving.instead.items():
                version = published.resources(type_url)[name].version
                case = self._refusals.find(type_url, name, version)
                if case is not None:
                    found[(type_url, name, version)] = Verdict(case, instead, serving.held_back, held=serving.held)
        before, self._told = self._told, found
        begun = tuple(verdict for ident, verdict in found.items() if ident not in before)
        over = tuple(
            Verdict(v.case, v.instead, v.held_back, self._why_over(v.case), v.held)
            for ident, v in before.items()
            if ident not in found
        )
        return begun, over

    def _why_over(self, case: Case) -> Ending:
        if not self._is_published(case.resource):
            return Ending.SUPERSEDED
        still_known = self._refusals.find(*case.key, case.resource.version) is case
        return Ending.TOLERATED if still_known else Ending.LIFTED

    def _servings(self) -> Iterable[tuple[Serving, Snapshot]]:
        if self._serving is not None and self._stable is not None:
            yield self._serving, self._stable
        if self._canary is not None:
            yield self._canary.serving, self._canary.snapshot

    def _is_published(self, resource: Resource) -> bool:
        return any(
            (found := published.resources(resource.type_url).get(resource.name)) is not None
            and found.version == resource.version
            for _, published in self._servings()
        )

    def _is_held(self, resource: Resource) -> bool:
        members = islice(self._members.values(), _ASKED_ABOUT_HOLDINGS)
        return any(m.client.confirmed(resource.type_url, resource.name) == resource.version for m in members)

    def _is_quarantined(self, resource: Resource) -> bool:
        case = self._refusals.find(resource.type_url, resource.name, resource.version)
        return case is not None and case.quarantined


def _version_in(snapshot: Snapshot, key: Key) -> str:
    resource = snapshot.resources(key[0]).get(key[1])
    return "" if resource is None else resource.version
