"""What operators see and do when an Envoy has refused a resource."""

from typing import Any

import pytest

from penstock.admin.xds_state import CanaryRollout, SyncStatus
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, TYPE_URLS, FakeControlPlane, envoy, quarantined


async def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = await api.get(f"/api/v1/quarantine{query}")
    assert answer.status == 200
    items: list[dict[str, Any]] = answer.json["items"]
    return items


async def test_nothing_is_quarantined_in_a_sound_fleet(api: Api) -> None:
    assert await listed(api) == []
    assert (await api.get("/api/v1/status")).json["quarantined"] == 0


async def test_a_quarantine_tells_who_refused_what_and_why_what_is_served_and_which_policy_line(
    api: Api, control: FakeControlPlane
) -> None:
    control.refusals = [quarantined("public", "eu-1", "eu-2", held_back=((TYPE_URLS[3], "routes"),))]
    (item,) = await listed(api)
    assert (item["group"], item["type"], item["name"], item["version"]) == ("edge-eu", "LDS", "public", "v2")
    assert (item["nodes"], item["nodeCount"]) == (["eu-1", "eu-2"], 2)
    assert item["message"] == "cannot bind '192.0.2.1:10000'"
    assert (item["servedInstead"], item["heldBack"][0]["name"], item["held"]) == ("v1", "routes", "")
    assert item["origins"] == ["policy.yaml:12"]
    assert item["firstAt"] < item["lastAt"]


async def test_the_latest_comes_first_and_one_group_can_be_asked_for(api: Api, control: FakeControlPlane) -> None:
    control.refusals = [quarantined("old", last_at=NOW - 90), quarantined("new"), quarantined("us", group="edge-us")]
    assert [item["name"] for item in await listed(api, "?group=edge-eu")] == ["new", "old"]


async def test_of_a_thousand_envoys_some_are_named_and_all_are_counted(api: Api, control: FakeControlPlane) -> None:
    control.refusals = [quarantined("public", *(f"eu-{number}" for number in range(1000)))]
    (item,) = await listed(api)
    assert (len(item["nodes"]), item["nodeCount"]) == (100, 1000)


async def test_a_release_names_its_quarantine_by_id_and_is_audited_with_owner_and_reason(
    api: Api, control: FakeControlPlane
) -> None:
    control.refusals = [quarantined("leg/public/a>b"), quarantined("public")]
    item = next(item for item in await listed(api) if item["name"] == "leg/public/a>b")
    answer = await api.ask("DELETE", f"/api/v1/quarantine/{item['id']}?owner=maria&reason=port+freed")
    assert answer.status == 200
    assert answer.json["released"]["name"] == "leg/public/a>b"
    assert [left["name"] for left in await listed(api)] == ["public"]
    (entry,) = (await api.get("/api/v1/audit")).json["items"]
    assert (entry["kind"], entry["actor"], entry["detail"]["reason"]) == ("quarantine.released", "maria", "port freed")


async def test_an_unknown_release_is_404_with_what_is_known(api: Api, control: FakeControlPlane) -> None:
    control.refusals = [quarantined("public")]
    answer = await api.ask("DELETE", "/api/v1/quarantine/nonsense")
    assert answer.status == 404
    assert answer.json["type"] == "urn:penstock:problem:not-quarantined"
    assert [known["name"] for known in answer.json["known"]] == ["public"]
    assert len(control.refusals) == 1


async def test_a_release_that_cannot_be_recorded_is_503_and_not_done(api: Api, control: FakeControlPlane) -> None:
    control.refusals, control.store_fails = [quarantined()], True
    (item,) = await listed(api)
    assert (await api.ask("DELETE", f"/api/v1/quarantine/{item['id']}")).status == 503
    assert len(control.refusals) == 1


