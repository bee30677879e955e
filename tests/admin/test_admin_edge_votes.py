"""What regions of the edge see of a cluster, wherever operators look."""

from dataclasses import replace

import pytest

from penstock.admin.decision_summary import summarise
from penstock.admin.edge_votes import ClusterVotes, EdgeProbing, EndpointVotes
from penstock.admin.metrics import Metrics
from penstock_policies.decision import ClusterHealth, HealthState
from penstock_policies.observations import EndpointProbe
from penstock_policies.words import Vantage
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, FakeControlPlane
from tests.admin.test_admin_metrics import value

FIRST, SECOND = "10.0.1.11:8000", "10.0.1.12:8000"


@pytest.fixture
def split(control: FakeControlPlane) -> FakeControlPlane:
    """On-prem is probed from the edge, well from the US and out of reach of Europe."""
    assert control.policy_set is not None
    assert control.decision is not None
    onprem = control.policy_set.clusters["onprem-fra"]
    health = onprem.spec.health.model_copy(update={"vantage": Vantage.EDGE})
    onprem = onprem.model_copy(update={"spec": onprem.spec.model_copy(update={"health": health})})
    control.policy_set = replace(control.policy_set, clusters={**control.policy_set.clusters, "onprem-fra": onprem})
    lost = ClusterHealth(HealthState.DOWN, NOW - 30, 0.0, (FIRST, SECOND), "2 of 2 endpoints fail their probes")
    control.decision = replace(
        control.decision,
        edge_health={"eu-west": {"onprem-fra": lost}, "us-east": {"onprem-fra": ClusterHealth(HealthState.UP, NOW)}},
    )
    control.probing = EdgeProbing(
        votes={
            "eu-west": {
                "onprem-fra": ClusterVotes(3, {FIRST: EndpointVotes(1, 2, NOW - 1), SECOND: EndpointVotes(0, 3, NOW)})
            },
            "us-east": {"onprem-fra": ClusterVotes(0, {FIRST: EndpointVotes(), SECOND: EndpointVotes()})},
        },
        streams=4,
        checkers={"eu-west": 3, "us-east": 0},
        silent=1,
        reports=70,
        refused=5,
        expired=6,
    )
    voted = EndpointProbe(NOW - 2, 0, 3, detail="2 of 3 checkers do not reach it")
    control.seen = replace(control.seen, edge_probes={"eu-west": {"onprem-fra": {FIRST: voted, SECOND: voted}}})
    return control


async def test_a_cluster_shows_what_each_region_sees_and_how_it_voted(api: Api, split: FakeControlPlane) -> None:
    items = {item["name"]: item["health"] for item in (await api.get("/api/v1/clusters")).json["items"]}
    assert items["onprem-fra"]["from"] == "edge"
    assert items["cloud-eu-west"]["from"] == "control-plane"
    assert items["cloud-eu-west"]["regions"] == []
    eu, us = items["onprem-fra"]["regions"]
    assert (eu["region"], eu["state"], eu["checkers"]) == ("eu-west", "DOWN", 3)
    assert eu["endpoints"][0] == {"endpoint": FIRST, "healthy": False, "well": 1, "ill": 2, "votedSecondsAgo": 1.0}
    assert (us["region"], us["state"], us["checkers"]) == ("us-east", "UP", 0)
    assert us["endpoints"][0]["votedSecondsAgo"] is None


async def test_findings_name_the_region_that_lost_a_cluster_and_the_one_that_does_not_look(
    api: Api, split: FakeControlPlane
) -> None:
    assert split.decision is not None
    split.decision = replace(split.decision, frozen_regions={"us-east": "probes of 2 of 2 clusters failed together"})
    found = {one["kind"]: one for one in (await api.get("/api/v1/status")).json["findings"]}
    assert found["cluster-down-from"]["message"] == (
        "Cluster onprem-fra is down from eu-west: 2 of 2 endpoints fail their probes"
    )
    assert found["edge-unchecked"]["message"].startswith("No Envoy of us-east probes onprem-fra")
    assert found["frozen-region"]["severity"] == "error"
    assert "us-east" in found["frozen-region"]["message"]
    split.started_at = NOW - 5
    kinds = {one["kind"] for one in (await api.get("/api/v1/status")).json["findings"]}
    assert "edge-unchecked" not in kinds
    assert "cluster-down-from" in kinds


async def test_an_explanation_speaks_of_each_row_from_its_own_region(api: Api, split: FakeControlPlane) -> None:
    answer = (await api.get("/api/v1/explain/chat")).json
    health = {row["region"]: {one["cluster"]: one["health"] for one in row["weights"]} for row in answer["rows"]}
    assert health["eu-west"]["onprem-fra"] == "DOWN"
    assert health["us-east"]["onprem-fra"] == "UP"
    text = answer["text"]
    assert "    from eu-west: DOWN, 2 of 2 endpoints fail their probes" in text
    assert "    from us-east: UP" in text
    assert "2 endpoints, by 1 region, 2 failing" in text


def test_gauges_count_checkers_and_votes_by_region(metrics: Metrics, split: FakeControlPlane) -> None:
    assert value(metrics, "penstock_edge_checkers", region="eu-west") == 3
    assert value(metrics, "penstock_edge_votes", region="eu-west", verdict="ill") == 5
    assert value(metrics, "penstock_edge_votes", region="eu-west", verdict="well") == 1
    assert value(metrics, "penstock_edge_unchecked_clusters", region="us-east") == 1
    assert value(metrics, "penstock_edge_unchecked_clusters", region="eu-west") == 0
    assert value(metrics, "penstock_edge_silent_checkers") == 1
    assert value(metrics, "penstock_edge_reports_refused_total") == 5
    assert value(metrics, "penstock_edge_votes_expired_total") == 6
    assert value(metrics, "penstock_cluster_region_ceiling", cluster="onprem-fra", region="eu-west") == 0
    assert value(metrics, "penstock_cluster_region_ceiling", cluster="onprem-fra", region="us-east") == 1
    assert value(metrics, "penstock_region_frozen", region="eu-west") == 0


def test_the_summary_of_a_decision_tells_what_turned_for_which_region(split: FakeControlPlane) -> None:
    assert split.decision is not None
    well = {region: {"onprem-fra": ClusterHealth(HealthState.UP, NOW)} for region in split.decision.edge_health}
    told = summarise(split.decision, replace(split.decision, edge_health=well))["health"]
    assert told == [
        {
            "cluster": "onprem-fra",
            "from": "UP",
            "to": "DOWN",
            "reason": "2 of 2 endpoints fail their probes",
            "region": "eu-west",
        }
    ]
