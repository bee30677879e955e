"""Budgets as operators see them: by HTTP, in the findings and in the metrics."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.admin.metrics import Metrics
from penstock_policies.decision import BudgetView
from penstock_policies.schema import Budget
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, FakeControlPlane, document, example_decision

DAY = 86400.0


def give(control: FakeControlPlane, view: BudgetView | None, **spec: Any) -> None:
    """Give the control plane one budget, ``cloud-month``."""
    made = Budget.model_validate(
        document("Budget", "cloud-month", {"amount": 1000.0, "per": "month", "scope": {"site": "cloud"}} | spec)
    )
    assert control.policy_set is not None
    assert control.decision is not None
    control.policy_set = replace(control.policy_set, budgets={"cloud-month": made})
    control.decision = replace(control.decision, budgets={} if view is None else {"cloud-month": view})


def view(spent: float, *, limit: float | None = None, exhausted: bool = False) -> BudgetView:
    return BudgetView(
        amount=1000.0,
        spent=spent,
        period_start=NOW - 20 * DAY,
        period_end=NOW + 10 * DAY,
        burn=2.5,
        forecast=spent + 600.0,
        limit=limit,
        exhausted=exhausted,
    )


async def test_a_budget_shows_what_was_spent_and_what_it_will_come_to(api: Api, control: FakeControlPlane) -> None:
    give(control, view(250.0))
    (item,) = (await api.get("/api/v1/budgets")).json["items"]
    assert (item["name"], item["scopeText"], item["state"]) == ("cloud-month", "site cloud", "within")
    assert item["amountUsd"] == 1000.0
    standing = item["standing"]
    assert (standing["spentUsd"], standing["remainingUsd"], standing["usedShare"]) == (250.0, 750.0, 0.25)
    assert (standing["forecastUsd"], standing["burnUsdPerHour"], standing["limitUsdPerHour"]) == (850.0, 2.5, None)


async def test_a_policy_without_budgets_has_none_to_show(api: Api) -> None:
    assert (await api.get("/api/v1/budgets")).json["items"] == []


async def test_a_budget_that_was_never_decided_on_is_unknown(api: Api, control: FakeControlPlane) -> None:
    give(control, None, scope={})
    (item,) = (await api.get("/api/v1/budgets")).json["items"]
    assert (item["state"], item["standing"], item["scopeText"]) == ("unknown", None, "the whole fleet")


@pytest.mark.parametrize(
    ("of", "on_exhausted", "told"),
    [
        (view(700.0, limit=1.25), "shift", ("info", "paced to $1.25 an hour")),
        (view(1000.5, limit=0.0, exhausted=True), "shift", ("warning", "nothing more goes there by choice")),
        (view(1000.5, limit=0.0, exhausted=True), "reject", ("error", "is refused")),
    ],
)
async def test_a_budget_in_trouble_is_a_finding(
    api: Api, control: FakeControlPlane, of: BudgetView, on_exhausted: str, told: tuple[str, str]
) -> None:
    give(control, of, onExhausted=on_exhausted)
    severity, says = told
    found = [f for f in (await api.get("/api/v1/status")).json["findings"] if f["kind"].startswith("budget")]
    assert [each["severity"] for each in found] == [severity]
    assert says in found[0]["message"]
    assert "10 days of its month left" in found[0]["message"]


async def test_a_budget_well_within_its_amount_is_no_finding(api: Api, control: FakeControlPlane) -> None:
    give(control, view(250.0))
    findings = (await api.get("/api/v1/status")).json["findings"]
    assert not [each for each in findings if each["kind"].startswith("budget")]


def test_budgets_and_what_room_is_worth_are_metrics(metrics: Metrics, control: FakeControlPlane) -> None:
    give(control, view(1000.5, limit=0.0, exhausted=True))
    assert control.decision is not None
    views = {name: replace(each, slot_price=0.6, planned=12.0) for name, each in control.decision.clusters.items()}
    control.decision = replace(control.decision, clusters=views)
    metrics.decided(example_decision(), 0.004)
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }
    assert samples["penstock_budget_spent_usd", "cloud-month"] == 1000.5
    assert samples["penstock_budget_remaining_usd", "cloud-month"] == 0.0
    assert samples["penstock_budget_forecast_usd", "cloud-month"] == 1600.5
    assert samples["penstock_budget_limit_usd_per_hour", "cloud-month"] == 0.0
    assert samples["penstock_budget_exhausted", "cloud-month"] == 1.0
    assert samples["penstock_cluster_slot_price_usd_per_hour", "onprem-fra"] == 0.6
    assert samples["penstock_cluster_planned_in_flight", "onprem-fra"] == 12.0
    assert samples["penstock_decision_seconds_count", "waterfall"] == 1.0


async def test_weights_tell_the_objective_and_how_far_an_unused_cluster_is_from_use(
    api: Api, control: FakeControlPlane
) -> None:
    assert control.decision is not None
    rows = {key: replace(row, gaps={"cloud-us-east": 0.12}) for key, row in control.decision.rows.items()}
    control.decision = replace(control.decision, rows=rows)
    item = (await api.get("/api/v1/weights?policy=chat")).json["items"][0]
    assert item["objective"] == "cost"
    assert item["gapsUsdPerMillionTokens"] == {"cloud-us-east": 0.12}


async def test_clusters_tell_what_limits_them_and_what_more_room_would_save(
    api: Api, control: FakeControlPlane
) -> None:
    assert control.decision is not None
    views = {
        name: replace(each, slot_price=0.6, limited_by="headroom", carbon=120.0)
        for name, each in control.decision.clusters.items()
    }
    control.decision = replace(control.decision, clusters=views)
    item = (await api.get("/api/v1/clusters")).json["items"][0]
    assert (item["load"]["slotPriceUsdPerHour"], item["load"]["limitedBy"]) == (0.6, "headroom")
    assert (item["carbon"]["gramsPerMillionTokens"], item["spot"]) == (120.0, False)
