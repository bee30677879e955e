"""Demand that somebody assumes where none is measured: so many requests a second of a policy.

The engine believes what it remembers where no edge reports load. So an assumption is put into its memory, and the
decision it then makes under the policy before is the one in force, from which the edit takes its steps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from penstock.plan.inputs import Inputs
from penstock_policies.engine import decide
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.serial import row_name
from penstock_policies.suggestions import closest


class AssumptionError(ValueError):
    """An assumption that says nothing of these policies."""


def parse_assumptions(texts: Iterable[str]) -> dict[str, float]:
    """Read ``POLICY=REQUESTS_A_SECOND``.

    Raises:
        AssumptionError: one is not of that form, or there are two of one policy.

    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, figure = text.partition("=")
        try:
            rate = float(figure)
        except ValueError as error:
            raise AssumptionError(f"{text!r} is not POLICY=REQUESTS_A_SECOND, such as chat=20") from error
        if not 0 <= rate < 1e9:
            raise AssumptionError(f"{text!r}: expected from 0 to a billion requests a second")
        if name in found:
            raise AssumptionError(f"{name} is given twice")
        found[name] = rate
    return found


def with_demand(inputs: Inputs, base: PolicySet, candidate: PolicySet, rates: Mapping[str, float]) -> Inputs:
    """Assume demand, spread alike over the rows of each policy; ``inputs`` must hold no load.

    Raises:
        AssumptionError: neither policy set has such a policy.

    """
    known = {*base.policies, *candidate.policies}
    for name in rates:
        if name not in known:
            meant = closest(name, known)
            raise AssumptionError(f"no policy {name!r}" + (f"; did you mean {meant}?" if meant else ""))
    if not rates:
        return inputs
    rows = {key for policy in (base, candidate) for key in policy.rows()}
    demand = {
        row_name(key): rate / len(of_policy)
        for name, rate in rates.items()
        for of_policy in [_carrying(rows, name)]
        for key in of_policy
    }
    idle = decide(base, inputs.observations, inputs.overrides, None, inputs.at)
    # Without its rows, so that no limit keeps the next one from where this demand leads.
    busy = replace(idle, rows={}, memory=replace(idle.memory, demand=demand))
    return replace(inputs, decision=decide(base, inputs.observations, inputs.overrides, busy, inputs.at))


def _carrying(rows: Iterable[RowKey], policy: str) -> list[RowKey]:
    """Pick a policy's rows that people mean by its traffic: those of named models, where it has any."""
    own = sorted(key for key in rows if key.policy == policy)
    return [key for key in own if key.model != ANY_MODEL] or own
