"""From what is to be done to what is said: the response of each variant, and what the client has after it."""

from collections.abc import Callable, Iterable

from penstock_xds.core.messages import Response, Variant
from penstock_xds.core.planning import Plan, kept_though_missing
from penstock_xds.core.snapshot import Resource, Snapshot, set_version
from penstock_xds.core.type_state import TypeState

Gone = tuple[str, ...]
"""Names the client loses by a response, whether it says so (Delta) or by silence (State of the World)."""


class Responder:
    """Writes the responses of one stream."""

    def __init__(self, variant: Variant, *, expires: bool, next_nonce: Callable[[], str]) -> None:
        """Write for one client.

        Args:
            variant: how it talks.
            expires: whether it understands times to live.
            next_nonce: gives each response of the stream its own nonce.

        """
        self._delta = variant is Variant.DELTA
        self._expires = expires
        self._next_nonce = next_nonce

    def respond(self, state: TypeState, target: Snapshot, plan: Plan, *, asked: bool) -> tuple[Response, Gone] | None:
        """Return the response the plan calls for, and what the client loses by it; None if it calls for none.

        `asked`: the client asked for something, or something was to be sent whether it has it or not.
        """
        if self._delta or not state.rule.full_state:
            return self._difference(state, target, plan)
        return self._full_state(state, target, plan, asked=asked)

    def _difference(self, state: TypeState, target: Snapshot, plan: Plan) -> tuple[Response, Gone] | None:
        """Only what changed: all of Delta, and the types of State of the World whose absence means nothing."""
        # Clients wait for an answer to their first wildcard, even if there is nothing; unless they brought it along.
        empty_answer_due = state.unanswered and not state.sent
        news = plan.upserts or plan.errors or plan.beats or (plan.removals and self._delta)
        gone = tuple(plan.removals)
        if not (news or empty_answer_due):
            for name in gone:
                state.forget_held(name)
            if not state.acked_version and state.sent and not plan.held_back:
                state.acked_version = target.version(state.type_url)
            return None
        removed = gone if self._delta else ()
        response = self._response(state, target.version(state.type_url), tuple(plan.upserts), plan, removed)
        return self._recorded(state, plan, response, gone)

    def _full_state(
        self, state: TypeState, target: Snapshot, plan: Plan, *, asked: bool
    ) -> tuple[Response, Gone] | None:
        """All the client subscribes to: the new, the old that must still wait, and what is kept though it left."""
        news = plan.upserts or plan.errors or plan.removals or state.unanswered
        if not (news or (asked and not state.forced)):
            return None
        fresh = {r.name: r for r in plan.upserts}
        present = target.resources(state.type_url)
        kept = plan.held_back | kept_though_missing(state, target)
        names: Iterable[str] = sorted(present.keys() | kept) if kept else present
        resources: list[Resource] = []
        as_published = True
        for name in names:
            published = state.due(present, name)
            if published is None and name not in kept:
                continue
            shown = fresh.get(name) or state.sent.get(name)
            if not isinstance(shown, Resource):
                # What it holds is not known here; what it confirmed last may be.
                shown = state.good.get(name)
            if isinstance(shown, Resource):
                resources.append(shown)
            as_published = as_published and shown == published
        version = target.version(state.type_url) if as_published else set_version(resources)
        shown_names = {r.name for r in resources}
        gone = tuple(name for name in state.sent if name not in shown_names)
        return self._recorded(state, plan, self._response(state, version, tuple(resources), plan, ()), gone)

    @staticmethod
    def _recorded(state: TypeState, plan: Plan, response: Response, gone: Gone) -> tuple[Response, Gone]:
        for resource in plan.upserts:
            state.sent[resource.name] = resource
            state.told.pop(resource.name, None)
        for name in gone:
            state.sent.pop(name, None)
        for error in plan.errors:
            state.told[error.name] = error
        for name in response.removed:
            state.told.pop(name, None)
        return response, gone

    def _response(
        self, state: TypeState, version: str, resources: tuple[Resource, ...], plan: Plan, removed: tuple[str, ...]
    ) -> Response:
        return Response(
            type_url=state.type_url,
            version=version,
            nonce=self._next_nonce(),
            resources=resources,
            removed=removed,
            errors=tuple(plan.errors),
            heartbeats=tuple(plan.beats),
            expires=self._expires,
        )
