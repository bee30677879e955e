"""Two clusters under a controller: the plant of the closed-loop tests.

True capacities differ from the declared ones, arrivals are Poisson where there is noise, requests in flight lag the
weights by their service time, reports come late, and everybody gets a kick of +30 % traffic for five seconds. Requests
beyond a cluster's true capacity wait, and its engine says so.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import EndpointProbe, EngineLoad, Load, Observations, Price
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, START, cluster, fleet, onprem, row, traffic

DECLARED = 160
TICKS = 420
KICK = range(100, 105)
SETTLED = 240
_SUBSTEPS = 10


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    load_step: str = "100%"
    """How far the engine may go at once to match load: its gain."""
    dwell: str = "30s"
    rate: float = 240.0
    service_time: float = 1.0
    delay: int = 1
    """Seconds that reports are old."""
    noise: float = 0.0
    """Relative error of every reported figure, on top of Poisson arrivals; 0 for neither."""
    truth: float = 1.1
    """On-prem's true capacity over the declared one; the cloud's is as far on the other side of 1."""


@dataclass(frozen=True)
class Result:
    """What the weights did once they had had time to settle."""

    swing: float
    """Between the greatest and the least share of on-prem."""
    reversals: int
    utilisation: float
    """The greatest, on-prem, of its true capacity."""
    saturated: float
    """The part of the time that on-prem was over its true capacity."""


@dataclass(frozen=True)
class Seen:
    """What a controller is told each second, late and noisy."""

    now: float
    load: Mapping[str, Load]
    engines: Mapping[str, EngineLoad]


Controller = Callable[[Seen], Mapping[str, float]]
"""Gives every cluster's share of the traffic."""


def engine(setting: Setting) -> Controller:
    """The real engine."""
    policy = fleet(
        clusters=(onprem(concurrency=DECLARED, endpoints=1), cluster(EU, concurrency=DECLARED)),
        policies=(
            traffic(clusters=(ONPREM, EU), max_step="25%", min_dwell=setting.dwell, load_step=setting.load_step),
        ),
    )
    previous: Decision | None = None

    def shares(seen: Seen) -> Mapping[str, float]:
        nonlocal previous
        probes = {name: {f"{name}-0.example.com:8000": EndpointProbe(seen.now, 9, 0)} for name in (ONPREM, EU)}
        prices = {"cloud-prices": {EU: Price(seen.now, 0.9)}}
        facts = Observations(probes, {"eu-west": seen.load}, prices, seen.engines)
        previous = decide(policy, facts, Overrides(), previous, seen.now)
        return {name: weight / 10_000 for name, weight in previous.rows[row()].weights.items()}

    return shares


def shortest_queue(step: float) -> Controller:
    """What everybody writes first: go towards the cluster that reports fewer requests in flight."""
    share = 1.0

    def shares(seen: Seen) -> Mapping[str, float]:
        nonlocal share
        fuller = seen.load[ONPREM].in_flight > seen.load[EU].in_flight
        share = min(1.0, max(0.0, share + (-step if fuller else step)))
        return {ONPREM: share, EU: 1 - share}

    return shares


def drive(setting: Setting, controller: Controller, seed: int = 1) -> Result:
    """Close the loop for a while."""
    chance = random.Random(seed) if setting.noise else None  # noqa: S311 noise, not secrets
    capacity = {ONPREM: setting.truth * DECLARED, EU: (2 - setting.truth) * DECLARED}
    in_flight = dict.fromkeys(capacity, 0.0)
    reports: list[tuple[dict[str, Load], dict[str, EngineLoad]]] = []
    shares: Mapping[str, float] = {ONPREM: 1.0, EU: 0.0}
    weights: list[float] = []
    utilisation: list[float] = []
    for tick in range(TICKS):
        now = START + tick
        wanted = setting.rate * (1.3 if tick in KICK else 1.0)
        arrived = {name: _arrivals(chance, wanted * shares[name]) for name in capacity}
        done = dict.fromkeys(capacity, 0.0)
        for name, room in capacity.items():
            for _ in range(_SUBSTEPS):
                leaving = min(in_flight[name], room) / setting.service_time / _SUBSTEPS
                in_flight[name] += arrived[name] / _SUBSTEPS - leaving
                done[name] += leaving

        def read(figure: float) -> float:
            return figure if chance is None else max(0.0, figure * chance.gauss(1.0, setting.noise))

        load = {
            name: Load(now, read(in_flight[name]), read(arrived[name]), 0.0, success_rate=read(done[name]))
            for name in capacity
        }
        waiting = {name: max(0.0, in_flight[name] - room) for name, room in capacity.items()}
        engines = {
            name: EngineLoad(now, waiting=read(queue), running=read(in_flight[name] - queue))
            for name, queue in waiting.items()
        }
        reports.append((load, engines))
        shares = controller(Seen(now, *reports[max(0, tick - setting.delay)]))
        weights.append(shares[ONPREM])
        utilisation.append(in_flight[ONPREM] / capacity[ONPREM])
    weights, utilisation = weights[SETTLED:], utilisation[SETTLED:]
    turns = [after > before for before, after in pairwise(weights) if after != before]
    return Result(
        swing=max(weights) - min(weights),
        reversals=sum(one is not other for one, other in pairwise(turns)),
        utilisation=max(utilisation),
        saturated=sum(part > 1 for part in utilisation) / len(utilisation),
    )


def _arrivals(chance: random.Random | None, mean: float) -> float:
    """Poisson arrivals in one second, by its normal approximation; exactly the mean without chance."""
    return mean if chance is None else max(0.0, round(chance.gauss(mean, math.sqrt(mean))))
