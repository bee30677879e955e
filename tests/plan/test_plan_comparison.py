import pytest

from penstock.plan.comparison import compare
from penstock.plan.documents import Change
from penstock.plan.inputs import Envoys, Inputs
from penstock.plan.weights import RowChange
from penstock_policies.observations import EndpointProbe, Observations
from penstock_policies.overrides import Drain, Overrides
from tests.plan.planning import DEAR, NOW, edited, plan_of, policies

CHAT = "spec: {match: {path: /v1/}, dataClass: public, clusters: [onprem, cloud]}"
HOME_PRICE = ("usdPerMillionTokens: 0.1", "usdPerMillionTokens: 5.0")
SECOND_GROUP = """\
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {name: edge-us}
spec: {match: {cluster: edge-us}, region: us-east, listeners: [public]}
"""


def row(rows: tuple[RowChange, ...], policy: str, model: str = "llama") -> RowChange:
    (found,) = [each for each in rows if each.key.policy == policy and each.key.model == model]
    return found


def test_an_edit_of_nothing_changes_nothing() -> None:
    plan = plan_of()
    assert not plan.changed
    assert (plan.documents, plan.rows, plan.groups, plan.drained) == ((), (), (), ())


def test_a_price_moves_traffic_and_is_told_with_its_cost() -> None:
    plan = plan_of(HOME_PRICE, demand={"chat": 20.0})
    moved = row(plan.rows, "chat")
    assert moved.before == {"onprem": pytest.approx(1.0)}
    assert moved.after == {"cloud": pytest.approx(1.0)}
    assert moved.shift == pytest.approx(1.0)
    assert moved.demand == pytest.approx(20.0)
    # 20 requests a second of 1 200 tokens, at 0.1 and then 0.9 USD a million.
    assert plan.before.usd_per_hour == pytest.approx(20 * 1200 * 3600 * 0.1 / 1e6)
    assert plan.after.usd_per_hour == pytest.approx(20 * 1200 * 3600 * 0.9 / 1e6)
    assert plan.after.policies["chat"].usd_per_million_tokens == pytest.approx(0.9)


def test_the_first_step_is_no_longer_than_limits_allow_and_the_rest_of_it_comes_later() -> None:
    plan = plan_of(HOME_PRICE, demand={"chat": 20.0})
    assert row(plan.rows, "chat").step.get("cloud", 0.0) <= 0.1
    (group,) = plan.groups
    assert [(each.name, each.at_once) for each in group.change.resources] == [("public", False)]


def test_a_cluster_that_leaves_a_policy_is_drained_at_once() -> None:
    plan = plan_of((CHAT, CHAT.replace("[onprem, cloud]", "[cloud]")), demand={"chat": 20.0})
    assert row(plan.rows, "chat").step == {"cloud": 1.0}
    # The restricted policy keeps its share of it, and sends nothing.
    assert [each.sentence for each in plan.drained] == ["onprem carries 20.0 requests/s and would carry none"]
    (group,) = plan.groups
    assert all(each.at_once for each in group.change.resources)


def test_a_cluster_that_nobody_uses_any_more_is_named() -> None:
    dear_home = edited(DEAR, HOME_PRICE)
    plan = plan_of((CHAT, CHAT.replace("[onprem, cloud]", "[onprem]")), text=dear_home, demand={"chat": 20.0})
    assert [each.cluster for each in plan.drained] == ["cloud"]


def test_an_idle_row_that_leaves_a_cluster_drains_nothing() -> None:
    dear_home = edited(DEAR, HOME_PRICE)
    plan = plan_of((CHAT, CHAT.replace("[onprem, cloud]", "[onprem]")), text=dear_home, demand={"records": 20.0})
    assert row(plan.rows, "chat").shift == pytest.approx(1.0)
    assert plan.drained == ()


def test_a_cluster_that_keeps_hardly_any_of_its_requests_counts_as_drained() -> None:
    leave = (CHAT, CHAT.replace("[onprem, cloud]", "[cloud]"))
    assert [each.cluster for each in plan_of(leave, demand={"chat": 50.0, "records": 0.1}).drained] == ["onprem"]
    assert plan_of(leave, demand={"chat": 50.0, "records": 5.0}).drained == ()


def test_a_model_that_nobody_serves_any_more_is_refused_and_a_renamed_policy_is_not() -> None:
    own = CHAT.replace("path: /v1/", "path: /v1/, models: [llama]")
    text = edited(DEAR, (CHAT, own))
    renamed = plan_of(("metadata: {name: chat}", "metadata: {name: talk}"), text=text)
    gone = row(renamed.rows, "chat")
    assert (gone.change, gone.refused) == (Change.REMOVED, False)
    assert gone.shift == pytest.approx(0.0)
    document = f"---\napiVersion: penstock/v1\nkind: TrafficPolicy\nmetadata: {{name: chat}}\n{own}\n"
    dropped = plan_of((document, ""), text=text)
    lost = row(dropped.rows, "chat")
    assert (lost.change, lost.refused, lost.shift) == (Change.REMOVED, True, 1.0)


