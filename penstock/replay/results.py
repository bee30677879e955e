"""What came of a strategy, as figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from penstock.replay.faults import described
from penstock.replay.movement import Movement
from penstock.replay.scenario import PRODUCTION_TICK, Scenario
from penstock.replay.simulator import BUCKET, Tally

BASELINES: Final = ("static_split", "on_prem_only", "cloud_only", "waterfall", "cheapest_first", "latency_greedy")

_ALIKE: Final = 0.005
"""Part of requests or tokens by which two runs may differ and still be compared by what they cost: an outage cuts off
different answers under different weights."""


@dataclass(frozen=True, slots=True)
class Result:
    """One strategy's."""

    strategy: str
    requests: int
    cost_usd: float
    slo_missed: int
    """Requests answered later than their policy's SLO, or not at all."""
    unserved: int
    interrupted: int
    """Answers that an outage cut off."""
    failovers: int
    moved: float
    """Times all traffic changed its cluster."""
    reversals: int
    residency_breaches: int
    ttft_p50: float | None
    ttft_p95: float | None
    ttft_p99: float | None
    tokens: int
    served: Mapping[str, int]
    cost_by_bucket: Sequence[float]
    missed_by_bucket: Sequence[int]
    served_by_bucket: Mapping[str, Sequence[int]]


def result_of(strategy: str, tally: Tally, movement: Movement) -> Result:
    """Sum up a run."""
    times = sorted(tally.ttft)
    return Result(
        strategy=strategy,
        requests=tally.requests,
        cost_usd=tally.cost_usd,
        slo_missed=tally.slo_missed,
        unserved=tally.unserved,
        interrupted=tally.interrupted,
        failovers=tally.failovers,
        moved=movement.moved,
        reversals=movement.reversals,
        residency_breaches=tally.residency_breaches,
        ttft_p50=_percentile(times, 0.5),
        ttft_p95=_percentile(times, 0.95),
        ttft_p99=_percentile(times, 0.99),
        tokens=tally.prompt_tokens + tally.output_tokens,
        served=tally.served,
        cost_by_bucket=tally.cost_by_bucket,
        missed_by_bucket=tally.missed_by_bucket,
        served_by_bucket=tally.served_by_bucket,
    )


def _percentile(ordered: Sequence[float], part: float) -> float | None:
    return ordered[min(len(ordered), math.ceil(part * len(ordered))) - 1] if ordered else None


def above_optimum(results: Mapping[str, Result], name: str) -> float | None:
    """Give how much more a strategy costs than the clairvoyant optimum, as a part of it; None when that is unknown.

    Only between runs that served the same: an unserved request costs nothing.
    """
    best = results.get("clairvoyant")
    if best is None or best.cost_usd <= 0 or not _served_alike(results[name], best):
        return None
    return results[name].cost_usd / best.cost_usd - 1


def _served_alike(one: Result, other: Result) -> bool:
    unserved, tokens = abs(one.unserved - other.unserved), abs(one.tokens - other.tokens)
    return unserved <= _ALIKE * other.requests and tokens <= _ALIKE * other.tokens


def cadence(scenario: Scenario) -> str:
    """Say what it means that decisions are made more or less often than in production; empty when they are not."""
    if scenario.tick == PRODUCTION_TICK:
        return ""
    here = f"In production Penstock decides every second; here every {scenario.tick:g} s"
    if scenario.tick < PRODUCTION_TICK:
        return f"{here}."
    closely = (
        f" (but every second in the first {scenario.closely:.0f} s after each fault begins or ends)"
        if scenario.closely and scenario.changes()
        else ""
    )
    return (
        f"{here}{closely}, so that a long trace takes no longer than a minute or so: every strategy hears of load and "
        f"failures up to {scenario.tick - PRODUCTION_TICK:g} s later than in production, from reports that tell of "
        "longer spans and scatter less. --tick 1 decides as production does."
    )


def as_json(scenario: Scenario, results: Mapping[str, Result]) -> dict[str, Any]:
    """Give the report for programs."""
    return {
        "trace": scenario.name,
        "requests": sum(1 for at in scenario.at if at >= 0),
        "seconds": round(scenario.duration, 3),
        "tick_seconds": scenario.tick,
        "production_tick_seconds": PRODUCTION_TICK,
        "tick_note": cadence(scenario) or None,
        "policy_digest": scenario.policy.digest,
        "faults": [described(fault) for fault in scenario.faults],
        "strategies": {name: _plain(results, name) for name in results},
    }


def _plain(results: Mapping[str, Result], name: str) -> dict[str, Any]:
    result = results[name]
    above = above_optimum(results, name)
    return {
        "cost_usd": round(result.cost_usd, 6),
        "slo_missed": result.slo_missed,
        "unserved": result.unserved,
        "moved": round(result.moved, 4),
        "reversals": result.reversals,
        "residency_breaches": result.residency_breaches,
        "above_clairvoyant": None if above is None else round(above, 5),
        "requests": result.requests,
        "interrupted": result.interrupted,
        "failovers": result.failovers,
        "tokens": result.tokens,
        "ttft_seconds": {"p50": result.ttft_p50, "p95": result.ttft_p95, "p99": result.ttft_p99},
        "served": dict(sorted(result.served.items())),
        "by_minute": {
            "seconds": BUCKET,
            "cost_usd": [round(usd, 6) for usd in result.cost_by_bucket],
            "slo_missed": list(result.missed_by_bucket),
            "served": {cluster: list(counts) for cluster, counts in sorted(result.served_by_bucket.items())},
        },
    }
