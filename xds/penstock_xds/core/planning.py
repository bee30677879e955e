"""What one look at one type of one stream finds to do: what to send, what to take away, what must wait.

Compares what the client should have with what it has, under the waits of `Gates`. Of the state of its type it changes
one thing: a name that was dealt with is no longer waiting.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from penstock_xds.core.empty_endpoints import empty_endpoints
from penstock_xds.core.features import Features
from penstock_xds.core.gates import Gates, Unconfirmed
from penstock_xds.core.messages import ResourceError, Variant
from penstock_xds.core.references import UNKNOWN, ForeignVersion, Held, mentions
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.core.type_state import TypeState
from penstock_xds.types import ENDPOINT

# google.rpc.Code: "the resource does not exist", to be handled like the end of the client's does-not-exist timer.
_NOT_FOUND: Final = 5


@dataclass(slots=True)
class Plan:
    """What one look at one type found to do."""

    upserts: list[Resource] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)
    held_back: set[str] = field(default_factory=set)
    """Names that must wait: not yet to be changed, or not yet to be removed."""
    errors: list[ResourceError] = field(default_factory=list)
    beats: list[Resource] = field(default_factory=list)


class Planner:
    """Plans for the types of one stream."""

    def __init__(self, variant: Variant, features: Features, gates: Gates, *, stand_in: bool) -> None:
        """Plan for one client.

        Args:
            variant: how it talks.
            features: what it understands beyond the base protocol.
            gates: the waits of its stream.
            stand_in: whether State of the World clients get an empty assignment for endpoints that do not exist.

        """
        self._delta = variant is Variant.DELTA
        self._expires = features.ttl and (self._delta or features.wrapped)
        self._tells_errors = features.errors
        # A client that can be told of a missing resource is told.
        self._stand_in = stand_in and not self._delta and not features.errors
        self._gates = gates
        self.spared: dict[str, int] = {}
        """Type to how many re-sends were not needed, for whoever counts them to take."""

    def plan(self, state: TypeState, target: Snapshot, now: float, *, removing: bool) -> Plan:
        """Find what to do now; removals only if it is their turn."""
        plan = Plan()
        present = target.resources(state.type_url)
        names = sorted(state.candidates | state.forced) if state.forced else sorted(state.candidates)
        wanted: list[tuple[str, Resource]] = []
        leaving: list[str] = []
        for name in names:
            resource = state.due(present, name)
            if resource is None:
                leaving.append(name)
            else:
                wanted.append((name, resource))
        # Removals first: what is about to change in this very round still counts as a user of the old.
        if leaving:
            users = self._gates.users(state, target, now) if removing else [UNKNOWN]
            for name in leaving:
                self._plan_missing(state, target, name, plan, users)
        part = state.next_part(names) if state.probing else None
        if part is not None:
            self._plan_upserts(state, target, [w for w in wanted if w[0] in part], plan, now)
        if part is None or not plan.upserts:
            rest = [w for w in wanted if part is None or w[0] not in part]
            self._plan_upserts(state, target, rest, plan, now)
        state.release_memory()
        if state.beats:
            self._plan_beats(state, plan)
        return plan

    def _plan_upserts(
        self, state: TypeState, target: Snapshot, wanted: Iterable[tuple[str, Resource]], plan: Plan, now: float
    ) -> None:
        unconfirmed: Unconfirmed | None = None
        for name, resource in wanted:
            chosen = self._choose(state, target, resource)
            if chosen is not None:
                if unconfirmed is None:
                    unconfirmed = self._gates.unconfirmed(state, target, now)
                if unconfirmed.holds_back(chosen, state.sent.get(name)):
                    plan.held_back.add(name)
                    continue
                plan.upserts.append(chosen)
            state.candidates.discard(name)
            state.forced.discard(name)

    def spare(self, state: TypeState, count: int = 1) -> None:
        """Count re-sends that were not needed, as the client holds that very version."""
        state.suppressed += count
        self.spared[state.type_url] = self.spared.get(state.type_url, 0) + count

    def _choose(self, state: TypeState, target: Snapshot, wanted: Resource) -> Resource | None:
        """Find what to send under a name that may need it; None if the client is best left with what it has."""
        name = wanted.name
        forced = name in state.forced
        held = state.sent.get(name)
        if held is not None and held.version != wanted.version and _tolerates(target, state, name, held):
            if not forced:
                return None
            # It asks for it, or waits for it: what it holds, if its body is known.
            return held if isinstance(held, Resource) else wanted
        refusal = state.refused.get(name)
        if refusal is not None and refusal.version == wanted.version:
            last_good = state.good.get(name)
            return last_good if forced and isinstance(last_good, Resource) else None
        if forced or held is None or held.version != wanted.version:
            return wanted
        if isinstance(held, ForeignVersion):
            # How long that has to live is not known here, so it may be gone.
            if self._expires and wanted.ttl is not None:
                return wanted
            state.adopt(wanted)
        self.spare(state)
        return None

    def _plan_missing(self, state: TypeState, target: Snapshot, name: str, plan: Plan, users: Iterable[Held]) -> None:
        """Deal with a name under which there is nothing (any more) for this client."""
        held = state.sent.get(name)
        forced = name in state.forced
        if forced and self._stand_in and state.type_url == ENDPOINT and not (held is None and state.unseen):
            # A client that holds endpoints keeps them, wherever they went: it cannot be told that they are gone.
            plan.upserts.append(held if isinstance(held, Resource) else empty_endpoints(name))
        elif held is not None and (state.type_url, name) in target.tolerated:
            if forced and isinstance(held, Resource):
                plan.upserts.append(held)
        elif held is not None and any(mentions(user, (name,)) for user in users):
            plan.held_back.add(name)
            return
        else:
            error = self._error(state, target, name)
            if error is not None:
                plan.errors.append(error)
            # Delta tells a client that asks for what does not exist; the subscription stays.
            unanswered = self._delta and error is None and (forced or name in state.told)
            if (held is not None or unanswered) and (state.rule.removable or not self._delta):
                plan.removals.append(name)
        state.candidates.discard(name)
        state.forced.discard(name)

    def _error(self, state: TypeState, target: Snapshot, name: str) -> ResourceError | None:
        """Find what to tell of a name the client asks for, if it can be told and was not."""
        if not self._tells_errors or name not in state.subscription.names:
            return None
        error = target.errors(state.type_url).get(name)
        if self._delta:
            # Delta has its own way to say that something does not exist, and to take away what is held.
            if error is None or error.code == _NOT_FOUND or name in state.sent:
                return None
        elif error is None:
            error = ResourceError(state.type_url, name, _NOT_FOUND, "no such resource")
        return None if state.told.get(name) == error else error

    @staticmethod
    def _plan_beats(state: TypeState, plan: Plan) -> None:
        sent_whole = {r.name for r in plan.upserts}
        for name in sorted(state.beats - sent_whole):
            held = state.sent.get(name)
            if isinstance(held, Resource) and held.ttl is not None and name not in plan.removals:
                plan.beats.append(held)
        state.beats = frozenset()


def _tolerates(target: Snapshot, state: TypeState, name: str, held: Held) -> bool:
    return bool(target.tolerated) and held.version in target.tolerated.get((state.type_url, name), ())


def kept_though_missing(state: TypeState, target: Snapshot) -> set[str]:
    """Find what the client holds of the type and keeps, although it is neither served nor to be removed."""
    if not target.tolerated:
        return set()
    present = target.resources(state.type_url)
    return {n for t, n in target.tolerated if t == state.type_url and n in state.sent and n not in present}
