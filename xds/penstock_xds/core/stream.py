"""One stream, without its I/O: requests and snapshots go in, responses come out.

    receive(request, now)  what the client said; returns what that meant (acknowledged, refused)
    want(snapshot, now)    what the client should have from now on; only the latest counts
    poll(now)              the responses to write now, in order; write them all, then call again after any of the above
    next_deadline()        when to poll again although nothing happened, or None

It is level-triggered: it compares what the client should have with what it has, so bursts of snapshots coalesce and
nothing is queued. At most one response of a type is under way (see `TypeRule.overtake_after` for the exception), which
keeps a slow client's load bounded and makes subscription changes that ride on stale requests harmless.

`Planner` finds what to do for one type, `Responder` says it. What may be sent or removed when is decided by `Gates`
from the table in `penstock_xds.core.order`. Every wait for the client is bounded by `phase_timeout`, except one: while
the client refuses a cluster, what it routes to the old ones stays.
"""

from collections.abc import Mapping
from types import MappingProxyType

from penstock_xds.core.family import Family
from penstock_xds.core.features import BASE_PROTOCOL, Features
from penstock_xds.core.gates import Gates
from penstock_xds.core.lifetimes import Lifetimes
from penstock_xds.core.messages import (
    DeltaRequest,
    Event,
    Nacked,
    ResourceView,
    Response,
    SotwRequest,
    TypeView,
    Variant,
)
from penstock_xds.core.order import RESENT_AFTER, round_order
from penstock_xds.core.planning import Planner
from penstock_xds.core.references import named_by
from penstock_xds.core.responding import Responder
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.core.type_state import Outstanding, TypeState
from penstock_xds.core.type_view import resource_views, type_view

