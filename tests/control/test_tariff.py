"""What requests cost, and what they would have cost elsewhere."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.entries import added_up, rates, valued
from penstock.control.tariff import Tariff, flows
from penstock.signals.usage import Usage
from penstock.state.ledger import AccrualKey, Accrued, Amounts, Entries, LedgerKey, amounts_of
from penstock_policies.decision import Decision
from penstock_policies.policyset import ANY_MODEL, PolicySet
from tests.control.ledger_world import (
    AN_HOUR,
    CLUSTER,
    MORNING,
    ONE,
    REST,
    cost,
    decision_of,
    loaded,
    named,
    policy_of,
)

BUCKET = int(MORNING)
RESTRICTED = """
apiVersion: penstock/v1
kind: ResidencyRule
metadata: {name: home}
spec: {dataClass: public, allow: {sites: [on_prem]}}
"""


def measured(policy: PolicySet, decision: Decision, **of: Usage) -> dict[str, Amounts]:
    batch = valued(BUCKET, {named(cluster): usage for cluster, usage in of.items()}, [Tariff(policy, decision)])
    return {key.cluster: amounts for key, amounts in batch.amounts.items()}


def test_a_decision_costs_by_demand_share_tokens_price_and_egress() -> None:
    policy = policy_of()
    found = rates(policy, decision_of(policy, cloud=0.25), {("chat", "cloud"): ("clouds",)})
    amounts = dict(found.tariff.estimated(flow) for flow in found.flows["eu-central"])
    cloud = amounts[LedgerKey(0, "chat", "public", "m", "cloud", "cloud", "eu-central", "eu-central")]
    home = amounts[LedgerKey(0, "chat", "public", "m", "onprem", "on_prem", "eu-central", "eu-central")]
    assert cloud.usd == pytest.approx(2.5 * cost(8.0))
    assert home.usd == pytest.approx(7.5 * cost(1.0))
    assert (cloud.requests, cloud.prompt_tokens, cloud.output_tokens) == pytest.approx((2.5, 2500.0, 500.0))
    assert (cloud.estimated_requests, cloud.estimated_tokens) == pytest.approx((2.5, 3000.0))
    assert cloud.estimated_usd == cloud.usd
    assert cloud.work == pytest.approx(500 + 0.25 * 2500)
    assert found.by_budget == {"eu-central": {"clouds": pytest.approx(2.5 * cost(8.0))}}


@pytest.mark.parametrize("demand", [float("nan"), float("inf"), -5.0, 0.0])
def test_figures_that_are_no_amounts_cost_nothing(demand: float) -> None:
    policy = policy_of()
    decision = decision_of(policy, cloud=0.5, demand=demand)
    assert flows(Tariff(policy, decision), decision) == []


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -1.0])
def test_sizes_that_are_no_amounts_never_reach_a_sum(size: float) -> None:
    policy = policy_of()
    decision = decision_of(policy, cloud=0.5)
    odd = replace(
        decision,
        rows={key: replace(row, tokens=(size, 200.0)) for key, row in decision.rows.items()},
        clusters={name: replace(view, tokens=(100.0, size)) for name, view in decision.clusters.items()},
    )
    tariff = Tariff(policy, odd)
    amounts = [tariff.estimated(flow)[1] for flow in flows(tariff, odd)]
    amounts += measured(policy, odd, cloud=Usage(requests=1, unmetered=1)).values()
    assert len(amounts) == 3
    assert all(math.isfinite(figure) and figure >= 0 for each in amounts for figure in amounts_of(each))


def test_counted_requests_cost_what_their_tokens_cost() -> None:
    policy = policy_of()
    found = measured(policy, decision_of(policy, cloud=0.5), cloud=ONE + replace(ONE, cached_prompt_tokens=400))
    assert found["cloud"].usd == pytest.approx(2 * cost(8.0))
    assert (found["cloud"].requests, found["cloud"].cached_prompt_tokens) == (2, 400)
    assert (found["cloud"].estimated_tokens, found["cloud"].estimated_usd) == (0, 0)
    assert found["cloud"].work == pytest.approx(400 + 0.25 * 1600)


def test_requests_that_do_not_say_their_tokens_are_taken_for_the_rows_sizes_and_told() -> None:
    policy = policy_of()
    found = measured(policy, decision_of(policy, cloud=0.5), cloud=ONE + Usage(requests=3, unmetered=3))["cloud"]
    assert found.usd == pytest.approx(4 * cost(8.0))
    assert (found.requests, found.unmetered, found.estimated_requests) == (4, 3, 0)
    assert (found.prompt_tokens, found.output_tokens, found.estimated_tokens) == pytest.approx((4000, 800, 3600))
    assert found.estimated_usd == pytest.approx(3 * cost(8.0))


def test_failed_requests_cost_nothing_and_are_counted() -> None:
    policy = policy_of()
    batch = valued(
        BUCKET,
        {named("cloud"): Usage(requests=2, failed=2), named(""): Usage(requests=1, failed=1)},
        [Tariff(policy, decision_of(policy, cloud=0.5))],
    )
    assert sum(each.usd for each in batch.amounts.values()) == 0
    assert {(key.cluster, key.site): (of.requests, of.failed) for key, of in batch.amounts.items()} == {
        ("cloud", "cloud"): (2, 2),
        ("", ""): (1, 1),
    }


def test_models_outside_the_policy_are_all_one() -> None:
    policy = policy_of()
    tariff = Tariff(policy, decision_of(policy, cloud=0.5))
    batch = valued(BUCKET, {named(model=each): ONE for each in ("", "made-up", "m-2")}, [tariff])
    assert {key.model: of.requests for key, of in batch.amounts.items()} == {ANY_MODEL: 3}


def test_requests_to_a_cluster_that_an_edit_removed_are_priced_as_before_it() -> None:
    before = policy_of()
    after = loaded(
        CLUSTER.format(name="onprem", site="on_prem", port=8000, price=1.0, more=""),
        REST.replace("[onprem, cloud]", "[onprem]"),
    )
    tariffs = (Tariff(after, decision_of(after, cloud=0.0)), Tariff(before, decision_of(before, cloud=1.0)))
    batch = valued(BUCKET, {named("cloud"): ONE, named("elsewhere"): ONE}, tariffs)
    assert [of.usd for of in batch.amounts.values()] == [pytest.approx(cost(8.0))]
    assert batch.unknown == 1


def test_elsewhere_is_told_by_the_cheapest_lawful_cluster_there() -> None:
    policy = policy_of()
    found = measured(policy, decision_of(policy, cloud=0.5), cloud=ONE, onprem=ONE)
    for each in found.values():
        assert each.on_prem_usd == pytest.approx(cost(1.0))
        assert each.cloud_usd == pytest.approx(cost(8.0))
        assert each.on_prem_kept_usd == each.cloud_kept_usd == 0


def test_where_the_law_leaves_nothing_elsewhere_the_actual_cost_stands_in_and_is_told() -> None:
    policy = loaded(
        CLUSTER.format(name="onprem", site="on_prem", port=8000, price=1.0, more=""),
        CLUSTER.format(name="cloud", site="cloud", port=8001, price=8.0, more=""),
        RESTRICTED,
        REST.replace("[onprem, cloud]", "[onprem]"),
    )
    found = measured(policy, decision_of(policy, cloud=0.0), onprem=ONE)["onprem"]
    assert (found.cloud_usd, found.cloud_kept_usd) == pytest.approx((cost(1.0), cost(1.0)))
    assert (found.on_prem_usd, found.on_prem_kept_usd) == pytest.approx((cost(1.0), 0))


PRICES = st.floats(0, 100, allow_nan=False)
TOKENS = st.integers(0, 10**9)


@given(st.tuples(PRICES, PRICES, PRICES), TOKENS, TOKENS, st.integers(0, 50), st.sampled_from(["a", "b", "c"]))
def test_staying_on_the_same_kind_of_site_is_never_dearer(
    prices: tuple[float, float, float], prompt: int, output: int, unmetered: int, at: str
) -> None:
    sites = {"a": "on_prem", "b": "on_prem", "c": "cloud"}
    names = dict(zip(sites, prices, strict=True))
    policy = loaded(
        *(
            CLUSTER.format(name=name, site=sites[name], port=8000 + index, price=f"{price:.6f}", more="")
            for index, (name, price) in enumerate(names.items())
        ),
        REST.replace("[onprem, cloud]", "[a, b, c]"),
    )
    usage = Usage(requests=unmetered + 1, unmetered=unmetered, prompt_tokens=prompt, output_tokens=output)
    decision = decision_of(policy, cloud=0.0)
    ((_, found),) = valued(BUCKET, {named(at): usage}, [Tariff(policy, decision)]).amounts.items()
    told = {"on_prem": found.on_prem_usd, "cloud": found.cloud_usd}
    assert told[sites[at]] <= found.usd
    assert found.on_prem_kept_usd == found.cloud_kept_usd == 0
    assert found.estimated_usd <= found.usd * (1 + 1e-9)


def test_a_cluster_accrues_its_hours_whether_or_not_it_is_used() -> None:
    policy = policy_of()
    assert Tariff(policy, decision_of(policy, cloud=1.0)).accruing() == {
        AccrualKey(0, "onprem", "on_prem", "eu-central"): Accrued(1.0, AN_HOUR / 3600)
    }


@pytest.mark.parametrize(("told", "accrued"), [(36.0, 0.01), (None, None), (float("nan"), None)])
def test_so_does_one_whose_feed_tells_a_price_of_the_hour_and_what_is_declared_outranks_it(
    told: float | None, accrued: float | None
) -> None:
    policy = policy_of()
    decision = decision_of(policy, cloud=1.0)
    views = {name: replace(view, usd_per_hour=told) for name, view in decision.clusters.items()}
    found = {
        key.cluster: each.usd for key, each in Tariff(policy, replace(decision, clusters=views)).accruing().items()
    }
    assert found["onprem"] == pytest.approx(AN_HOUR / 3600)
    assert found.get("cloud") == (None if accrued is None else pytest.approx(accrued))


def test_adding_up_nothing_is_nothing() -> None:
    empty = Entries({}, {})
    assert added_up(empty, [], []) == (empty, empty)
