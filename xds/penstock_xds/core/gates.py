"""What must wait for what on one stream: make before break, read from the table in `penstock_xds.core.order`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock_xds.core.family import Family
from penstock_xds.core.references import UNKNOWN, ForeignVersion, Held, endpoints_of, mentions
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.core.type_state import Outstanding, TypeState
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """New resources the client has not confirmed."""

    waiting: frozenset[str]
    refused: frozenset[str]

    def holds_back(self, wanted: Resource, older: Held | None) -> bool:
        """Whether the resource must wait, as it names something the client cannot have yet.

        What was refused holds it back only from a client that can go on with an older version that names less of it:
        one that has none is better off with a resource that is wrong in part.
        """
        if self.waiting and mentions(wanted, self.waiting):
            return True
        if not self.refused or older is None or not mentions(wanted, self.refused):
            return False
        if isinstance(older, ForeignVersion):
            return True
        by_older = {name for name in self.refused if mentions(older, (name,))}
        return by_older < {name for name in self.refused if mentions(wanted, (name,))}


_ALL_CONFIRMED = Unconfirmed(frozenset(), frozenset())

# A client that comes back will ask for these sooner or later, whether there are any now or not.
_EXPECTED = (LISTENER, ROUTE)


class Gates:
    """The waits of one stream. Reads the state of its types and changes nothing."""

    def __init__(self, family: Family, *, phase_timeout: float, grace_until: float) -> None:
        """Watch over the types.

        Args:
            family: the streams of the client, this one among them.
            phase_timeout: seconds after which an acknowledgement is no longer waited for.
            grace_until: until then, a client that brought resources from an earlier stream may hold some of types it
                has yet to ask for, so nothing those could use is removed.

        """
        self._family = family
        self._phase_timeout = phase_timeout
        self._grace_until = grace_until

    def may_push(self, state: TypeState, now: float) -> bool:
        """Whether a response of the type may follow those under way: one at a time, but for the patience to end."""
        if not state.outstanding:
            return True
        patience = self._patience(state)
        return all(now >= o.sent_at + patience for o in state.outstanding)

    def unconfirmed(self, state: TypeState, target: Snapshot, now: float) -> Unconfirmed:
        """Find what is new to the client, of the types that resources of this type may name."""
        waiting: set[str] = set()
        refused: set[str] = set()
        for type_url in state.rule.needs:
            asked = [needed for needed in self._family.states(type_url) if needed.requested]
            for needed in asked:
                self._find_unconfirmed(needed, target, now, waiting, refused)
            if asked and target.tolerated:
                # Left out of what is served, and some clients have it: this one may not.
                present = target.resources(type_url)
                left_out = (n for t, n in target.tolerated if t == type_url and n not in present)
                refused.update(n for n in left_out if not any(n in needed.good for needed in asked))
        if CLUSTER in state.rule.needs and self._family.several:
            waiting.update(self._unfed_clusters(state, target, now))
        return Unconfirmed(frozenset(waiting), frozenset(refused)) if waiting or refused else _ALL_CONFIRMED

    def _find_unconfirmed(
        self, needed: TypeState, target: Snapshot, now: float, waiting: set[str], refused: set[str]
    ) -> None:
        if needed.candidates or needed.forced:
            present, good, sent = target.resources(needed.type_url), needed.good, needed.sent
            for name in needed.candidates | needed.forced:
                if (name not in good or name not in sent) and needed.due(present, name) is not None:
                    waiting.add(name)
        for outstanding in self._awaited(needed, now):
            waiting.update(r.name for r in outstanding.response.resources if r.name not in needed.good)
            # On its way out, though it may be wanted again.
            waiting.update(outstanding.gone)
        if needed.refused:
            present = target.resources(needed.type_url)
            refused.update(n for n in needed.refused if n in present and n not in needed.good)

    def _unfed_clusters(self, state: TypeState, target: Snapshot, now: float) -> Iterable[str]:
        """Find clusters that were confirmed and still lack their endpoints.

        On an aggregated stream Envoy confirms a cluster when it is warm. On separate ones it does so at once, opens a
        stream for the cluster's endpoints, and can use it when it has those.
        """
        endpoints = target.resources(ENDPOINT)
        if not endpoints or (state.wanted_at is not None and now >= state.wanted_at + self._phase_timeout):
            return
        fed = self._family.states(ENDPOINT)
        for clusters in self._family.states(CLUSTER):
            for name, cluster in target.resources(CLUSTER).items():
                if name in clusters.good and not any(
                    e not in endpoints or any(e in s.good or e in s.refused for s in fed) for e in endpoints_of(cluster)
                ):
                    yield name

    def users(self, state: TypeState, target: Snapshot, now: float) -> list[Held]:
        """Find what the client may hold that is itself about to change, of the types that may name one of this type."""
        users: list[Held] = []
        for type_url in state.rule.used_by:
            asked = [user for user in self._family.states(type_url) if user.requested]
            for user in asked:
                # Two resources of one type that name each other and leave together must not keep each other.
                remaining = target.resources(type_url) if user is state else None
                users += self._about_to_change(user, remaining, now)
            if asked:
                continue
            if state.brought and now < self._grace_until and (type_url in _EXPECTED or target.resources(type_url)):
                users.append(UNKNOWN)
        return users

    def next_change(self, now: float) -> float | None:
        """When the next of these waits ends by itself."""
        times = [self._grace_until]
        for state in self._family.all_states():
            patience = self._patience(state)
            for outstanding in state.outstanding:
                times += (outstanding.sent_at + patience, outstanding.sent_at + self._phase_timeout)
            if state.wanted_at is not None and self._family.several:
                times.append(state.wanted_at + self._phase_timeout)
        return min((t for t in times if t > now), default=None)

    def _about_to_change(self, user: TypeState, remaining: Mapping[str, Resource] | None, now: float) -> Iterable[Held]:
        names = user.candidates | user.forced | user.refused.keys()
        for outstanding in self._awaited(user, now):
            names.update(r.name for r in outstanding.response.resources)
            names.update(outstanding.gone)
        for name in names:
            if remaining is None or user.due(remaining, name) is not None:
                good = user.good.get(name, UNKNOWN if user.unseen else None)
                yield from (held for held in (good, user.sent.get(name)) if held is not None)

    def _awaited(self, state: TypeState, now: float) -> Iterable[Outstanding]:
        return (o for o in state.outstanding if now < o.sent_at + self._phase_timeout)

    def _patience(self, state: TypeState) -> float:
        overtake = state.rule.overtake_after
        return self._phase_timeout if overtake is None else min(overtake, self._phase_timeout)
