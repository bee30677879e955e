"""Second stage: the health of every cluster, each looked at from where its policy says.

Most are probed by the control plane, whose word holds for all rows, and whose requests are those of all regions
together. Clusters probed from the edge have a health for each region, by its votes and its requests alone: one that a
region cannot reach is DOWN for the rows of that region, and keeps its capacity for the others.

A region in which most clusters fail together, though they are well elsewhere, is itself cut off: its health is held and
its rows with it, while the other regions go on. A cluster that fails from everywhere is no fault of any region, unless
all of them do so: then the way they are probed is to be doubted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock_policies.decision import ClusterHealth, Decision, HealthState, Note, Stage
from penstock_policies.engine.health import UNHEARD, Judgement, Look, Sight, judge, look
from penstock_policies.engine.lateness import late_from
from penstock_policies.engine.sanitise import Facts
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from penstock_policies.words import Vantage

_BEST_FIRST = (HealthState.UP, HealthState.RAMP, HealthState.PROBATION, HealthState.DOWN)
_TOLD = 3
"""Regions told of in the reason of a cluster that is seen differently from several."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The health of every cluster. ``frozen`` says why the prober is distrusted; empty when it is not."""

    clusters: Mapping[str, ClusterHealth]
    """Of those probed from the edge: as they are where they are best."""
    frozen: str
    notes: tuple[Note, ...]
    outcomes: Mapping[str, tuple[float, float]]
    """Cluster to (requests, failed ones) counted with fading memory."""
    unheard: frozenset[str]
    """Clusters of which nothing has been heard for too long to give them more."""
    edges: Mapping[str, Judgement] = field(default_factory=dict)
    """Edge region to what is seen from there, of the clusters probed from the edge; empty where none is."""
    _merged: Mapping[str, Mapping[str, ClusterHealth]] = field(default_factory=dict)

    def seen_from(self, region: str) -> Mapping[str, ClusterHealth]:
        """Give the health of every cluster that the rows of a region go by."""
        return self._merged.get(region, self.clusters)

    def frozen_in(self, region: str) -> str:
        """Tell why the rows of a region are held; empty when they are not."""
        return self.frozen or (self.edges[region].frozen if region in self.edges else "")

    def unheard_in(self, region: str) -> frozenset[str]:
        """Name the clusters of which a region has heard nothing for too long to give them more."""
        return self.unheard | self.edges[region].unheard if region in self.edges else self.unheard

    def frozen_regions(self) -> dict[str, str]:
        """Give the regions whose own sight is distrusted, and why."""
        return {region: seen.frozen for region, seen in self.edges.items() if seen.frozen}

    def edge_health(self) -> dict[str, Mapping[str, ClusterHealth]]:
        """Give the health by region of the clusters probed from the edge."""
        return {region: seen.clusters for region, seen in self.edges.items()}

    def edge_outcomes(self) -> dict[str, Mapping[str, tuple[float, float]]]:
        """Give what is counted of each region's requests."""
        return {region: seen.outcomes for region, seen in self.edges.items()}


def assess(policy: PolicySet, facts: Facts, previous: Decision | None, now: float) -> Assessment:
    """Advance every cluster's state machine to ``now``."""
    elapsed = max(0.0, now - previous.at) if previous is not None else 0.0
    outer = {name: one for name, one in policy.clusters.items() if one.spec.health.vantage is Vantage.EDGE}
    regions = policy.regions() if outer else ()
    late = late_from(policy, facts, now)
    own = judge(look(_own_sight(policy, facts, previous, outer, elapsed=elapsed, late=late), now), now)
    if not outer:
        return Assessment(own.clusters, own.frozen, own.notes, own.outcomes, own.unheard)
    looks = {
        region: look(_edge_sight(outer, facts, previous, region, elapsed=elapsed, late=late), now) for region in regions
    }
    edges = {region: judge(seen, now, _confirmed(region, looks)) for region, seen in looks.items()}
    clusters = {**own.clusters, **{name: _at_best(name, edges, previous, now) for name in outer}}
    return Assessment(
        clusters={name: clusters[name] for name in sorted(clusters)},
        frozen=own.frozen,
        notes=(
            *own.notes,
            *(note for region, seen in looks.items() for note in _notes(region, seen, edges[region], now)),
        ),
        outcomes=own.outcomes,
        unheard=own.unheard,
        edges=edges,
        _merged={region: {**clusters, **seen.clusters} for region, seen in edges.items()},
    )


