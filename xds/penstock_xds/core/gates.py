"""What must wait for what on one stream: make before break, read from the table in `penstock_xds.core.order`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock_xds.core.references import UNKNOWN, Held, mentions
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.core.type_state import Outstanding, TypeState
from penstock_xds.types import LISTENER, ROUTE


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """New resources the client has not confirmed."""

    waiting: frozenset[str]
    refused: frozenset[str]

    def holds_back(self, wanted: Resource, *, has_older: bool) -> bool:
        """Whether the resource must wait, as it names something the client cannot have yet.

        What was refused holds it back only from a client that can go on with an older version: one that has
        none is better off with a resource that is wrong in part.
        """
        names = self.waiting | self.refused if has_older else self.waiting
        return bool(names) and mentions(wanted, names)


# A client that comes back will ask for these sooner or later, whether there are any now or not.
_EXPECTED = (LISTENER, ROUTE)


class Gates:
    """The waits of one stream. Reads the state of its types and changes nothing."""

    def __init__(self, types: Mapping[str, TypeState], *, phase_timeout: float, grace_until: float) -> None:
        """Watch over the types.

        Args:
            types: the stream's types by URL, as they come to be.
            phase_timeout: seconds after which an acknowledgement is no longer waited for.
            grace_until: until then, a client that brought resources from an earlier stream may hold some of types it
                has yet to ask for, so nothing those could use is removed.

        """
        self._types = types
        self._phase_timeout = phase_timeout
        self._grace_until = grace_until

    def may_push(self, state: TypeState, now: float) -> bool:
        """Whether a response of the type may follow those under way: one at a time, but for the patience to end."""
        patience = self._patience(state)
        return all(now >= o.sent_at + patience for o in state.outstanding)

    def unconfirmed(self, state: TypeState, target: Snapshot, now: float) -> Unconfirmed:
        """Find what is new to the client, of the types that resources of this type may name."""
        waiting: set[str] = set()
        refused: set[str] = set()
        for type_url in state.rule.needs:
            needed = self._types.get(type_url)
            if needed is None or not needed.requested:
                continue
            present = target.resources(type_url)
            names = {n for n in needed.candidates | needed.forced if n in present and needed.subscription.matches(n)}
            waiting |= names - (needed.good.keys() & needed.sent.keys())
            for outstanding in self._awaited(needed, now):
                waiting.update(r.name for r in outstanding.response.resources if r.name not in needed.good)
                # On its way out, though it may be wanted again.
                waiting.update(outstanding.gone)
            refused |= needed.refused.keys() & present.keys() - needed.good.keys()
        return Unconfirmed(frozenset(waiting), frozenset(refused))

    def users(self, state: TypeState, target: Snapshot, now: float) -> list[Held]:
        """Find what the client may hold that is itself about to change, of the types that may name one of this type."""
        users: list[Held] = []
        for type_url in state.rule.used_by:
            user = self._types.get(type_url)
            if user is not None and user.requested:
                # Two resources of one type that name each other and leave together must not keep each other.
                remaining = target.resources(type_url) if user is state else None
                users += self._about_to_change(user, remaining, now)
            elif state.brought and now < self._grace_until and (type_url in _EXPECTED or target.resources(type_url)):
                users.append(UNKNOWN)
        return users

    def next_change(self, now: float) -> float | None:
        """When the next of these waits ends by itself."""
        times = [self._grace_until]
        for state in self._types.values():
            patience = self._patience(state)
            for outstanding in state.outstanding:
                times += (outstanding.sent_at + patience, outstanding.sent_at + self._phase_timeout)
        return min((t for t in times if t > now), default=None)

    def _about_to_change(self, user: TypeState, remaining: Mapping[str, Resource] | None, now: float) -> Iterable[Held]:
        names = user.candidates | user.forced | user.refused.keys()
        for outstanding in self._awaited(user, now):
            names.update(r.name for r in outstanding.response.resources)
            names.update(outstanding.gone)
        for name in names:
            if remaining is None or name in remaining:
                good = user.good.get(name, UNKNOWN if user.unseen else None)
                yield from (held for held in (good, user.sent.get(name)) if held is not None)

    def _awaited(self, state: TypeState, now: float) -> Iterable[Outstanding]:
        return (o for o in state.outstanding if now < o.sent_at + self._phase_timeout)

    def _patience(self, state: TypeState) -> float:
        overtake = state.rule.overtake_after
        return self._phase_timeout if overtake is None else min(overtake, self._phase_timeout)
