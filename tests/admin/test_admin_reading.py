from dataclasses import replace

import pytest

from penstock.admin.ports import FeedStatus, Readiness
from penstock_policies.decision import Note, Stage
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.problems import Problem
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, FakeControlPlane, envoy, stored

BROKEN = Problem("error", "policy.yaml", 12, 9, "spec.sight", "unknown field", "one of site, region", "site")


def reject_policy(control: FakeControlPlane) -> None:
    control.policy_rejected_at = NOW - 5
    control.policy_problems = (BROKEN,)


@pytest.mark.parametrize("path", ["/healthz", "/livez"])
async def test_liveness_is_answered_whatever_the_readiness(api: Api, control: FakeControlPlane, path: str) -> None:
    control.readiness = Readiness(ready=False)
    assert (await api.get(path)).status == 200


async def test_readiness_is_503_with_the_reason_until_a_complete_snapshot_exists(
    api: Api, control: FakeControlPlane
) -> None:
    control.readiness = Readiness(ready=False, details={"reason": "no policy is in force yet"})
    answer = await api.get("/readyz")
    assert answer.status == 503
    assert answer.json["details"]["reason"] == "no policy is in force yet"


async def test_a_broken_policy_edit_shows_in_readiness_and_does_not_end_it(api: Api, control: FakeControlPlane) -> None:
    reject_policy(control)
    answer = await api.get("/readyz")
    assert answer.status == 200
    assert answer.json["policy"]["errors"] == [str(BROKEN)]


async def test_version_names_the_program(api: Api) -> None:
    answer = await api.get("/version")
    assert answer.json["name"] == "penstock"
    assert answer.json["version"]


async def test_clusters_show_health_load_price_and_drain(api: Api, control: FakeControlPlane) -> None:
    control.overrides = Overrides(
        {"cloud-us-east": Drain("cloud-us-east", NOW - 5, NOW + 3600, "upgrade", "maria", ramp=10)}
    )
    items = {item["name"]: item for item in (await api.get("/api/v1/clusters")).json["items"]}
    assert sorted(items) == ["cloud-eu-west", "cloud-us-east", "onprem-fra"]
    onprem, us = items["onprem-fra"], items["cloud-us-east"]
    assert onprem["load"]["utilisation"] == pytest.approx(150 / 136)
    assert onprem["load"]["requestRate"] == 70
    assert onprem["drain"] is None
    assert us["health"]["state"] == "DOWN"
    assert us["health"]["endpoints"][0]["healthy"] is False
    assert us["price"]["stale"] is True
    assert us["drain"]["owner"] == "maria"
    assert us["drain"]["shareLeft"] == 0.5
    assert us["drain"]["endsInSeconds"] == 3600


async def test_a_drain_whose_time_is_over_is_not_shown(api: Api, control: FakeControlPlane) -> None:
    control.overrides = Overrides({"onprem-fra": Drain("onprem-fra", NOW - 60, NOW - 1, "upgrade", "maria")})
    assert (await api.get("/api/v1/drains")).json["items"] == []
    clusters = (await api.get("/api/v1/clusters")).json["items"]
    assert all(item["drain"] is None for item in clusters)


async def test_weights_give_every_row_with_its_reason(api: Api) -> None:
    answer = (await api.get("/api/v1/weights")).json
    rows = {(item["policy"], item["region"]): item for item in answer["items"]}
    chat = rows["chat", "eu-west"]
    assert chat["weights"] == {"onprem-fra": 6000, "cloud-eu-west": 4000, "cloud-us-east": 0}
    assert chat["reason"] == "on-prem is full; the rest goes to the cheapest cloud"
    assert rows["records", "eu-west"]["excluded"] == {
        "cloud-eu-west": "rule default allows restricted data only at on_prem"
    }


async def test_weights_of_an_unknown_policy_are_404_with_the_name_that_was_meant(api: Api) -> None:
    answer = await api.get("/api/v1/weights?policy=caht")
    assert answer.status == 404
    assert answer.json["suggestion"] == "chat"


async def test_history_gives_a_point_per_change_and_none_where_nothing_changed(api: Api) -> None:
    items = (await api.get("/api/v1/history")).json["items"]
    points = {(item["policy"], item["region"]): item["points"] for item in items}
    assert [point["weights"]["onprem-fra"] for point in points["chat", "eu-west"]] == [10_000, 6000]
    assert len(points["records", "eu-west"]) == 1


