"""What every strategy is given alike: the fleet, the requests with their rows and their luck, and what goes wrong.

Owns the common random numbers: which row a request comes by and the number that picks its leg are drawn once, so that
two strategies differ only by what they decide.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from penstock.replay.faults import CapacityLoss, Fault, Outage, PriceMove, Silence, Source
from penstock.replay.queueing import slot_seconds
from penstock.replay.trace import Trace
from penstock_policies.observations import Rate
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.quantities import parse_percentage
from penstock_policies.schema import TrafficPolicy

SHARE_ANNOTATION: Final = "replay-share"
"""On a TrafficPolicy or a NodeGroup: its part of a trace that does not tell policies and regions apart."""


PRODUCTION_TICK: Final = 1.0
"""Seconds between two decisions of ``penstock serve``."""
_MOST_DECISIONS: Final = 10_000
"""Of a replay, unless asked for: at 3 to 4 ms each they take 30 to 40 s, so that a day takes less than a minute."""
_CLOSELY: Final = 60.0
"""Seconds after a fault's start or end that are watched as closely as in production: by then weights have moved."""
_MOST_CLOSE_LOOKS: Final = 2000
"""In all: a file of prices may hold a change a minute."""


class MixError(ValueError):
    """Shares of the traffic that cannot be."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One replay."""

    policy: PolicySet
    files: Mapping[str, str]
    """The policy's text, for worker processes."""
    name: str
    start: float
    """Unix time of the first request."""
    duration: float
    run_in: float
    """Seconds before the trace that are replayed and not counted."""
    at: Sequence[float]
    """Of each request, seconds since the trace began; negative in the run-in."""
    prompt: Sequence[int]
    output: Sequence[int]
    row: Sequence[int]
    """Of each request, an index into ``rows``."""
    parts: Mapping[RowKey, float]
    """Row to its part of all requests."""
    draw: Sequence[float]
    """Of each request, the number from 0 to 1 that picks its leg."""
    rows: tuple[RowKey, ...]
    prices: Mapping[str, float]
    """Price key (or the name of a cluster that declares its price) to USD a million tokens at the beginning."""
    carbon: Mapping[str, Mapping[str, float]]
    """Carbon feed, key to grams."""
    faults: tuple[Fault, ...]
    tick: float
    """Seconds between two decisions."""
    closely: float = 0.0
    """Seconds after each change of the world in which decisions are made every second, whatever the tick is."""
    rates: Mapping[str, Mapping[str, Rate]] = field(default_factory=dict)
    """Feed, key to prices of time and electricity, by which worker processes declare prices of tokens anew."""

    def outages(self, cluster: str) -> list[Outage]:
        """List the whole outages of a cluster, in order, overlapping ones merged."""
        merged: list[Outage] = []
        for fault in sorted(
            (f for f in self.faults if isinstance(f, Outage) and f.cluster == cluster and f.endpoints is None),
            key=lambda outage: outage.start,
        ):
            if merged and fault.start <= merged[-1].end:
                merged[-1] = Outage(
                    cluster, merged[-1].start, max(merged[-1].end, fault.end), hang=merged[-1].hang or fault.hang
                )
            else:
                merged.append(fault)
        return merged

    def endpoints_lost(self, cluster: str, at: float) -> int:
        """Count the endpoints of a cluster that are gone."""
        there = len(self.policy.clusters[cluster].spec.endpoints)
        lost = [
            there if fault.endpoints is None else fault.endpoints
            for fault in self.faults
            if isinstance(fault, Outage) and fault.cluster == cluster and fault.start <= at < fault.end
        ]
        return min(there, max(lost, default=0))

    def capacity_factor(self, cluster: str, at: float) -> float:
        """Give the part of its declared speed a cluster has."""
        losses = (f for f in self.faults if isinstance(f, CapacityLoss) and f.cluster == cluster)
        return math.prod(loss.factor for loss in losses if loss.start <= at < loss.end)

    def price(self, cluster: str, at: float) -> float:
        """Give the true price of a cluster, USD a million tokens."""
        key = price_key(self.policy, cluster)
        price = self.prices.get(key, 0.0)
        factor = 1.0
        for fault in self.faults:
            if isinstance(fault, PriceMove) and fault.key == key and fault.start <= at < fault.end:
                price = fault.price if fault.price is not None else price
                factor *= fault.factor if fault.factor is not None else 1.0
        return price * factor

    def work(self, cluster: str, prompt: float, output: float) -> float:
        """Give the slot-seconds that tokens take at a full cluster."""
        per_output, per_prompt = slot_seconds(self.policy.clusters[cluster])
        return output * per_output + prompt * per_prompt

    def part(self, key: RowKey) -> float:
        """Give the part of all requests that come by a row."""
        return self.parts.get(key, 0.0)

    def silent_since(self, source: Source, at: float) -> float | None:
        """Tell since when nothing was heard from a source; None when it is heard."""
        starts = [
            fault.start
            for fault in self.faults
            if isinstance(fault, Silence) and fault.source is source and fault.start <= at < fault.end
        ]
        return min(starts, default=None)

    def changes(self) -> list[float]:
        """List the moments at which the world changes, in order."""
        times = {time for fault in self.faults for time in (fault.start, fault.end)}
        return sorted(time for time in times if -self.run_in < time < self.duration)

    def close_looks(self) -> list[float]:
        """List the moments besides every tick at which is decided, as reactions are what a coarse tick would blur."""
        changes = self.changes()
        if self.tick <= PRODUCTION_TICK or not changes:
            return []
        span = min(self.closely, _MOST_CLOSE_LOOKS / len(changes))
        looks = {change + PRODUCTION_TICK * step for change in changes for step in range(int(span))}
        return sorted(look for look in looks if look < self.duration)


