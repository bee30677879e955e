"""Reads shares, outcomes, gaps and prices off a solved program."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstock_policies.engine.optimum.columns import TIE
from penstock_policies.engine.optimum.formulate import QUEUE, Formulation, Level
from penstock_policies.engine.optimum.refuge import Refuges, Shortfall
from penstock_policies.engine.optimum.simplex import Floats, Optimum, Program
from penstock_policies.engine.optimum.survival import Cut
from penstock_policies.engine.plan import Outcome, RowPlan
from penstock_policies.policyset import RowKey

_DECIMALS = 9
"""Of a share: finer than any weight, coarser than the solver's tolerance."""
_OVERFLOW = 1e-6
"""Of what a cluster carries: less is the solver's rounding, not overload."""
_BOWED = 1e-6
"""Of a row: less is rounding."""
_NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Answer:
    """One program's answer, before it is put together with others."""

    plans: dict[RowKey, RowPlan]
    overload: dict[str, float]
    uncarried: dict[str, float]
    """Cluster to slots that the others are short of after its loss."""
    slot_merit: dict[str, float]
    slot_price: dict[str, float]
    """Cluster to merit of the next slot filled there, queues and the worth of what must leave for it included."""
    budget_merit: tuple[float, ...]
    objective: float
    """Merit a second, moves and queues included."""


def read(formulation: Formulation, program: Program, optimum: Optimum, refuges: Refuges | None = None) -> Answer:
    """Read the answer off. ``program`` is the one of the formulation's that was solved."""
    overload = _overload(formulation, optimum.values)
    shares = _shares(formulation, optimum.values)
    gaps = _gaps(formulation, program, optimum)
    bowed = _bowed(formulation, optimum.values)
    uncarried, missing = _uncarried(refuges.shortfalls(optimum.values) if refuges is not None else ())
    plans: dict[RowKey, RowPlan] = {}
    for number, group in enumerate(formulation.groups):
        row = list(zip(group.clusters, shares[number], gaps[number], strict=True))
        over = bool(overload) and any(share > 0 and name in overload for name, share, _ in row)
        outcome = Outcome.OVERLOADED if over else Outcome.PLANNED
        unused = {name: gap for name, share, gap in row if share <= 0 and gap < _NEVER}
        wanted = {name: share for name, share, _ in row}
        unsafe = {lost: uncarried[lost] for lost in missing.get(number, ()) if wanted[lost] > 0}
        plan = RowPlan(wanted, outcome, unused, (*group.bowed, *bowed.get(number, ())), unsafe)
        plans.update(dict.fromkeys(group.keys, plan))
    return Answer(
        plans=plans,
        overload=overload,
        uncarried=uncarried,
        slot_merit=_slot_merit(formulation, program, optimum, refuges.cuts if refuges is not None else ()),
        slot_price={
            name: max(0.0, -float(optimum.duals[formulation.load_row + number]))
            for number, name in enumerate(formulation.clusters)
        },
        budget_merit=tuple(max(0.0, -float(optimum.duals[row])) for row, _ in formulation.budgets),
        objective=_objective(formulation, optimum.values),
    )


def _objective(formulation: Formulation, values: Floats) -> float:
    placed = formulation.placed
    ties = TIE * float(placed.position @ values[: len(placed.position)])
    return round(float(formulation.costs[Level.MERIT] @ values) - ties, _DECIMALS)


def _shares(formulation: Formulation, values: Floats) -> list[list[float]]:
    placed = formulation.placed
    first: list[int] = placed.first_pair.tolist()
    totals = np.bincount(placed.pair, weights=values[: len(placed.pair)], minlength=int(first[-1]))
    for offset, bundle in enumerate(placed.bundles):
        amount = values[formulation.first_bundle + offset]
        for at, part in bundle.parts:
            totals[first[bundle.group] + at] += part * amount
    exact = totals / np.repeat(np.asarray(formulation.demand), np.diff(first))
    flat: list[float] = np.maximum(0.0, np.round(exact, _DECIMALS)).tolist()
    return [_whole(flat[first[number] : first[number + 1]]) for number in range(len(formulation.groups))]


