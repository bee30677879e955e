"""Two placements beside one another: as things are, and as somebody supposes. For programs and for people."""

from collections.abc import Iterator, Mapping, Sequence

from penstock.admin.rows import row_title
from penstock_policies.engine.plan import Outcome
from penstock_policies.engine.suppositions import Supposition
from penstock_policies.engine.whatif import Placement, RowPlacement
from penstock_policies.policyset import RowKey

_SAME_SHARE = 0.0005
"""Below this two shares are the same figure, rounded."""
_SAME_LOAD = 0.5
"""Requests in flight."""
_OVER = 1.0 + 1e-6
_SAME_USD = 0.005

Item = dict[str, object]


def supposed_view(suppositions: Sequence[Supposition], policy: str, before: Placement, after: Placement) -> Item:
    """Return what would be different; all rows of ``policy``, and of other policies those that change."""
    rows = [key for key in sorted(after.rows) if key.policy == policy or _moves(before.rows[key], after.rows[key])]
    return {
        "suppositions": [supposition.text for supposition in suppositions],
        "usdPerHour": _pair(before.usd_per_hour, after.usd_per_hour),
        "solver": _pair(before.solver, after.solver),
        "rows": [_row(key, before.rows[key], after.rows[key]) for key in rows],
        "clusters": [
            {
                "cluster": name,
                "inFlightByPlan": _pair(before.load[name], after.load[name]),
                "plannedUpTo": _pair(before.capacity[name], after.capacity[name]),
            }
            for name in sorted(after.load)
        ],
        "overBudgetUsdPerHour": _pair(before.over_budget, after.over_budget),
        "text": "".join(f"{line}\n" for line in _lines(suppositions, rows, before, after)),
    }


def _row(key: RowKey, before: RowPlacement, after: RowPlacement) -> Item:
    return {
        "policy": key.policy,
        "region": key.region,
        "model": key.model,
        "demand": _pair(before.demand, after.demand),
        "shares": _pair(before.shares, after.shares),
        "outcome": _pair(before.outcome, after.outcome),
        "usdPerHour": _pair(before.usd_per_hour, after.usd_per_hour),
        "shareMissingSlo": _pair(before.missing_slo, after.missing_slo),
        "bowed": _pair(before.bowed, after.bowed),
    }


def _pair(before: object, after: object) -> Item:
    return {"before": before, "after": after}


def _moves(before: RowPlacement, after: RowPlacement) -> bool:
    names = before.shares.keys() | after.shares.keys()
    moved = any(abs(before.shares.get(name, 0.0) - after.shares.get(name, 0.0)) > _SAME_SHARE for name in names)
    return moved or before.outcome is not after.outcome


def _lines(
    suppositions: Sequence[Supposition], rows: Sequence[RowKey], before: Placement, after: Placement
) -> Iterator[str]:
    yield f"What if {' and '.join(supposition.text for supposition in suppositions)}:"
    moving = [key for key in rows if _moves(before.rows[key], after.rows[key])]
    difference = after.usd_per_hour - before.usd_per_hour
    if not moving and abs(difference) < _SAME_USD:
        yield "  nothing would change"
        return
    unserved = [*_unserved(rows, before, after)]
    yield from unserved
    saved = "; no saving, as not all of it is served" if unserved and difference < 0 else ""
    yield f"  cost {before.usd_per_hour:.2f} -> {after.usd_per_hour:.2f} USD/h ({difference:+.2f}{saved})"
    for key in moving:
        yield f"  {key.policy}, {row_title(key)}: {_shares_line(before.rows[key], after.rows[key])}"
    yield from _load_lines(before, after)
    for name, usd in after.over_budget.items():
        if usd > max(_SAME_USD, before.over_budget.get(name, 0.0)):
            yield f"  budget {name}: {usd:.2f} USD/h more than it allows"
    if after.solver != "optimum":
        yield f"  worked out by the {after.solver}, as the optimum had no answer"
    yield "  These are the shares the plan would lead to; the limits decide how fast."


def _unserved(rows: Sequence[RowKey], before: Placement, after: Placement) -> Iterator[str]:
    """Tell what would not be served well, before any figure that looks like a gain for it."""
    for name, load in after.load.items():
        over = load - after.capacity[name]
        if load > after.capacity[name] * _OVER and over > before.load[name] - before.capacity[name] + _SAME_LOAD:
            yield f"  OVERLOADED: {name} would have {load:.0f} requests in flight, {over:.0f} more than planned for"
    lost = {Outcome.REFUSED: "REFUSED", Outcome.HELD_ALL_DOWN: "UNSERVED"}
    for key in rows:
        outcome = after.rows[key].outcome
        if outcome in lost and before.rows[key].outcome is not outcome:
            yield f"  {lost[outcome]}: {key.policy}, {row_title(key)}, {after.rows[key].demand:.1f} requests/s"


def _shares_line(before: RowPlacement, after: RowPlacement) -> str:
    if after.outcome is Outcome.REFUSED:
        return "refused, as no cluster may serve it"
    if after.outcome is Outcome.HELD_ALL_DOWN:
        return "nowhere to go, as every cluster that may serve it is down"
    moved = [
        f"{name} {before.shares.get(name, 0.0):.1%} -> {after.shares.get(name, 0.0):.1%}"
        for name in sorted(before.shares.keys() | after.shares.keys())
        if abs(before.shares.get(name, 0.0) - after.shares.get(name, 0.0)) > _SAME_SHARE
    ]
    line = ", ".join(moved) or "the same shares"
    if after.outcome is Outcome.OVERLOADED:
        line += "; more than the clusters are planned to carry"
    if after.missing_slo > before.missing_slo + _SAME_SHARE:
        line += f"; {after.missing_slo:.1%} of it to clusters that miss its SLO"
    for why in after.bowed:
        if why not in before.bowed:
            line += f"; {why} cannot be kept"
    return line


def _load_lines(before: Placement, after: Placement) -> Iterator[str]:
    for name, load in after.load.items():
        capacity: Mapping[str, float] = after.capacity
        if abs(load - before.load[name]) < _SAME_LOAD and abs(capacity[name] - before.capacity[name]) < _SAME_LOAD:
            continue
        over = ", OVERLOADED" if load > capacity[name] * _OVER else ""
        yield f"  {name}: {before.load[name]:.0f} -> {load:.0f} of {capacity[name]:.0f} in flight by plan{over}"
