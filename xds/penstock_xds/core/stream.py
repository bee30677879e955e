"""One stream, without its I/O: requests and snapshots go in, responses come out.

    receive(request, now)  what the client said; returns what that meant (acknowledged, refused)
    want(snapshot, now)    what the client should have from now on; only the latest counts
    poll(now)              the responses to write now, in order; write them all, then call again after any of the above
    next_deadline()        when to poll again although nothing happened, or None

It is level-triggered: it compares what the client should have with what it has, so bursts of snapshots coalesce and
nothing is queued. At most one response of a type is under way (see `TypeRule.overtake_after` for the exception), which
keeps a slow client's load bounded and makes subscription changes that ride on stale requests harmless.

What may be sent or removed when is decided by `Gates` from the table in `penstock_xds.core.order`. Every wait for the
client is bounded by `phase_timeout`, except one: while the client refuses a cluster, what it routes to the old ones
stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from penstock_xds.core.gates import Gates, Unconfirmed
from penstock_xds.core.messages import DeltaRequest, Event, Nacked, Response, SotwRequest, TypeView, Variant
from penstock_xds.core.order import round_order
from penstock_xds.core.references import UNKNOWN, ForeignVersion, Held, endpoints_of, mentions
from penstock_xds.core.snapshot import Resource, Snapshot, set_version
from penstock_xds.core.type_state import Outstanding, TypeState
from penstock_xds.types import CLUSTER, ENDPOINT


@dataclass(slots=True)
class _Plan:
    """What one look at one type found to do."""

    upserts: list[Resource] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)
    held_back: set[str] = field(default_factory=set)
    """Names that must wait: not yet to be changed, or not yet to be removed."""


class StreamCore:
    """The state machine of one stream. Not safe for concurrent use; never blocks, nor raises for what a client says."""

    def __init__(
        self,
        variant: Variant,
        *,
        nonce_prefix: str,
        opened_at: float,
        phase_timeout: float,
        aggregated: bool = True,
    ) -> None:
        """Begin a stream.

        Args:
            variant: how this client talks.
            nonce_prefix: makes nonces unlike those of other streams, which a confused client might repeat.
            opened_at: the time now, in seconds of any monotonic clock.
            phase_timeout: seconds to wait for an acknowledgement before going on without it.
            aggregated: whether all types come on this one stream; if not, there is nothing to order.

        """
        self._variant = variant
        self._nonce_prefix = nonce_prefix
        self._nonces = 0
        self._types: dict[str, TypeState] = {}
        self._order: list[TypeState] = []
        self._target: Snapshot | None = None
        self._deadline: float | None = None
        self._gates = Gates(
            self._types, phase_timeout=phase_timeout, grace_until=opened_at + phase_timeout if aggregated else opened_at
        )

    # In

    def receive(self, request: SotwRequest | DeltaRequest, now: float) -> list[Event]:
        """Take a request; returns what it acknowledged or refused."""
        state = self._state(request.type_url)
        first = not state.requested
        state.requested = True
        events = self._settle(state, request, now)
        if isinstance(request, SotwRequest):
            if first:
                state.claimed = request.version
                state.brought = state.unseen = bool(request.version)
            change = state.subscription.replace(request.names)
        else:
            change = state.subscription.amend(request.subscribe, request.unsubscribe)
        state.apply(change, answer_dropped=self._variant is Variant.DELTA, now=now)
        if first and isinstance(request, DeltaRequest):
            state.bring(request.initial_versions)
        state.promised.clear()
        if (first or change.wildcard_gained) and self._target is not None:
            state.hear_of(self._target.resources(state.type_url), now)
        return events

    def want(self, snapshot: Snapshot, now: float) -> None:
        """Take what the client should have from now on; `now` is when it was published."""
        before, self._target = self._target, snapshot
        for state in self._order:
            present = snapshot.resources(state.type_url)
            if before is None:
                state.hear_of(present, now)
                continue
            changed = snapshot.changes(before, state.type_url)
            if changed:
                state.prune_refusals(present)
                state.hear_of(changed, now)

    def _settle(self, state: TypeState, request: SotwRequest | DeltaRequest, now: float) -> list[Event]:
        event = state.settle(request.nonce, request.error, now) if request.nonce else None
        if event is None and request.error is not None and not state.pushes:
            # A complaint about something of an earlier stream: nothing to take back here, but not to be lost either.
            event = Nacked(state.type_url, (), "", request.error)
        return [] if event is None else [event]

    def _state(self, type_url: str) -> TypeState:
        state = self._types.get(type_url)
        if state is None:
            state = self._types[type_url] = TypeState(type_url)
            self._order = sorted(self._types.values(), key=lambda s: round_order(s.type_url))
        return state

    # Out

    def poll(self, now: float) -> list[Response]:
        """Return the responses to write now, in this order. They count as sent."""
        responses: list[Response] = []
        removing = False
        # What a later type turns out to hold already may free an earlier one, so look again until nothing moves;
        # and only then at removals, so that they come last.
        while self._target is not None:
            before = self._progress()
            for state in list(self._order):
                # Asked for each in turn: an earlier type may have given a later one something to send.
                if state.requested and state.waiting:
                    responses += self._respond(state, self._target, now, removing=removing)
            if self._progress() == before:
                if removing:
                    break
                removing = True
        waits = any(state.requested and state.waiting for state in self._order)
        self._deadline = self._gates.next_change(now) if waits else None
        return responses

    def next_deadline(self) -> float | None:
        """When, on the clock of `now`, a wait will be over by itself; None if nothing waits for time to pass."""
        return self._deadline

    def views(self) -> tuple[TypeView, ...]:
        """Return the state of each type the client asked for, in the order of service."""
        return tuple(state.view() for state in self._order if state.requested)

    def _progress(self) -> tuple[int, int]:
        open_ends = sum(len(s.candidates) + len(s.forced) + s.unanswered for s in self._order)
        return open_ends, self._nonces

    def _respond(self, state: TypeState, target: Snapshot, now: float, *, removing: bool) -> list[Response]:
        if not self._gates.may_push(state, now) or self._already_held(state, target):
            return []
        asked = bool(state.forced)
        plan = self._plan(state, target, now, removing=removing)
        # A first answer waits until it is whole: clients take it for all there is.
        if state.unanswered and not state.sent and plan.held_back:
            state.candidates.update(r.name for r in plan.upserts)
            state.forced.update(plan.removals)
            return []
        if self._variant is Variant.SOTW and state.rule.full_state:
            response, gone = self._full_state(state, target, plan, asked=asked)
        else:
            response, gone = self._difference(state, target, plan), tuple(plan.removals)
        if response is None:
            state.unanswered = False
            if not state.waiting:
                state.wanted_at = None
            return []
        wanted_at = now if state.wanted_at is None else state.wanted_at
        state.wanted_at = wanted_at if state.waiting else None
        state.note_sent(Outstanding(response, gone, sent_at=now, wanted_at=wanted_at))
        self._record(state, response, gone)
        if state.type_url == CLUSTER:
            self._send_endpoints_again(plan.upserts, target, now)
        return [response]

    def _already_held(self, state: TypeState, target: Snapshot) -> bool:
        """Whether a reconnecting State of the World client holds exactly this; if so, note it.

        Only where a version stands for one known set: the wildcard of a full-state type.
        """
        claimed, state.claimed = state.claimed, ""
        known = state.rule.full_state and state.subscription.wildcard_only and not state.forced
        if not claimed or not known or claimed != target.version(state.type_url):
            return False
        for resource in target.resources(state.type_url).values():
            state.adopt(resource)
        state.candidates.clear()
        state.unanswered = False
        state.wanted_at = None
        state.acked_version = claimed
        return True

    def _plan(self, state: TypeState, target: Snapshot, now: float, *, removing: bool) -> _Plan:
        plan = _Plan()
        present = target.resources(state.type_url)
        names = sorted(state.candidates | state.forced)
        # Removals first: what is about to change in this very round still counts as a user of the old.
        leaving = [name for name in names if name not in present]
        if leaving:
            users = self._gates.users(state, target, now) if removing else [UNKNOWN]
            self._plan_removals(state, leaving, plan, users)
        unconfirmed: Unconfirmed | None = None
        for name in names:
            wanted = present.get(name)
            if wanted is None:
                continue
            chosen = self._choose(state, wanted) if state.subscription.matches(name) else None
            if chosen is not None:
                if unconfirmed is None:
                    unconfirmed = self._gates.unconfirmed(state, target, now)
                if unconfirmed.holds_back(chosen, has_older=name in state.sent):
                    plan.held_back.add(name)
                    continue
                plan.upserts.append(chosen)
            state.candidates.discard(name)
            state.forced.discard(name)
        return plan

    def _plan_removals(self, state: TypeState, names: Iterable[str], plan: _Plan, users: Iterable[Held]) -> None:
        for name in names:
            held = name in state.sent
            if held and any(mentions(user, (name,)) for user in users):
                plan.held_back.add(name)
                continue
            # Delta tells a client that asks for what does not exist; the subscription stays.
            if held or (name in state.forced and self._variant is Variant.DELTA):
                plan.removals.append(name)
            state.candidates.discard(name)
            state.forced.discard(name)

    @staticmethod
    def _choose(state: TypeState, wanted: Resource) -> Resource | None:
        """Find what to send under a name that may need it; None if the client is best left with what it has."""
        forced = wanted.name in state.forced
        if state.refused.get(wanted.name) == wanted.version:
            last_good = state.good.get(wanted.name)
            return last_good if forced and isinstance(last_good, Resource) else None
        held = state.sent.get(wanted.name)
        if forced or held is None or held.version != wanted.version:
            return wanted
        if isinstance(held, ForeignVersion):
            state.adopt(wanted)
        return None

    def _difference(self, state: TypeState, target: Snapshot, plan: _Plan) -> Response | None:
        """Only what changed: all of Delta, and the types of State of the World whose absence means nothing."""
        delta = self._variant is Variant.DELTA
        # Clients wait for an answer to their first wildcard, even if there is nothing; unless they brought it along.
        empty_answer_due = state.unanswered and not state.sent
        if not (plan.upserts or (plan.removals and delta) or empty_answer_due):
            for name in plan.removals:
                self._drop(state, name)
            if not state.acked_version and state.sent and not plan.held_back:
                state.acked_version = target.version(state.type_url)
            return None
        removed = tuple(plan.removals) if delta else ()
        return self._response(state, target.version(state.type_url), plan.upserts, removed)

    def _full_state(
        self, state: TypeState, target: Snapshot, plan: _Plan, *, asked: bool
    ) -> tuple[Response | None, tuple[str, ...]]:
        """All the client subscribes to: the new, the old that must still wait, and what is kept though it left."""
        if not (plan.upserts or plan.removals or state.unanswered or (asked and not state.forced)):
            return None, ()
        fresh = {r.name: r for r in plan.upserts}
        present = target.resources(state.type_url)
        resources: list[Resource] = []
        as_published = True
        for name in sorted(present.keys() | plan.held_back):
            if not state.subscription.matches(name):
                continue
            published = present.get(name)
            shown = fresh.get(name) or state.sent.get(name)
            if isinstance(shown, Resource):
                resources.append(shown)
            as_published = as_published and shown == published
        version = target.version(state.type_url) if as_published else set_version(resources)
        shown_names = {r.name for r in resources}
        gone = tuple(name for name in state.sent if name not in shown_names)
        return self._response(state, version, resources, ()), gone

    def _response(
        self, state: TypeState, version: str, resources: Iterable[Resource], removed: tuple[str, ...]
    ) -> Response:
        self._nonces += 1
        nonce = f"{self._nonce_prefix}{self._nonces:x}"
        return Response(state.type_url, version, nonce, tuple(resources), removed)

    @staticmethod
    def _record(state: TypeState, response: Response, gone: Iterable[str]) -> None:
        for resource in response.resources:
            state.sent[resource.name] = resource
        for name in gone:
            state.sent.pop(name, None)

    @staticmethod
    def _drop(state: TypeState, name: str) -> None:
        state.sent.pop(name, None)
        state.good.pop(name, None)

    def _send_endpoints_again(self, clusters: Iterable[Resource], target: Snapshot, now: float) -> None:
        """Have the endpoints of added or changed clusters sent, changed or not: until then such a cluster warms.

        Protocol specification, "Resource warming"; Envoy 1.40 does not ask for them again on Delta.
        """
        endpoints = self._state(ENDPOINT)
        present = target.resources(ENDPOINT)
        for cluster in clusters:
            for name in endpoints_of(cluster):
                if endpoints.subscription.matches(name) and (name in present or name in endpoints.subscription.names):
                    endpoints.force(name, now)
                elif not endpoints.requested:
                    endpoints.promised.add(name)
