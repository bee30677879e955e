"""Small problems with every feature at once, held against a naive statement of them: each level as low as it can be.

Levels are compared in their order: a plan that is no worse on all of them is the best there is.
"""

from dataclasses import replace

import pytest

from penstock_policies.engine.optimum import solve
from penstock_policies.engine.plan import Problem, RowPlan, Solution
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass
from tests.engine import naive_optimum
from tests.engine.plan_everything import everything

_CLOSE = 2e-4
"""Of a level: the tie-break between equals is below, what a problem's figures tell apart above."""
_BATCHES, _BATCH = 10, 50


def _kept(case: Problem, found: Solution) -> dict[RowKey, RowPlan]:
    """Give the plans that budgets leave alone: restricted rows stay where they are best without."""
    free = solve(replace(case, budgets=()))
    if naive_optimum.levels(case, free.plans)["budget"] <= _CLOSE / 100:
        return {}
    counted = {key for budget in case.budgets for key in budget.members}
    kept = [row.key for row in case.rows if row.data_class is DataClass.RESTRICTED and row.key in counted]
    assert all(found.plans[key].shares == free.plans[key].shares for key in kept)
    return {key: free.plans[key] for key in kept}


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_no_level_could_be_lower_without_one_above_it_being_higher(batch: int) -> None:
    for seed in range(batch * _BATCH, (batch + 1) * _BATCH):
        case = everything(seed)
        found = solve(case)
        least = naive_optimum.levels(case, _kept(case, found))
        mine = naive_optimum.levels(case, found.plans)
        assert mine == pytest.approx(least, abs=_CLOSE, rel=_CLOSE), seed


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_what_a_plan_could_not_keep_is_told_in_full(batch: int) -> None:
    for seed in range(batch * _BATCH, (batch + 1) * _BATCH, 5):
        case = everything(seed)
        found = solve(case)
        mine = naive_optimum.levels(case, found.plans)
        helpless = naive_optimum.helpless(case, found.plans)
        assert sum(found.uncarried.values()) == pytest.approx(mine["survival"] + helpless, abs=_CLOSE, rel=_CLOSE), seed
        assert bool(found.overload) is (mine["overload"] > _CLOSE), seed
