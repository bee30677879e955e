"""Why a row's weights are what they are, in one sentence of plain words with the numbers that made it so."""

from collections.abc import Iterator, Mapping

from penstock_policies.decision import Move, Row
from penstock_policies.engine.plan import Outcome, RowPlan, RowProblem
from penstock_policies.engine.situation import Situation
from penstock_policies.words import Measure, Site

_MOVES = {
    Move.LOAD: "to match load",
    Move.RECOVERY: "back to a recovering cluster",
}
_MERITS = {
    Measure.COST: "to save cost",
    Measure.LATENCY: "to answer sooner",
    Measure.CARBON: "to save carbon",
    Measure.LOCALITY: "to stay nearer",
    Measure.SPREAD: "to spread by capacity",
}
_LEAST_SHARE = 0.0005
"""Below this a share reads as nothing."""
_LEAST_GAP = 0.005
"""USD a million tokens: less reads as nothing."""


def explain(
    row: Row,
    outcome: Outcome,
    problem: RowProblem,
    situation: Situation,
    full: frozenset[str],
    *,
    plan: RowPlan | None = None,
) -> str:
    """Write the sentence for a row that lacks only this. ``full`` names the clusters without room by plan."""
    if outcome is Outcome.REFUSED:
        return f"Refused: {_listed([f'{name} {why}' for name, why in sorted(row.excluded.items())])}."
    shares = {name: weight / 10_000 for name, weight in row.weights.items()}
    carried = [
        f"{name} {share:.1%} ({_merit(name, situation, full)})" for name, share in _largest_first(shares) if share > 0
    ]
    sentence = f"{problem.demand:.1f} requests/s: {_listed(carried)}"
    if outcome is Outcome.HELD_ALL_DOWN:
        return f"{sentence}; every eligible cluster is down, so the weights are held."
    if outcome is Outcome.OVERLOADED:
        sentence += "; demand exceeds the planned capacity, so the excess is spread in proportion to it"
    if frozen := situation.health.frozen_in(row.key.region):
        return f"{sentence}; held because {frozen}."
    return (
        "; ".join((sentence, *_yielding(row, problem, plan), *_moving(row, situation), *_next_best(row, situation)))
        + "."
    )


def _merit(name: str, situation: Situation, full: frozenset[str]) -> str:
    facts = ["on-prem"] if situation.policy.clusters[name].spec.site is Site.ON_PREM else []
    facts.append(f"{situation.prices.clusters[name].usd_per_million_tokens:.4g} USD/Mtok")
    if name in full:
        facts.append(f"full by plan at {situation.capacity[name]:.0f} in flight")
    return ", ".join(facts)


def _yielding(row: Row, problem: RowProblem, plan: RowPlan | None) -> Iterator[str]:
    """What the plan could not keep, so that requests are served all the same."""
    target = _largest_first(row.target) if problem.slow else ()
    slow = [f"{name} {share:.1%}" for name, share in target if _counts(share, name, problem)]
    if slow:
        yield f"{_listed(slow)} by plan though it misses the SLO, as nobody faster has room"
    for why in plan.bowed if plan is not None else ():
        yield f"{why} cannot be kept"
    for lost, slots in plan.uncarried.items() if plan is not None else ():
        yield f"loss of {lost} could not be carried: {_slots(slots)} short"


def _slots(slots: float) -> str:
    # Less than one is still too little, and "0 slots" would read as enough.
    whole = max(1, round(slots))
    return f"{whole} slot{'s' if whole > 1 else ''}"


def _counts(share: float, name: str, problem: RowProblem) -> bool:
    return share >= _LEAST_SHARE and name in problem.slow


def _moving(row: Row, situation: Situation) -> Iterator[str]:
    if row.move is Move.NONE:
        return
    wanted = [f"{name} {share:.1%}" for name, share in _largest_first(row.target) if share >= _LEAST_SHARE]
    waits = [note for note in row.notes if "waited" in note.fields]
    then = f", next step {waits[0].fields['dwell']:g} s after the last" if waits else ""
    yield f"on the way to {_listed(wanted)} {_why(row, situation)}{then}"


def _why(row: Row, situation: Situation) -> str:
    if row.move in _MOVES:
        return _MOVES[row.move]
    parts = situation.wishes[row.key.policy].objective.parts
    return _MERITS[next(iter(parts))] if len(parts) == 1 else "by its mix of objectives"


def _next_best(row: Row, situation: Situation) -> Iterator[str]:
    """The unused cluster that is nearest to being used, where the engine knows by how much."""
    prices = situation.prices.clusters
    near = [
        (gap, name)
        for name, gap in row.gaps.items()
        if _LEAST_GAP <= gap <= prices[name].usd_per_million_tokens and not row.weights.get(name)
    ]
    if near:
        gap, name = min(near)
        yield f"{name} would be used if it were {gap:.2f} USD/Mtok cheaper"


def _largest_first(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted([item for item in shares.items() if item[1] > 0], key=lambda item: (-item[1], item[0]))


def _listed(parts: list[str]) -> str:
    return ", ".join(parts) if parts else "no cluster"