def test_demand_beyond_what_is_left_is_at_risk() -> None:
    plan = plan_of((CHAT, CHAT.replace("[onprem, cloud]", "[onprem]")), demand={"chat": 200.0})
    assert plan.before.policies["chat"].at_risk == pytest.approx(0.0, abs=1e-6)
    # 200 in flight, 85 by plan: the rest is beyond what the cluster is planned to carry.
    assert plan.after.policies["chat"].at_risk == pytest.approx(1 - 85 / 200, abs=0.01)
    assert plan.after.clusters["onprem"].load == pytest.approx(200.0)


def test_carbon_is_counted_where_it_is_declared() -> None:
    cloud = "cost: {usdPerMillionTokens: 0.9}"
    plan = plan_of(HOME_PRICE, (cloud, f"{cloud}\n  carbon: {{gramsPerMillionTokens: 400}}"), demand={"chat": 20.0})
    assert plan.before.grams_per_hour == 0
    assert plan.after.grams_per_hour == pytest.approx(20 * 1200 * 3600 * 400 / 1e6)


def test_what_is_out_of_the_ordinary_now_is_said() -> None:
    assert plan_of(HOME_PRICE).conditions == ()
    drained = Inputs(overrides=Overrides({"cloud": Drain("cloud", NOW - 60, NOW + 60, "maintenance", "ada")}))
    plan = plan_of(HOME_PRICE, inputs=drained)
    assert plan.conditions == ("drained now, by an operator or a notice: cloud",)
    assert plan.rows == ()
    failing = Observations(probes={"cloud": {"llm.example.com:443": EndpointProbe(NOW - 1, 0, 9)}})
    assert plan_of(HOME_PRICE, inputs=Inputs(observations=failing)).conditions == (
        "down now, so no weight comes to them: cloud",
    )


def test_what_a_region_does_not_reach_now_is_said() -> None:
    outer = edited(
        DEAR + SECOND_GROUP,
        ("endpoints: [{address: 10.0.0.1", "health: {from: edge}\n  endpoints: [{address: 10.0.0.1"),
    )
    lost = {"onprem": {"10.0.0.1:8000": EndpointProbe(NOW - 1, 0, 9)}}
    seen = Inputs(observations=Observations(edge_probes={"us-east": lost}))
    assert plan_of(HOME_PRICE, text=outer, inputs=seen).conditions == (
        "down now as seen from us-east, so no weight comes to them there: onprem",
    )


def test_every_group_that_is_sent_something_is_named_with_its_envoys() -> None:
    inputs = Inputs(source="somewhere", envoys={"edge-eu": Envoys(connected=3, refusing=1)})
    plan = plan_of(("port: 10000", "port: 10080"), text=DEAR + SECOND_GROUP, inputs=inputs)
    assert [(each.change.group, each.envoys) for each in plan.groups] == [
        ("edge-eu", Envoys(3, 1)),
        ("edge-us", Envoys(0, 0)),
    ]
    changed = {(each.type_url.rpartition(".")[2], each.name) for each in plan.groups[0].change.resources}
    assert ("Listener", "public") in changed


def test_envoys_whose_group_is_gone_are_counted() -> None:
    inputs = Inputs(source="somewhere", envoys={"edge-us": Envoys(connected=2)})
    plan = plan_of((SECOND_GROUP, ""), text=DEAR + SECOND_GROUP, inputs=inputs)
    assert plan.unserved == (("edge-us", 2),)
    (group,) = plan.groups
    assert (group.change.change, group.change.node_cluster) == (Change.REMOVED, "edge-us")


def test_an_edit_that_the_control_plane_would_refuse_says_why() -> None:
    # The cluster moves to the cloud while the old route still leads restricted requests to it.
    before = edited(DEAR, ("clusters: [onprem]}", "clusters: [onprem, spare]}")) + (
        "---\napiVersion: penstock/v1\nkind: Cluster\nmetadata: {name: spare}\n"
        "spec: {site: on_prem, region: eu-west, engine: vllm, models: [llama], capacity: {concurrency: 9},\n"
        "  endpoints: [{address: 10.0.0.2, port: 8000}]}\n"
    )
    after = edited(
        before,
        ("clusters: [onprem, spare]}", "clusters: [onprem]}"),
        ("spec: {site: on_prem, region: eu-west", "spec: {site: cloud, region: eu-west"),
        ("clusters: [onprem, cloud]}", "clusters: [onprem, cloud, spare]}"),
        ("address: 10.0.0.2", "address: 10.0.0.3"),
    )
    plan = compare(policies(before), policies(after), Inputs(at=NOW))
    assert "clusters have changed and routes have not yet" in plan.barred
    assert compare(policies(before), policies(before), Inputs(at=NOW)).barred == ""