def _whole(shares: list[float]) -> list[float]:
    """Let the largest of the rounded shares take what rounding has left."""
    whole = math.fsum(shares)
    if whole != 1.0:
        at = shares.index(max(shares))
        shares[at] = round(shares[at] + 1.0 - whole, _DECIMALS)
    return shares


def _gaps(formulation: Formulation, program: Program, optimum: Optimum) -> list[list[float]]:
    """Give every pair's reduced cost; infinite where something else than merit decides whether it is used."""
    placed = formulation.placed
    columns = len(placed.pair)
    merit_decides = (program.upper[:columns] > program.lower[:columns]) & ~optimum.fixed[:columns]
    least = np.full(int(placed.first_pair[-1]), _NEVER)
    np.minimum.at(least, placed.pair[merit_decides], optimum.reduced[:columns][merit_decides])
    first: list[int] = placed.first_pair.tolist()
    for number in {bundle.group for bundle in placed.bundles}:
        least[[first[number] + at for at in formulation.groups[number].held]] = _NEVER
    flat: list[float] = np.round(np.maximum(0.0, least), _DECIMALS).tolist()
    return [flat[first[number] : first[number + 1]] for number in range(len(formulation.groups))]


def _overload(formulation: Formulation, values: Floats) -> dict[str, float]:
    overload: dict[str, float] = {}
    for number, name in enumerate(formulation.clusters):
        beyond = float(values[list(formulation.beyond[number])].sum())
        load = beyond + float(values[formulation.queues[number]].sum())
        if beyond > _OVERFLOW * max(1.0, load):
            overload[name] = round(beyond, _DECIMALS)
    return overload


def _bowed(formulation: Formulation, values: Floats) -> dict[int, tuple[str, ...]]:
    bowed: dict[int, tuple[str, ...]] = {}
    for group, why, columns in formulation.bounds:
        if sum(float(values[column]) for column in columns) > _BOWED * formulation.demand[group]:
            bowed[group] = (*bowed.get(group, ()), why)
    return bowed


def _uncarried(
    shortfalls: Sequence[Shortfall],
) -> tuple[dict[str, float], dict[int, list[str]]]:
    """Give the slots that are missing after each loss, and for each group the losses after which it misses some."""
    uncarried: dict[str, float] = {}
    missing: dict[int, list[str]] = {}
    for shortfall in shortfalls:
        loss = shortfall.cut.loss
        slots = shortfall.slots + float(shortfall.stranded[loss.helpless].sum())
        if slots > _OVERFLOW * max(1.0, float(shortfall.stranded.sum())):
            uncarried[loss.lost] = round(slots, _DECIMALS)
            contending = np.append(shortfall.cut.charged() > 0, False) & (shortfall.slots > 0)
            for number in np.flatnonzero(loss.helpless | contending[loss.lot]).tolist():
                missing.setdefault(number, []).append(loss.lost)
    return uncarried, missing


def _slot_merit(formulation: Formulation, program: Program, optimum: Optimum, cuts: Sequence[Cut]) -> dict[str, float]:
    """Give what one more slot would save where the last segment is full.

    It widens all segments by their parts, and what may take refuge there after a loss.
    """
    found: dict[str, float] = {}
    refuge = dict.fromkeys(formulation.clusters, 0.0)
    for number, cut in enumerate(cuts, len(optimum.duals) - len(cuts)):
        for name, price in zip(cut.loss.refuges, cut.prices.tolist(), strict=True):
            refuge[name] += price * max(0.0, -float(optimum.duals[number]))
    for number, name in enumerate(formulation.clusters):
        last = formulation.queues[number][-1]
        full = optimum.values[last] >= program.upper[last] * (1 - _OVERFLOW)
        saved = sum(
            part * max(0.0, -float(optimum.reduced[column]))
            for column, (part, _) in zip(formulation.queues[number], QUEUE, strict=True)
        )
        found[name] = round(saved + refuge[name], 12) if full else 0.0
    return found
