"""``--forbid``: what an edit must not do to pass, for pipelines that merge without a person's eyes."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.plan.comparison import Plan
from penstock.plan.documents import Change
from penstock.plan.effects import PolicyFigures, newly_overrun
from penstock_policies.quantities import parse_percentage
from penstock_policies.serial import row_name
from penstock_policies.suggestions import closest

_ROUNDING: Final = 1e-6
"""A part of the requests, or of a sum of money, not worth a red build."""
_ANY_PERCENTAGE: Final = re.compile(r"[0-9]+(\.[0-9]+)?%")
"""Money may rise by more than 100 %; traffic cannot move by more."""


class ForbidError(ValueError):
    """A rule that nobody knows, or without the limit it needs."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as written, such as ``max-shift=20%``."""

    name: str
    limit: float
    """A part (0 to 1, or more for money); 0 for rules that take none."""
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a rule. Broken when there is any ``because``."""

    rule: Rule
    because: tuple[str, ...]


_Check = Callable[[Plan, float], Iterable[str]]


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Read rules, several in one text separated by commas.

    Raises:
        ForbidError: one is unknown, or its limit is missing, superfluous or no percentage; or a text holds no rule.

    """
    return tuple(rule for text in texts for rule in _listed(text))


def judge(plan: Plan, rules: Iterable[Rule]) -> tuple[Verdict, ...]:
    """Hold a plan against the rules, in their order."""
    return tuple(Verdict(rule, tuple(_CHECKS[rule.name](plan, rule.limit))) for rule in rules)


def _listed(text: str) -> Iterator[Rule]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        # An unset variable of a pipeline must not pass for a plan that broke no rule.
        raise ForbidError(f"no rule in {text!r}; there are {', '.join(_CHECKS)}")
    for part in parts:
        yield _rule(part)


def _rule(text: str) -> Rule:
    name, equals, limit = text.partition("=")
    if name not in _CHECKS:
        meant = closest(name, _CHECKS)
        hint = f"; did you mean {meant}?" if meant else ""
        raise ForbidError(f"no rule {name!r}; there are {', '.join(_CHECKS)}{hint}")
    if name not in _LIMITED:
        if equals:
            raise ForbidError(f"{name} takes no limit")
        return Rule(name, 0.0, text)
    if not equals:
        raise ForbidError(f"{name} needs a limit, such as {name}=20%")
    return Rule(name, _part(name, limit), text)


def _part(name: str, limit: str) -> float:
    written = limit.strip().removeprefix("+")
    if name == "cost":
        if not _ANY_PERCENTAGE.fullmatch(written):
            raise ForbidError(f"cost={limit}: expected a percentage such as cost=10%; it may exceed 100%")
        return float(written[:-1]) / 100
    try:
        return parse_percentage(written)
    except ValueError as error:
        raise ForbidError(f"{name}={limit}: {error}") from error


def _residency(plan: Plan, _: float) -> Iterable[str]:
    for loosened in plan.residency.loosened:
        yield f"{loosened.data_class} data may newly go to {loosened.subject}: {loosened.why}"


def _reach(plan: Plan, _: float) -> Iterable[str]:
    for reach in plan.residency.sensitive_gained:
        place = f"{reach.endpoint} of {reach.cluster}" if reach.endpoint else reach.cluster
        yield f"{reach.data_class} data newly reaches {place}"


def _drain(plan: Plan, _: float) -> Iterable[str]:
    for each in plan.drained:
        yield each.sentence


def _refused(plan: Plan, _: float) -> Iterable[str]:
    for row in plan.rows:
        if row.refused:
            what = "find no route" if row.change is Change.REMOVED else "be refused"
            yield f"requests of {row_name(row.key)} would {what}"


def _max_shift(plan: Plan, limit: float) -> Iterable[str]:
    for row in plan.rows:
        if row.shift > limit + _ROUNDING:
            yield f"{row.shift:.1%} of {row_name(row.key)} would move"


def _slo(plan: Plan, _: float) -> Iterable[str]:
    for name, after in plan.after.policies.items():
        before = plan.before.policies.get(name)
        at_risk = 0.0 if before is None else before.at_risk
        if after.at_risk > at_risk + _ROUNDING:
            yield f"{after.at_risk:.1%} of the requests of {name} at risk of missing their target, {at_risk:.1%} now"


def _cost(plan: Plan, limit: float) -> Iterable[str]:
    before, after = plan.before, plan.after
    if before.requests > 0 or after.requests > 0:
        rise = _rise(before.usd_per_hour, after.usd_per_hour)
        if rise > limit + _ROUNDING:
            yield f"{before.usd_per_hour:.2f} USD/h would become {after.usd_per_hour:.2f} USD/h"
        return
    # Nothing is measured, so there is no bill; there are prices.
    for name in sorted(before.policies.keys() & after.policies.keys()):
        yield from _dearer(name, before.policies, after.policies, limit)


def _dearer(
    name: str, before: Mapping[str, PolicyFigures], after: Mapping[str, PolicyFigures], limit: float
) -> Iterable[str]:
    old, new = before[name].usd_per_million_tokens, after[name].usd_per_million_tokens
    if _rise(old, new) > limit + _ROUNDING:
        yield f"{name}: {old:.4g} USD/Mtok would become {new:.4g} USD/Mtok"


def _rise(before: float, after: float) -> float:
    if after <= before:
        return 0.0
    return after / before - 1 if before > 0 else math.inf


def _budget(plan: Plan, _: float) -> Iterable[str]:
    for name, after in plan.after.budgets.items():
        before = plan.before.budgets.get(name)
        if after.exhausted:
            if before is None or not before.exhausted:
                yield f"budget {name} would be exhausted at once: {after.spent:.2f} of {after.amount:.2f} USD are spent"
        elif newly_overrun(before, after):
            yield f"budget {name}: {after.forecast:.2f} of {after.amount:.2f} USD would be spent by its period's end"


def _nacked(plan: Plan, _: float) -> Iterable[str]:
    for group in plan.groups:
        if group.envoys is not None and group.envoys.refusing:
            yield f"{group.envoys.refusing} Envoys of {group.change.group} refuse their configuration now"


_CHECKS: Final[Mapping[str, _Check]] = {
    "residency": _residency,
    "reach": _reach,
    "drain": _drain,
    "refused": _refused,
    "max-shift": _max_shift,
    "slo": _slo,
    "cost": _cost,
    "budget": _budget,
    "nacked": _nacked,
}
_LIMITED: Final = frozenset({"max-shift", "cost"})