def _own_sight(
    policy: PolicySet,
    facts: Facts,
    previous: Decision | None,
    outer: Mapping[str, Cluster],
    *,
    elapsed: float,
    late: Mapping[str, float],
) -> Sight:
    """What the control plane sees of the clusters it probes itself."""
    if outer:
        facts = replace(facts, probes={name: by for name, by in facts.probes.items() if name not in outer})
    return Sight(
        clusters={name: one for name, one in policy.clusters.items() if name not in outer},
        facts=facts,
        health=previous.health if previous is not None else {},
        outcomes=previous.memory.outcomes if previous is not None else {},
        frozen=previous.frozen if previous is not None else "",
        elapsed=elapsed,
        late_from=late,
    )


def _edge_sight(
    clusters: Mapping[str, Cluster],
    facts: Facts,
    previous: Decision | None,
    region: str,
    *,
    elapsed: float,
    late: Mapping[str, float],
) -> Sight:
    """What a region sees. What was held of all of them stands in where nothing is held of the region yet.

    What the control plane knows of an endpoint without probing it (that a notice says it goes) holds everywhere.
    """
    load = {region: facts.load[region]} if region in facts.load else {}
    told = facts.edge_probes.get(region, {})
    known = {name: {**told.get(name, {}), **facts.probes[name]} for name in clusters if name in facts.probes}
    seen = replace(facts, probes={**told, **known}, load=load)
    if previous is None:
        return Sight(clusters, seen, {}, {}, "", elapsed, late)
    return Sight(
        clusters=clusters,
        facts=seen,
        health={**previous.health, **previous.edge_health.get(region, {})},
        outcomes=previous.memory.edge_outcomes.get(region, {}),
        frozen=previous.frozen_regions.get(region, ""),
        elapsed=elapsed,
        late_from=late,
    )


def _confirmed(region: str, looks: Mapping[str, Look]) -> frozenset[str]:
    """Name the clusters that fail from every other region that hears of them; none if all do so from here, too."""
    here = looks[region].readings
    others = [seen.readings for other, seen in looks.items() if other != region]
    failing = {name for name, reading in here.items() if reading.lost}
    confirmed = frozenset(
        name
        for name in failing
        if (told := [by[name] for by in others if by[name].fresh]) and all(reading.lost for reading in told)
    )
    return frozenset[str]() if len(confirmed) == len(here) else confirmed


def _at_best(name: str, edges: Mapping[str, Judgement], previous: Decision | None, now: float) -> ClusterHealth:
    """Sum up how a cluster is seen: what is well from one region at least can be used, and so has its capacity."""
    seen = {region: by.clusters[name] for region, by in edges.items()}
    if not seen:
        held = previous.health.get(name) if previous is not None else None
        return held or ClusterHealth(HealthState.UP, now, reason="no region has an edge")
    best = min(seen.values(), key=lambda one: (_BEST_FIRST.index(one.state), -one.ceiling))
    unhealthy = tuple(
        endpoint
        for endpoint in best.unhealthy_endpoints
        if all(endpoint in one.unhealthy_endpoints for one in seen.values())
    )
    worse = {region: one for region, one in seen.items() if one.state is not best.state}
    if not worse:
        return replace(best, unhealthy_endpoints=unhealthy)
    told = [f"{one.state} from {region}" for region, one in sorted(worse.items())]
    more = f" and {len(told) - _TOLD} more regions" if len(told) > _TOLD else ""
    return replace(best, unhealthy_endpoints=unhealthy, reason=f"{', '.join(told[:_TOLD])}{more}")


def _notes(region: str, seen: Look, judged: Judgement, now: float) -> list[Note]:
    notes = [replace(note, fields={"region": region, **note.fields}) for note in judged.notes]
    never = [
        name
        for name, reading in seen.readings.items()
        if reading.heard > now + UNHEARD and now - judged.clusters[name].since > UNHEARD
    ]
    if never:
        fields: dict[str, str | float | int] = {"region": region, "clusters": ", ".join(never)}
        notes.append(Note(Stage.HEALTH, "no Envoy of the region probes these, taken as they were", fields))
    return notes
