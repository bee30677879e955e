"""What a plan says of money and carbon: the bill, and how every budget it touches would stand."""

from collections.abc import Iterator

from penstock.plan.comparison import Plan
from penstock.plan.effects import LEAST_USD, BudgetFigures, newly_overrun
from penstock.plan.lines import ARROW, Line, Mark


def money(plan: Plan) -> Iterator[Line]:
    """Tell what requests, clusters and budgets would come to."""
    before, after = plan.before, plan.after
    if before.requests > 0 or after.requests > 0:
        rise = f" ({after.usd_per_hour / before.usd_per_hour - 1:+.1%})" if before.usd_per_hour > 0 else ""
        figures = f"{before.usd_per_hour:.2f} {ARROW} {after.usd_per_hour:.2f} USD/h{rise}"
        yield Line(f"requests cost {figures} at marginal prices")
    if before.grams_per_hour > 0 or after.grams_per_hour > 0:
        figures = f"{before.grams_per_hour:,.0f} {ARROW} {after.grams_per_hour:,.0f} g/h"
        yield Line(f"requests emit {figures} of CO2 equivalent")
    if before.amortized_usd_per_hour != after.amortized_usd_per_hour:
        figures = f"{before.amortized_usd_per_hour:.2f} {ARROW} {after.amortized_usd_per_hour:.2f} USD/h"
        yield Line(f"clusters cost {figures} whether used or not")
    for name in sorted({*before.budgets, *after.budgets}):
        yield from _budget(name, before.budgets.get(name), after.budgets.get(name), edited=bool(plan.documents))


def _budget(name: str, old: BudgetFigures | None, new: BudgetFigures | None, *, edited: bool) -> Iterator[Line]:
    if new is None:
        yield Line(f"budget {name} would be gone", Mark.REMOVED)
        return
    if new.exhausted and not (old is not None and old.exhausted):
        spent = f"{new.spent:.2f} of {new.amount:.2f} USD are spent"
        yield Line(f"budget {name} would be exhausted at once: {spent}", Mark.ALARM)
    if _shown(old) != _shown(new):
        spending, pace, forecast = (
            _change(None if old is None else getattr(old, each), getattr(new, each))
            for each in ("usd_per_hour", "pace", "forecast")
        )
        amount = _change(None if old is None else old.amount, new.amount)
        told = f"forecast {forecast} of {amount} USD; {spending} USD/h, where a pace of {pace} USD/h lasts to its end"
        overrun = not new.exhausted and newly_overrun(old, new)
        yield Line(f"budget {name}: {told}", Mark.ALARM if overrun else Mark.CHANGED)
    if edited and new.holds_back and not new.exhausted:
        yield Line(f"budget {name} holds changes back: {_why_held(new)}", Mark.ALARM)


def _why_held(budget: BudgetFigures) -> str:
    if budget.price >= LEAST_USD:
        return f"one more dollar of it would save {budget.price:.2f} USD elsewhere"
    return "it is heading beyond its pace, so traffic will leave its clusters little by little"


def _shown(budget: BudgetFigures | None) -> tuple[str, ...]:
    if budget is None:
        return ()
    return tuple(f"{each:.2f}" for each in (budget.amount, budget.usd_per_hour, budget.pace, budget.forecast))


def _change(old: float | None, new: float) -> str:
    before = "-" if old is None else f"{old:.2f}"
    return before if before == f"{new:.2f}" else f"{before} {ARROW} {new:.2f}"