async def test_history_since_a_moment_starts_with_the_weights_in_force_then(api: Api) -> None:
    items = (await api.get(f"/api/v1/history?policy=chat&since={NOW - 0.5}")).json["items"]
    assert {item["policy"] for item in items} == {"chat"}
    eu = next(item for item in items if item["region"] == "eu-west")
    assert [point["weights"]["onprem-fra"] for point in eu["points"]] == [6000]


async def test_nodes_in_trouble_come_first_and_the_summary_counts_all(api: Api, control: FakeControlPlane) -> None:
    control.envoys += [envoy(f"eu-{n}", "edge-eu") for n in range(2, 9)] + [envoy("zz", "edge-us", "bad route")]
    answer = (await api.get("/api/v1/nodes?limit=2")).json
    assert [item["node"] for item in answer["items"]] == ["zz", "eu-1"]
    assert answer["summary"]["connected"] == 10
    assert answer["summary"]["byStatus"]["NACKED"] == 1
    assert answer["summary"]["byGroup"] == {"edge-eu": 8, "edge-us": 2}
    refused = answer["items"][0]["types"][3]
    assert (refused["type"], refused["status"], refused["error"]) == ("RDS", "NACKED", "bad route")


async def test_nodes_can_be_asked_for_by_group_and_status(api: Api, control: FakeControlPlane) -> None:
    control.envoys.append(envoy("us-2", "edge-us", "bad route"))
    answer = (await api.get("/api/v1/nodes?group=edge-us&status=NACKED")).json
    assert [item["node"] for item in answer["items"]] == ["us-2"]


async def test_decisions_tell_what_each_changed_against_the_one_before(api: Api) -> None:
    answer = (await api.get("/api/v1/decisions?limit=1")).json
    (decision,) = answer["items"]
    (change,) = decision["rows"]
    assert decision["id"] == "dec2"
    assert (change["policy"], change["region"]) == ("chat", "eu-west")
    assert change["from"]["onprem-fra"] == 10_000
    assert change["to"]["onprem-fra"] == 6000
    older = (await api.get(f"/api/v1/decisions?before={answer['nextBefore']}")).json
    assert [item["id"] for item in older["items"]] == ["dec1"]
    assert older["nextBefore"] is None


async def test_a_decision_is_given_back_exactly_as_recorded(api: Api, control: FakeControlPlane) -> None:
    answer = await api.get("/api/v1/decisions/dec1")
    assert answer.json["decision"]["policy_digest"] == "d1ge57"
    assert (await api.get("/api/v1/decisions/nope")).status == 404


async def test_a_record_of_another_version_does_not_hide_the_others(api: Api, control: FakeControlPlane) -> None:
    control.decisions.insert(0, replace(control.decisions[0], id="dec3", json='{"from": "the future"}'))
    items = (await api.get("/api/v1/decisions")).json["items"]
    assert [item["id"] for item in items] == ["dec3", "dec2", "dec1"]
    assert items[0]["readable"] is False


async def test_health_and_drain_turns_are_part_of_a_decision(api: Api, control: FakeControlPlane) -> None:
    assert control.decision is not None
    later = replace(
        control.decision,
        id="dec3",
        at=NOW,
        health={**control.decision.health, "cloud-us-east": replace(control.decision.health["onprem-fra"])},
        draining={"cloud-eu-west": 0.0},
    )
    control.decisions.insert(0, stored(later))
    newest = (await api.get("/api/v1/decisions")).json["items"][0]
    assert newest["drained"] == ["cloud-eu-west"]
    assert [(turn["cluster"], turn["from"], turn["to"]) for turn in newest["health"]] == [
        ("cloud-us-east", "DOWN", "UP")
    ]


async def test_explain_says_why_each_weight_is_what_it_is(api: Api) -> None:
    answer = (await api.get("/api/v1/explain/chat")).json
    eu = next(row for row in answer["rows"] if row["region"] == "eu-west")
    why = {weight["cluster"]: weight["why"] for weight in eu["weights"]}
    assert "connection refused" in why["cloud-us-east"]
    assert "wanted at 55.0%" in why["onprem-fra"]
    assert eu["weightsBefore"] == {"onprem-fra": 10_000, "cloud-eu-west": 0, "cloud-us-east": 0}
    assert eu["notes"] == [{"stage": "limit", "message": "step limited", "fields": {"from": 0.5, "to": 0.6}}]
    assert answer["origin"] == "policy.yaml:40:1"


async def test_explain_names_the_rule_that_excludes_a_cluster_in_text_too(api: Api) -> None:
    answer = await api.get("/api/v1/explain/records", headers={"Accept": "text/plain"})
    assert "excluded cloud-eu-west: rule default allows restricted data only at on_prem" in answer.text