def price_key(policy: PolicySet, cluster: str) -> str:
    """Name what a cluster's price is known by."""
    return policy.clusters[cluster].spec.cost.key or cluster


def starting_prices(policy: PolicySet, feeds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Give the price of every key or cluster at the beginning."""
    found: dict[str, float] = {}
    for name, cluster in policy.clusters.items():
        cost = cluster.spec.cost
        fed = feeds.get(cost.feed, {}).get(cost.key or "") if cost.feed is not None else None
        found[price_key(policy, name)] = fed if fed is not None else cost.usd_per_million_tokens or 0.0
    return found


def build(
    policy: PolicySet,
    files: Mapping[str, str],
    trace: Trace,
    *,
    feeds: Mapping[str, Mapping[str, float]],
    carbon: Mapping[str, Mapping[str, float]],
    faults: tuple[Fault, ...],
    tick: float | None,
    seed: int,
    scale: float = 1.0,
    run_in: float = 0.0,
) -> Scenario:
    """Draw what is random and put a scenario together.

    Args:
        policy: the fleet and its rules.
        files: their text.
        trace: the traffic.
        feeds: price feed, key to USD a million tokens at the beginning.
        carbon: carbon feed, key to grams.
        faults: what goes wrong.
        tick: seconds between two decisions; None for as often as in production, or as a long trace leaves time for.
        seed: of all that is random.
        scale: makes the traffic so many times as dense.
        run_in: so many seconds from the beginning of the trace are replayed once before it, and not counted. A real day
            does not begin with empty clusters and a control plane that has never seen a request.

    Raises:
        MixError: the shares of the traffic do not fit the policies.
    """
    source = random.Random(seed)  # noqa: S311 - common random numbers, no secret
    rows = tuple(key for key in policy.rows() if key.model != ANY_MODEL) or policy.rows()
    index = {key: number for number, key in enumerate(rows)}
    cumulative = _cumulative(policy, rows)
    at: list[float] = []
    prompt: list[int] = []
    output: list[int] = []
    row: list[int] = []
    draw: list[float] = []
    before = [replace(request, at=request.at - run_in) for request in trace.requests if request.at < run_in]
    for request in (*before, *trace.requests):
        known = index.get(request.row) if request.row is not None else None
        for _ in range(_copies(scale, source)):
            luck = source.random() * cumulative[-1]
            at.append(request.at)
            prompt.append(request.prompt)
            output.append(request.output)
            row.append(known if known is not None else next(n for n, edge in enumerate(cumulative) if luck <= edge))
            draw.append(source.random())
    if not at:
        raise MixError("nothing is left of the traffic at this scale")
    duration = trace.duration
    return Scenario(
        policy=policy,
        files=files,
        name=trace.name,
        start=trace.start,
        duration=duration,
        run_in=run_in,
        at=at,
        prompt=prompt,
        output=output,
        row=row,
        parts={key: count / len(row) for key, count in Counter(rows[number] for number in row).items()},
        draw=draw,
        rows=rows,
        prices=starting_prices(policy, feeds),
        carbon=carbon,
        faults=faults,
        tick=tick if tick is not None else _tick(duration),
        closely=0.0 if tick is not None else _CLOSELY,
    )


def _tick(duration: float) -> float:
    """As often as the program decides, as long as that is few enough decisions to wait for."""
    return max(PRODUCTION_TICK, float(math.ceil(duration / _MOST_DECISIONS)))


def _copies(scale: float, source: random.Random) -> int:
    whole = math.floor(scale)
    return whole + (source.random() < scale - whole)


def _cumulative(policy: PolicySet, rows: tuple[RowKey, ...]) -> list[float]:
    policies = _shares({name: p.metadata.annotations.get(SHARE_ANNOTATION) for name, p in policy.policies.items()})
    groups = _shares({name: g.metadata.annotations.get(SHARE_ANNOTATION) for name, g in policy.groups.items()})
    regions = {name: _regions(policy, traffic, groups) for name, traffic in policy.policies.items()}
    models = Counter((key.policy, key.region) for key in rows)
    total, edges = 0.0, []
    for key in rows:
        whole = sum(regions[key.policy].values())
        part = regions[key.policy].get(key.region, 0.0) / whole if whole > 0 else 0.0
        total += policies[key.policy] * part / models[key.policy, key.region]
        edges.append(total)
    if total <= 0:
        raise MixError("expected some policy with a share of the traffic")
    return edges


def _regions(policy: PolicySet, traffic: TrafficPolicy, groups: Mapping[str, float]) -> dict[str, float]:
    """Give the regions a policy's requests come from: where a listener is for its class, else from everywhere."""
    own = {
        name: share
        for name, share in groups.items()
        if any(
            policy.listeners[listener].spec.data_class is traffic.spec.data_class
            for listener in policy.groups[name].spec.listeners
        )
    }
    regions: dict[str, float] = {}
    for name, share in (own or groups).items():
        region = policy.groups[name].spec.region
        regions[region] = regions.get(region, 0.0) + share
    return regions


def _shares(given: Mapping[str, str | None]) -> dict[str, float]:
    """Read the shares that are given; what is left is for the others, alike."""
    known = {}
    for name, text in given.items():
        if text is not None:
            try:
                known[name] = parse_percentage(text)
            except ValueError as error:
                raise MixError(f"{name}: annotation {SHARE_ANNOTATION}: {error}") from error
    left = 1 - sum(known.values())
    others = [name for name in given if name not in known]
    if left < -1e-9 or (not others and abs(left) > 1e-9):
        raise MixError(f"expected annotations {SHARE_ANNOTATION} that add up to 100%")
    return {name: known.get(name, max(0.0, left) / len(others) if others else 0.0) for name in given}
