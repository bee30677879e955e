"""Why a row's weights are what they are, in one sentence of plain words with the numbers that made it so."""

from collections.abc import Mapping

from penstock_policies.decision import Move, Note
from penstock_policies.engine.plan import Outcome
from penstock_policies.engine.prices import ClusterPrice

_MOVES = {
    Move.LOAD: "to match load",
    Move.RECOVERY: "back to a recovering cluster",
    Move.COST: "to save cost",
}


def explain(
    *,
    outcome: Outcome,
    weights: Mapping[str, int],
    target: Mapping[str, float],
    demand: float,
    on_prem: frozenset[str],
    prices: Mapping[str, ClusterPrice],
    full: Mapping[str, float],
    excluded: Mapping[str, str],
    move: Move,
    notes: tuple[Note, ...],
    frozen: str,
) -> str:
    """Write the sentence. ``full`` holds the clusters without room, with what they are planned to carry."""
    if outcome is Outcome.REFUSED:
        return f"Refused: {_listed([f'{name} {why}' for name, why in sorted(excluded.items())])}."
    shares = {name: weight / 10_000 for name, weight in weights.items()}
    carried = [
        f"{name} {share:.1%} ({_merit(name, on_prem, prices, full)})"
        for name, share in _largest_first(shares)
        if share > 0
    ]
    sentence = f"{demand:.1f} requests/s: {_listed(carried)}"
    if outcome is Outcome.HELD_ALL_DOWN:
        return f"{sentence}; every eligible cluster is down, so the weights are held."
    if outcome is Outcome.OVERLOADED:
        sentence += "; demand exceeds the planned capacity, so the excess is spread in proportion to it"
    if frozen:
        return f"{sentence}; held because {frozen}."
    if move is not Move.NONE:
        wanted = [f"{name} {share:.1%}" for name, share in _largest_first(target) if share >= 0.0005]
        sentence += f"; on the way to {_listed(wanted)} {_MOVES[move]}"
        waits = [note for note in notes if "waited" in note.fields]
        sentence += f", next step {waits[0].fields['dwell']:g} s after the last" if waits else ""
    return f"{sentence}."


def _merit(name: str, on_prem: frozenset[str], prices: Mapping[str, ClusterPrice], full: Mapping[str, float]) -> str:
    facts = ["on-prem"] if name in on_prem else []
    facts.append(f"{prices[name].usd_per_million_tokens:.4g} USD/Mtok")
    if name in full:
        facts.append(f"full by plan at {full[name]:.0f} in flight")
    return ", ".join(facts)


def _largest_first(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda item: (-item[1], item[0]))


def _listed(parts: list[str]) -> str:
    return ", ".join(parts) if parts else "no cluster"