async def test_explain_is_404_for_an_unknown_policy_and_503_before_the_first_decision(
    api: Api, control: FakeControlPlane
) -> None:
    assert (await api.get("/api/v1/explain/caht")).json["suggestion"] == "chat"
    control.decision = None
    assert (await api.get("/api/v1/explain/chat")).status == 503


async def test_status_lists_findings_worst_first(api: Api, control: FakeControlPlane) -> None:
    reject_policy(control)
    control.freeze("the prober is distrusted")
    control.envoys.append(envoy("us-2", "edge-us", "bad route"))
    control.feed_statuses = [FeedStatus("cloud-prices", NOW - 3600, "connection refused")]
    control.overrides = Overrides({"cloud-eu-west": Drain("cloud-eu-west", NOW, NOW + 60, "upgrade", "maria")})
    answer = (await api.get("/api/v1/status")).json
    kinds = [(finding["severity"], finding["kind"]) for finding in answer["findings"]]
    assert kinds == [
        ("error", "policy-rejected"),
        ("error", "frozen"),
        ("error", "nack"),
        ("warning", "cluster-down"),
        ("warning", "feed-stale"),
        ("info", "drained"),
    ]
    assert answer["feeds"][0]["stale"] is True
    assert answer["policy"]["problems"][0]["suggestion"] == "site"
    assert answer["drains"] == 1


async def test_a_feed_that_is_read_and_not_believed_is_a_finding_once(api: Api, control: FakeControlPlane) -> None:
    assert control.decision is not None
    refused = tuple(
        Note(Stage.SANITISE, "price refused", {"feed": "cloud-prices", "key": key, "why": why})
        for key, why in (("eu-west", "negative"), ("us-east", "not a finite number"))
    )
    memory = replace(control.decision.memory, prices={"cloud-prices": {"eu-west": (0.9, control.decision.at - 63)}})
    control.decision = replace(control.decision, notes=refused, memory=memory)
    answer = (await api.get("/api/v1/status")).json
    found = [each for each in answer["findings"] if each["kind"].startswith("feed")]
    assert found == [
        {
            "severity": "warning",
            "kind": "feed-refused",
            "message": "Cost feed cloud-prices: its figure for eu-west is refused (negative); "
            "the last accepted, 63 s old, holds (and 1 more figure)",
        }
    ]
    assert [each["key"] for each in answer["feeds"][0]["refused"]] == ["eu-west", "us-east"]
    assert answer["feeds"][0]["stale"] is False
    assert answer["feeds"][0]["figures"] == [{"key": "eu-west", "figure": 0.9, "unit": "USD/Mtok", "ageSeconds": 63.0}]


async def test_an_accepted_figure_older_than_the_feeds_max_age_is_a_finding(
    api: Api, control: FakeControlPlane
) -> None:
    assert control.decision is not None
    old = {"cloud-prices": {"eu-west": (0.9, control.decision.at - 601), "us-east": (1.0, control.decision.at)}}
    control.decision = replace(control.decision, memory=replace(control.decision.memory, prices=old))
    (found,) = [e for e in (await api.get("/api/v1/status")).json["findings"] if e["kind"].startswith("feed")]
    assert found["kind"] == "feed-outdated"
    assert "no figure for eu-west is newer than 601 s" in found["message"]
    # A feed that is not read at all says so once.
    control.feed_statuses = [FeedStatus("cloud-prices", NOW - 3600)]
    kinds = [each["kind"] for each in (await api.get("/api/v1/status")).json["findings"]]
    assert ("feed-stale" in kinds, "feed-outdated" in kinds) == (True, False)


async def test_a_row_without_any_cluster_is_an_error_in_the_status(api: Api, control: FakeControlPlane) -> None:
    assert control.decision is not None
    key, row = next(iter(control.decision.rows.items()))
    control.decision = replace(control.decision, rows={key: replace(row, weights={}, legs={})})
    findings = (await api.get("/api/v1/status")).json["findings"]
    assert ("error", "row-refused") in [(finding["severity"], finding["kind"]) for finding in findings]


async def test_everything_can_be_read_before_any_policy_was_loaded(api: Api, control: FakeControlPlane) -> None:
    control.policy_set, control.decision, control.policy_loaded_at = None, None, None
    control.readiness = Readiness(ready=False)
    control.points.clear()
    for path in ("status", "clusters", "weights", "nodes", "drains", "history"):
        assert (await api.get(f"/api/v1/{path}")).status == 200
    assert (await api.get("/metrics")).status == 200
