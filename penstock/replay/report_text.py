"""The report of a replay for people at a terminal: one table, and how far from the optimum in words."""

from collections.abc import Iterator, Mapping

from penstock.replay.faults import described
from penstock.replay.results import BASELINES, Result, above_optimum
from penstock.replay.scenario import Scenario

COLUMNS = (
    "strategy",
    "USD#",
    "above optimum#",
    "SLO missed#",
    "unserved#",
    "cut off#",
    "TTFT p95#",
    "p99#",
    "moved#",
    "reversals#",
    "breaches#",
)


def headline(scenario: Scenario) -> str:
    """Say what was replayed."""
    count = sum(1 for at in scenario.at if at >= 0)
    rate = count / scenario.duration if scenario.duration > 0 else 0.0
    return (
        f"{scenario.name}: {count} requests in {scenario.duration / 60:.0f} min ({rate:.1f} a second), "
        f"decided every {scenario.tick:g} s over {len(scenario.policy.clusters)} clusters"
    )


def fault_lines(scenario: Scenario) -> list[str]:
    """Say what went wrong, a line each."""
    return [described(fault) for fault in scenario.faults]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Give the rows under :data:`COLUMNS`."""
    return [_row(results, name) for name in results]


def _row(results: Mapping[str, Result], name: str) -> tuple[str, ...]:
    result = results[name]
    above = above_optimum(results, name)
    return (
        name.replace("_", " "),
        f"{result.cost_usd:.4f}",
        "-" if above is None else f"{above:+.1%}",
        str(result.slo_missed),
        str(result.unserved),
        str(result.interrupted),
        _seconds(result.ttft_p95),
        _seconds(result.ttft_p99),
        f"{result.moved:.2f}",
        str(result.reversals),
        str(result.residency_breaches),
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def conclusions(results: Mapping[str, Result]) -> Iterator[str]:
    """Say what the table means for Penstock, whichever way it went."""
    ours = results.get("penstock")
    if ours is None:
        return
    above = above_optimum(results, "penstock")
    if above is not None:
        yield f"penstock costs {abs(above):.1%} {'more' if above >= 0 else 'less'} than the clairvoyant optimum"
    rivals = [results[name] for name in BASELINES if name in results]
    if rivals:
        fewest = min(rivals, key=lambda rival: rival.slo_missed)
        name = fewest.strategy.replace("_", " ")
        word = "fewer" if ours.slo_missed < fewest.slo_missed else "not fewer"
        yield (
            f"it missed the SLO for {ours.slo_missed} requests, {word} than the best baseline ({name}, "
            f"{fewest.slo_missed} at {fewest.cost_usd:.4f} USD)"
        )
