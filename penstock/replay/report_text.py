"""The report of a replay for people at a terminal: one table, and how far from the optimum in words."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.replay.faults import described
from penstock.replay.results import BASELINES, Result, above_optimum
from penstock.replay.scenario import Scenario

_MUCH: Final = 1000.0
"""USD above which nobody reads hundredths of a cent."""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of every strategy."""

    heading: str
    """Ends in ``#`` where it is a figure."""
    meaning: str
    """For whoever reads the table, in one sentence."""
    cell: Callable[[Mapping[str, Result], str], str]
    narrow: bool = True
    """Whether it stands in a terminal of 80 columns too."""


def _above(results: Mapping[str, Result], name: str) -> str:
    above = above_optimum(results, name)
    return "-" if above is None else f"{above:+.1%}"


def _usd(value: float) -> str:
    return f"{value:.4f}" if value < _MUCH else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


COLUMNS = (
    Column("strategy", "who decided where requests go", lambda _, name: name.replace("_", " ")),
    Column(
        "USD#",
        "marginal price times tokens, egress included, of what was served",
        lambda results, name: _usd(results[name].cost_usd),
    ),
    Column(
        "vs optimum#",
        "its cost above the clairvoyant's; '-' where they did not serve the same, as what is not served costs nothing. "
        "A negative figure beside many SLO misses means clusters filled beyond what the policy plans",
        _above,
    ),
    Column(
        "SLO missed#",
        "requests whose first token came later than their policy's slo.ttftP95, or never",
        lambda results, name: str(results[name].slo_missed),
    ),
    Column("unserved#", "requests that got no answer at all", lambda results, name: str(results[name].unserved)),
    Column(
        "cut off#",
        "answers that an outage broke off after their first token",
        lambda results, name: str(results[name].interrupted),
        narrow=False,
    ),
    Column(
        "TTFT p95#",
        "seconds to the first token, round trip included, that 95 of 100 served requests stayed under",
        lambda results, name: _seconds(results[name].ttft_p95),
        narrow=False,
    ),
    Column(
        "p99#",
        "the same of 99 in 100",
        lambda results, name: _seconds(results[name].ttft_p99),
        narrow=False,
    ),
    Column(
        "moved#",
        "how often all traffic has changed its cluster: the sum of all changes of weights, by each row's part of the "
        "traffic; 1.00 is one full swing",
        lambda results, name: f"{results[name].moved:.1f}",
    ),
    Column(
        "reversals#",
        "how often a cluster's share of a row turned from rising to falling or back by a hundredth or more, the small "
        "steps that follow the load included. The policy's limits.reversals is another thing: it counts turns within "
        "ten minutes made for reasons that can wait, such as price, and holds back only those",
        lambda results, name: str(results[name].reversals),
        narrow=False,
    ),
    Column(
        "breaches#",
        "requests tried at a cluster that residency forbids; anything but 0 is a defect",
        lambda results, name: str(results[name].residency_breaches),
    ),
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


def table(results: Mapping[str, Result], *, narrow: bool = False) -> tuple[list[str], list[list[str]]]:
    """Give headings and rows; ``narrow`` for 80 columns."""
    columns = [column for column in COLUMNS if column.narrow or not narrow]
    return [column.heading for column in columns], [[c.cell(results, name) for c in columns] for name in results]


def conclusions(results: Mapping[str, Result]) -> Iterator[str]:
    """Say what the table means for Penstock, whichever way it went."""
    ours = results.get("penstock")
    if ours is None:
        return
    best = results.get("clairvoyant")
    if best is not None:
        yield _against_the_optimum(ours, best, above_optimum(results, "penstock"))
    rivals = [results[name] for name in BASELINES if name in results]
    if rivals:
        yield _against_the_rivals(ours, min(rivals, key=lambda rival: (rival.slo_missed, rival.cost_usd)))


def _against_the_optimum(ours: Result, best: Result, above: float | None) -> str:
    if above is None:
        return (
            "penstock's cost cannot be held against the clairvoyant optimum: they did not serve the same "
            f"({ours.unserved} and {best.unserved} requests unserved, {ours.tokens} and {best.tokens} tokens)"
        )
    if above >= 0:
        return (
            f"penstock costs {above:.1%} more than the clairvoyant optimum, which misses the SLO for "
            f"{_count(best.slo_missed, 'request')}"
        )
    return (
        f"penstock costs {-above:.1%} less than the clairvoyant optimum, which keeps clusters as empty as the policy "
        f"plans them: {ours.slo_missed} SLO misses against {best.slo_missed}"
    )


def _against_the_rivals(ours: Result, fewest: Result) -> str:
    name, count = fewest.strategy.replace("_", " "), fewest.slo_missed
    rival = f"the best baseline ({name}, at {fewest.cost_usd:.4f} USD)"
    if ours.slo_missed == count:
        return (
            f"it missed the SLO for no request, and so did {rival}"
            if count == 0
            else f"it missed the SLO for {_count(count, 'request')}, as many as {rival}"
        )
    word = "fewer" if ours.slo_missed < count else "more"
    return f"it missed the SLO for {_count(ours.slo_missed, 'request')}, {word} than {rival}: {count}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
