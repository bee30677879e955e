from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.plan.comparison import Plan, compare
from penstock.plan.effects import BudgetFigures, figures
from penstock.plan.forbid import judge, parse_rules
from penstock.plan.inputs import Inputs
from penstock.plan.outlook import outlook
from penstock.plan.report import headline, sections
from penstock_policies.observations import EndpointProbe, Load, Observations
from tests.plan.planning import DEAR, NOW, edited, plan_of, policies
from tests.policies.writing import UNHURRIED

POLICY = policies(DEAR)


def test_requests_to_a_cluster_too_slow_for_them_are_at_risk_however_idle_it_is() -> None:
    look = outlook(POLICY, Inputs(at=NOW))
    rows = tuple(
        replace(row, slow=frozenset({"onprem"}) if row.key.policy == "chat" else frozenset())
        for row in look.problem.rows
    )
    found = figures(replace(look, problem=replace(look.problem, rows=rows)))
    assert found.policies["chat"].at_risk == pytest.approx(1.0)
    assert found.policies["records"].at_risk == 0.0


def test_the_time_to_the_first_token_is_of_network_idle_cluster_and_queue() -> None:
    fast = edited(DEAR, ("capacity: {concurrency: 100}", "capacity: {concurrency: 100}\n  latency: {ttftP95: 200ms}"))
    idle = plan_of(text=fast, demand={"chat": 1.0}).after.policies["chat"].ttft_p95
    # 20 ms to another region of the area, and nobody waits.
    assert idle == pytest.approx(0.22)
    busy = plan_of(
        ("dataClass: public, clusters: [onprem, cloud]", "dataClass: public, clusters: [onprem]"),
        text=fast,
        demand={"chat": 99.0},
    )
    shared, crowded = busy.before.policies["chat"].ttft_p95, busy.after.policies["chat"].ttft_p95
    assert shared is not None
    assert crowded is not None
    assert 0.22 <= shared < crowded
    assert plan_of().after.policies["chat"].ttft_p95 is None


def test_a_budget_that_the_edit_exhausts_is_told_and_one_that_was_exhausted_before_is_not() -> None:
    plan = plan_of()
    spent, left = BudgetFigures(100.0, 120.0, exhausted=True), BudgetFigures(200.0, 120.0, exhausted=False)
    lowered = replace(
        plan,
        before=replace(plan.before, budgets={"month": left, "old": spent}),
        after=replace(plan.after, budgets={"month": spent, "old": spent}),
    )
    (verdict,) = judge(lowered, parse_rules(["budget"]))
    assert verdict.because == ("budget month would be exhausted at once: 120.00 of 100.00 USD are spent",)


BUDGET = """\
---
apiVersion: penstock/v1
kind: Budget
metadata: {name: purse}
spec: {amount: 400, per: day, scope: {site: cloud}}
"""
HOME_PRICE = ("usdPerMillionTokens: 0.1", "usdPerMillionTokens: 5.0")
# 10 requests a second of 1 200 tokens at 0.9 USD a million, over the 16 hours that the day has left.
DEMAND = {"chat": 10.0}
SPENDS = 10 * 1200 * 3600 * 0.9 / 1e6


def _lines(plan: Plan) -> list[str]:
    return [line.text for section in sections(plan, ()) for line in section.lines]


def test_a_budget_that_the_edit_touches_is_told_with_its_forecast_and_pace_before_and_after() -> None:
    plan = plan_of(HOME_PRICE, text=DEAR + BUDGET, demand=DEMAND)
    purse = plan.after.budgets["purse"]
    assert plan.before.budgets["purse"].forecast == 0.0
    assert purse.usd_per_hour == pytest.approx(SPENDS)
    assert purse.forecast == pytest.approx(SPENDS * 16)
    assert purse.pace == pytest.approx(400 / 16)
    told = "budget purse: forecast 0.00 -> 622.08 of 400.00 USD; 0.00 -> 38.88 USD/h, where a pace of 25.00 USD/h lasts"
    assert any(line.startswith(told) for line in _lines(plan))
    assert any(line.startswith("budget purse holds changes back: ") for line in _lines(plan))
    assert headline(plan).startswith("Alarms: onprem DRAINED; budget purse OVERRUN by forecast. Changes: ")
    (verdict,) = judge(plan, parse_rules(["budget"]))
    assert verdict.because == ("budget purse: 622.08 of 400.00 USD would be spent by its period's end",)


def test_a_budget_with_room_for_the_edit_is_told_and_breaks_no_rule() -> None:
    roomy = BUDGET.replace("amount: 400", "amount: 4000")
    plan = plan_of(HOME_PRICE, text=DEAR + roomy, demand=DEMAND)
    assert any("forecast 0.00 -> 622.08 of 4000.00 USD" in line for line in _lines(plan))
    assert not any("holds changes back" in line for line in _lines(plan))
    assert judge(plan, parse_rules(["budget"]))[0].because == ()


def test_a_budget_that_overruns_already_and_not_by_more_breaks_no_rule() -> None:
    text = edited(DEAR, HOME_PRICE) + BUDGET
    plan = plan_of(("port: 10000", "port: 10080"), text=text, demand=DEMAND)
    assert plan.before.budgets["purse"].forecast > 400
    assert judge(plan, parse_rules(["budget"]))[0].because == ()
    lowered = plan_of(("amount: 400", "amount: 300"), text=text, demand=DEMAND)
    assert judge(lowered, parse_rules(["budget"]))[0].because
    assert any("of 400.00 -> 300.00 USD" in line for line in _lines(lowered))


_figure = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 500))


@settings(UNHURRIED, max_examples=40)
@given(rates=st.tuples(_figure, _figure), in_flight=_figure, failed=st.integers(0, 9))
def test_whatever_is_observed_an_edit_of_nothing_changes_nothing(
    rates: tuple[float, float], in_flight: float, failed: int
) -> None:
    observations = Observations(
        probes={"onprem": {"10.0.0.1:8000": EndpointProbe(NOW - 1, 0, failed)}},
        load={
            "eu-west": {
                "onprem": Load(NOW - 1, in_flight, rates[0], 0.0),
                "cloud": Load(NOW - 1, in_flight, rates[1], 0.0),
            }
        },
    )
    plan = compare(POLICY, POLICY, Inputs(source="somewhere", at=NOW, observations=observations))
    assert not plan.changed
    assert plan.before == plan.after
    assert (plan.residency.loosened, plan.residency.gained) == ((), ())
