"""The closed loop on a fleet that is not what the policy says, with late, noisy reports: weights must not oscillate.

A toy of two clusters: true capacities 10 % above and below the declared ones, Poisson arrivals, requests in flight that
lag the weights by their service time, reports three seconds old, and a kick of +30 % traffic for five seconds. A
controller that chases the shorter queue swings by 100 % here, with or without step limits and dead-bands.
"""

import math
import random
from itertools import pairwise

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import EndpointProbe, Load, Observations, Price
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, START, cluster, fleet, onprem, row, traffic

DECLARED = 160
TRUE = {ONPREM: 176.0, EU: 144.0}
LATE = 3
KICK = range(195, 200)
SETTLED = 250
TICKS = 600
SUBSTEPS = 10


def arrivals(chance: random.Random | None, mean: float) -> float:
    """Poisson arrivals in one second, by its normal approximation; exactly the mean without chance."""
    return mean if chance is None else max(0.0, round(chance.gauss(mean, math.sqrt(mean))))


def run(*, rate: float, service_time: float, dwell: str, chance: random.Random | None) -> tuple[list[int], list[float]]:
    """Give on-prem's weight and true utilisation, second by second."""
    policy = fleet(
        clusters=(onprem(concurrency=DECLARED, endpoints=1), cluster(EU, concurrency=DECLARED)),
        policies=(traffic(clusters=(ONPREM, EU), max_step="25%", min_dwell=dwell),),
    )
    previous: Decision | None = None
    in_flight = dict.fromkeys(TRUE, 0.0)
    reports: list[dict[str, Load]] = []
    weights: list[int] = []
    utilisation: list[float] = []
    for tick in range(TICKS):
        now = START + tick
        shares = previous.rows[row()].weights if previous is not None else {ONPREM: 10_000, EU: 0}
        arrived = {
            name: arrivals(chance, rate * (1.3 if tick in KICK else 1.0) * shares[name] / 10_000) for name in TRUE
        }
        for name, capacity in TRUE.items():
            for _ in range(SUBSTEPS):
                slowed = service_time * max(1.0, in_flight[name] / capacity)
                in_flight[name] += (arrived[name] - in_flight[name] / slowed) / SUBSTEPS
        reports.append(
            {name: Load(now, in_flight[name], arrived[name], 0.0, success_rate=arrived[name]) for name in TRUE}
        )
        late = reports[max(0, tick - LATE)]
        seen = Observations(
            {name: {f"{name}-0.example.com:8000": EndpointProbe(now, 9, 0)} for name in TRUE},
            {"eu-west": late},
            {"cloud-prices": {EU: Price(now, 0.9)}},
        )
        previous = decide(policy, seen, Overrides(), previous, now)
        weights.append(previous.rows[row()].weights[ONPREM])
        utilisation.append(in_flight[ONPREM] / TRUE[ONPREM])
    return weights[SETTLED:], utilisation[SETTLED:]


def reversals(weights: list[int]) -> int:
    turns = [after > before for before, after in pairwise(weights) if after != before]
    return sum(one is not other for one, other in pairwise(turns))


@pytest.mark.parametrize(("rate", "service_time"), [(240.0, 1.0), (120.0, 2.0), (24.0, 10.0)])
@pytest.mark.parametrize("dwell", ["1s", "30s"])
def test_without_noise_the_weights_settle_and_stay(rate: float, service_time: float, dwell: str) -> None:
    weights, utilisation = run(rate=rate, service_time=service_time, dwell=dwell, chance=None)
    assert max(weights) - min(weights) <= 350, "the dead-band for load, and a little"
    assert reversals(weights) <= 1
    assert max(utilisation) < 1


@pytest.mark.parametrize(("rate", "service_time"), [(480.0, 0.5), (240.0, 1.0), (120.0, 2.0), (24.0, 10.0)])
@pytest.mark.parametrize("dwell", ["1s", "30s"])
@pytest.mark.parametrize("seed", [1, 2])
def test_noise_moves_the_weights_little_and_seldom(rate: float, service_time: float, dwell: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 noise, not secrets
    weights, utilisation = run(rate=rate, service_time=service_time, dwell=dwell, chance=chance)
    # A hundred requests a second are known to a few percent only, and ten times fewer to three times that.
    assert max(weights) - min(weights) <= (1000 if rate > 100 else 2000)
    assert reversals(weights) <= 25
    assert max(utilisation) < 1