@pytest.mark.parametrize("query", ["reason=", "owner=a%0Ab", "force=true"])
async def test_a_release_with_wrong_parameters_changes_nothing(api: Api, control: FakeControlPlane, query: str) -> None:
    control.refusals = [quarantined()]
    (item,) = await listed(api)
    assert (await api.ask("DELETE", f"/api/v1/quarantine/{item['id']}?{query}")).status == 422
    assert len(control.refusals) == 1


async def test_another_sites_page_cannot_release(api: Api, control: FakeControlPlane) -> None:
    control.refusals = [quarantined()]
    (item,) = await listed(api)
    answer = await api.ask("DELETE", f"/api/v1/quarantine/{item['id']}", headers={"Origin": "https://evil.example"})
    assert answer.status == 403
    assert len(control.refusals) == 1


async def findings(api: Api, kind: str) -> list[str]:
    status = (await api.get("/api/v1/status")).json
    found: list[str] = [each["message"] for each in status["findings"] if each["kind"] == kind]
    return found


async def test_a_finding_names_node_resource_version_message_policy_line_and_what_is_served(
    api: Api, control: FakeControlPlane
) -> None:
    control.refusals = [quarantined("public", "eu-1", "eu-2")]
    (message,) = await findings(api, "quarantined")
    for part in ("eu-1 and 1 more", "edge-eu", "LDS public version v2", "version v1 goes on", "policy.yaml:12", "bind"):
        assert part in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"served_instead": ""}, "Envoys keep what they hold"),
        ({"held": "restricted data may not reach cloud"}, "restricted data may not reach cloud"),
    ],
)
async def test_a_finding_says_when_more_than_the_resource_is_held(
    api: Api, control: FakeControlPlane, changes: dict[str, Any], said: str
) -> None:
    control.refusals = [quarantined("public", **changes)]
    assert said in (await findings(api, "quarantined"))[0]


async def test_many_quarantines_make_a_few_findings_and_a_count(api: Api, control: FakeControlPlane) -> None:
    control.refusals = [quarantined(f"listener-{number}") for number in range(12)]
    messages = await findings(api, "quarantined")
    assert len(messages) == 6
    assert "7 more resources are quarantined" in messages[-1]


async def test_a_refusal_that_is_quarantined_is_told_once(api: Api, control: FakeControlPlane) -> None:
    control.envoys.append(envoy("eu-2", "edge-eu", "no such cluster"))
    assert len(await findings(api, "nack")) == 1
    control.refusals = [quarantined("routes", "eu-2", type_url=TYPE_URLS[3])]
    assert await findings(api, "nack") == []


async def test_a_trial_that_nobody_accepts_is_a_finding(api: Api, control: FakeControlPlane) -> None:
    control.trials = [CanaryRollout("edge-eu", nodes=2, waiting=2, since=NOW, stuck=True)]
    assert "does not spread" in (await findings(api, "canary-stuck"))[0]


async def test_one_envoy_is_shown_resource_by_resource_the_refused_first(api: Api, control: FakeControlPlane) -> None:
    refused = control.held[3]
    control.held[3] = type(refused)(
        refused.type_url, refused.name, SyncStatus.NACKED, "v1", "v2", "no such cluster", NOW - 5
    )
    answer = await api.get("/api/v1/nodes/s-eu-1")
    assert answer.status == 200
    assert (answer.json["node"], answer.json["matched"]) == ("eu-1", 4)
    first = answer.json["resources"][0]
    assert (first["type"], first["version"], first["refusedVersion"]) == ("RDS", "v1", "v2")
    assert first["message"] == "no such cluster"
    only = (await api.get("/api/v1/nodes/s-eu-1?type=RDS&status=NACKED")).json["resources"]
    assert [each["name"] for each in only] == [refused.name]


async def test_a_stream_that_is_not_open_is_404(api: Api) -> None:
    answer = await api.get("/api/v1/nodes/s-nobody")
    assert answer.status == 404
    assert answer.json["type"] == "urn:penstock:problem:unknown-stream"