_NONE_SPARED: Mapping[str, int] = MappingProxyType({})
_NOTHING: Mapping[str, Resource] = MappingProxyType({})


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
        features: Features = BASE_PROTOCOL,
        empty_endpoints: bool = True,
        family: Family | None = None,
    ) -> None:
        """Begin a stream.

        Args:
            variant: how this client talks.
            nonce_prefix: makes nonces unlike those of other streams, which a confused client might repeat.
            opened_at: the time now, in seconds of any monotonic clock.
            phase_timeout: seconds to wait for an acknowledgement before going on without it.
            aggregated: whether all types come on this one stream; if not, and without family, there is no order.
            features: what the client says it understands.
            empty_endpoints: answer a State of the World client that asks for endpoints the snapshot lacks, and that
                cannot hold any, with an empty assignment, so that its cluster stops warming at once. A snapshot is
                complete, so they would not come later either; Delta clients are told the same by `removed_resources`.
            family: the other streams of a client that takes each type, or each resource, on a stream of its own.

        """
        self._variant = variant
        self._nonce_prefix = nonce_prefix
        self._nonces = 0
        self._types: dict[str, TypeState] = {}
        self._order: list[TypeState] = []
        self._target: Snapshot | None = None
        self._deadline: float | None = None
        self._ordered = aggregated or family is not None
        self._family = Family() if family is None else family
        self._family.join(self)
        self._gates = Gates(
            self._family,
            phase_timeout=phase_timeout,
            grace_until=opened_at + phase_timeout if self._ordered else opened_at,
        )
        # State of the World: a time to live has no place outside of a wrapper.
        self._expires = features.ttl and (variant is Variant.DELTA or features.wrapped)
        self._planner = Planner(variant, features, self._gates, stand_in=empty_endpoints)
        self._responder = Responder(variant, expires=self._expires, next_nonce=self._next_nonce)

    # In

    def receive(self, request: SotwRequest | DeltaRequest, now: float) -> list[Event]:
        """Take a request; returns what it acknowledged or refused."""
        state = self._state(request.type_url)
        first = not state.requested
        events = self._settle(state, request, now)
        if isinstance(request, SotwRequest):
            if first:
                state.claimed = request.version
                state.brought = state.unseen = bool(request.version)
            change = state.subscription.replace(request.names)
        else:
            change = state.subscription.amend(request.subscribe, request.unsubscribe)
        state.apply(change, answer_dropped=self._variant is Variant.DELTA, now=now)
        if first:
            state.requested = True
            state.first_at = now
            for other in self._family.states(request.type_url):
                state.promised.update(other.promised)
            if isinstance(request, DeltaRequest) and request.initial_versions:
                state.bring(request.initial_versions)
            state.promised.clear()
        if (first or change.wildcard_gained) and self._target is not None:
            state.hear_of(self._target.resources(state.type_url), now)
        return events

    @property
    def types(self) -> Mapping[str, TypeState]:
        """The state of its types, by URL, for the other streams of its family to read."""
        return self._types

    def leave(self) -> None:
        """Leave the family, as the stream has ended."""
        self._family.leave(self)

    def want(self, snapshot: Snapshot, now: float) -> None:
        """Take what the client should have from now on; `now` is when it was published."""
        self._family.want(snapshot, now)

    def take(self, snapshot: Snapshot, now: float) -> None:
        """Take it, for this stream alone; for the family to call."""
        if snapshot is self._target:
            return
        before, self._target = self._target, snapshot
        if before is None:
            for state in self._order:
                state.hear_of(snapshot.resources(state.type_url), now)
            return
        for type_url, names in snapshot.changes_since(before).items():
            changed = self._types.get(type_url)
            if changed is not None:
                changed.prune_refusals(snapshot)
                changed.hear_of(names, now)

    def forgive(self, type_url: str, name: str, version: str, now: float) -> None:
        """Have a version sent again that the client refused, if that is what it is to have."""
        state = self._types.get(type_url)
        if state is not None:
            state.forgive(name, version, now)

    def _settle(self, state: TypeState, request: SotwRequest | DeltaRequest, now: float) -> list[Event]:
        event = state.settle(request.nonce, request.error, now) if request.nonce else None
        if event is None and request.error is not None and not state.pushes:
            # A complaint about something of an earlier stream: nothing to take back here, but not to be lost either.
            event = Nacked(state.type_url, (), "", request.error)
        doubt = state.take_doubt()
        return [e for e in (event, doubt) if e is not None]

    def _state(self, type_url: str) -> TypeState:
        state = self._types.get(type_url)
        if state is None:
            state = self._types[type_url] = TypeState(type_url)
            self._order = sorted(self._types.values(), key=lambda s: round_order(s.type_url))
        return state

    # Out

    def poll(self, now: float) -> list[Response]:
        """Return the responses to write now, in this order. They count as sent."""
        target = self._target
        if target is None:
            return []
        if self._expires:
            self._renew(now)
        responses: list[Response] = []
        removing = False
        # What a later type turns out to hold already may free an earlier one, so look again until nothing moves;
        # and only then at removals, so that they come last.
        while self._waits():
            moved = False
            for state in self._order:
                # Asked for each in turn: an earlier type may have given a later one something to send.
                if state.requested and state.waiting:
                    open_ends = state.open_ends
                    response = self._respond(state, target, now, removing=removing)
                    if response is not None:
                        responses.append(response)
                    moved = moved or response is not None or state.open_ends != open_ends
            if not moved:
                if removing:
                    break
                removing = True
        self._deadline = self._gates.next_change(now) if self._waits() else None
        if self._expires:
            self._wake_to_renew(now)
        return responses

    def next_deadline(self) -> float | None:
        """When, on the clock of `now`, a wait will be over by itself; None if nothing waits for time to pass."""
        return self._deadline

    def _waits(self) -> bool:
        for state in self._order:
            if state.requested and (state.candidates or state.forced or state.unanswered or state.beats):
                return True
        return False

    def _respond(self, state: TypeState, target: Snapshot, now: float, *, removing: bool) -> Response | None:
        if not self._gates.may_push(state, now) or (state.claimed and self._already_held(state, target)):
            return None
        asked = bool(state.forced)
        plan = self._planner.plan(state, target, now, removing=removing)
        # A first answer waits until it is whole: clients take it for all there is.
        if state.unanswered and not state.sent and plan.held_back:
            state.candidates.update(r.name for r in plan.upserts)
            state.forced.update(plan.removals)
            state.forced.update(e.name for e in plan.errors)
            return None
        said = self._responder.respond(state, target, plan, asked=asked)
        if said is None:
            state.unanswered = False
            if not state.waiting:
                state.wanted_at = None
            return None
        response, gone = said
        wanted_at = now if state.wanted_at is None else state.wanted_at
        state.note_sent(Outstanding(response, gone, sent_at=now, wanted_at=wanted_at))
        # Only now: what it answers no longer counts as waiting.
        state.wanted_at = wanted_at if state.waiting else None
        if self._expires:
            if state.lifetimes is None:
                state.lifetimes = Lifetimes()
            state.lifetimes.note(response.resources + response.heartbeats, now)
        if state.type_url in RESENT_AFTER and self._ordered:
            self._send_again(state, plan.upserts, target, now)
        return response

    def _already_held(self, state: TypeState, target: Snapshot) -> bool:
        """Whether a reconnecting State of the World client holds exactly this; if so, note it.

        Only where a version stands for one known set: the wildcard of a full-state type.
        """
        claimed, state.claimed = state.claimed, ""
        known = state.rule.full_state and state.subscription.wildcard_only and not state.forced
        if not known or claimed != target.version(state.type_url):
            return False
        held = [r for r in target.resources(state.type_url).values() if not r.on_demand]
        # How long such a one has to live is not known here.
        if self._expires and any(r.ttl is not None for r in held):
            return False
        for resource in held:
            state.adopt(resource)
        self._planner.spare(state, len(held))
        state.candidates.clear()
        state.unanswered = False
        state.wanted_at = None
        state.acked_version = claimed
        return True

    def _next_nonce(self) -> str:
        self._nonces += 1
        return f"{self._nonce_prefix}{self._nonces:x}"

    def _send_again(self, state: TypeState, upserts: list[Resource], target: Snapshot, now: float) -> None:
        """Have sent again what the client waits for after these, changed or not (`TypeRule.resent_after`)."""
        for type_url in RESENT_AFTER[state.type_url]:
            asked = [again for again in self._family.states(type_url) if again.requested]
            # What a client that comes back says it holds is not sent to it, unless it waits for it.
            if not asked and state.brought and self._variant is Variant.DELTA:
                promised = self._state(type_url).promised
                promised.update(((resource.type_url, resource.name), resource) for resource in upserts)
            for again in asked:
                for resource in upserts:
                    for name in named_by(resource, type_url, again.subscription.names):
                        if name in again.subscription.names or again.due(target.resources(type_url), name) is not None:
                            again.force(name, now)

    # Times to live

    def _renew(self, now: float) -> None:
        """Have sent what the client would drop soon. Never behind a response it has yet to answer."""
        for state in self._order:
            lifetimes = state.lifetimes
            if lifetimes is None or state.outstanding:
                continue
            at = lifetimes.next_due
            if at is None or now < at:
                continue
            due = lifetimes.due(state.sent, now)
            # In State of the World the body always goes along: Envoy's default mux sorts out what has none before it
            # renews any time (grpc_mux_impl.cc of 1.40), and absence from a full-state response means removal.
            brief = self._variant is Variant.DELTA and state.rule.heartbeats
            for name in due.beats:
                # A heartbeat prolongs what the client has confirmed; of anything else it knows no such version.
                if brief and state.good.get(name) is state.sent.get(name):
                    state.beats |= {name}
                    state.want(now)
                else:
                    state.force(name, now)
            for name in due.whole:
                state.force(name, now)

    def _wake_to_renew(self, now: float) -> None:
        for state in self._order:
            at = None if state.lifetimes is None else state.lifetimes.next_due
            # An answer to what is under way will wake it anyway.
            if (
                at is not None
                and at > now
                and not state.outstanding
                and (self._deadline is None or at < self._deadline)
            ):
                self._deadline = at

    # For the rollout of its group

    def confirmed(self, type_url: str, name: str) -> str | None:
        """Return the version of the resource that the client has accepted and still holds; None if it holds none.

        Asks the client, not the stream: it may have taken it on another of its streams.
        """
        for state in self._family.states(type_url):
            held = state.good.get(name)
            if held is not None:
                return held.version
        return None

    def subscribes(self, type_url: str, name: str) -> bool:
        """Whether the client asks for the resource on this stream, by its name or by a wildcard it is part of."""
        state = self._types.get(type_url)
        if state is None or not state.requested:
            return False
        wanted = None if self._target is None else self._target.resources(type_url).get(name)
        if wanted is not None and wanted.on_demand:
            return name in state.subscription.names
        return state.subscription.matches(name)

    # For people to look at

    @property
    def settled(self) -> bool:
        """Whether the client has confirmed all it was sent, and has all it should have."""
        return not self._waits() and not any(state.outstanding for state in self._order)

    def views(self) -> tuple[TypeView, ...]:
        """Return the state of each type the client asked for, in the order of service."""
        return tuple(type_view(state) for state in self._order if state.requested)

    def resource_views(self, type_url: str) -> tuple[ResourceView, ...]:
        """Return each resource of the type the client subscribes to, in name order."""
        state = self._types.get(type_url)
        if state is None or not state.requested:
            return ()
        return resource_views(state, _NOTHING if self._target is None else self._target.resources(type_url))

    def take_suppressed(self) -> Mapping[str, int]:
        """Return type URL to how many re-sends were not needed since the last call, and start counting anew.

        Not needed, as the client held that very version already.
        """
        spared = self._planner.spared
        if not spared:
            return _NONE_SPARED
        self._planner.spared = {}
        return spared
