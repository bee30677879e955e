from typing import Any

import pytest

from tests.admin.conftest import Api, Asked
from tests.admin.fake_control import NOW, FakeControlPlane

WISH = {"cluster": "cloud-eu-west", "reason": "GPU driver upgrade", "owner": "maria", "for": "2h"}


async def drain(api: Api, **changes: Any) -> Asked:
    return await api.ask("POST", "/api/v1/drains", json={**WISH, **changes})


async def test_a_drain_is_created_with_its_arithmetic(api: Api, control: FakeControlPlane) -> None:
    answer = await drain(api, ramp="30s")
    assert answer.status == 201
    assert answer.headers["Location"] == "/api/v1/drains/cloud-eu-west"
    assert answer.json["impact"]["sentence"] == "what remains would run at 64 %"
    assert answer.json["impact"]["utilisationAfter"] == 1.31
    drained = control.overrides.drains["cloud-eu-west"]
    assert (drained.until, drained.ramp, drained.owner) == (NOW + 7200, 30, "maria")


async def test_the_same_drain_again_replaces_it_and_both_are_audited(api: Api, control: FakeControlPlane) -> None:
    await drain(api)
    control.clock += 60
    answer = await drain(api)
    assert answer.status == 200
    assert answer.json["replaced"]["owner"] == "maria"
    assert control.overrides.drains["cloud-eu-west"].until == NOW + 60 + 7200
    audit = (await api.get("/api/v1/audit")).json
    assert [entry["kind"] for entry in audit["items"]] == ["drain", "drain"]


async def test_a_dry_run_changes_nothing_even_when_infeasible(api: Api, control: FakeControlPlane) -> None:
    answer = await drain(api, cluster="onprem-fra", dryRun=True)
    assert answer.status == 200
    assert answer.json["applied"] is False
    assert answer.json["impact"]["feasible"] is False
    assert control.overrides.drains == {}


async def test_an_infeasible_drain_is_409_with_the_arithmetic(api: Api, control: FakeControlPlane) -> None:
    answer = await drain(api, cluster="onprem-fra")
    assert answer.status == 409
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "131 %" in answer.json["detail"]
    assert answer.json["impact"]["feasible"] is False
    assert control.overrides.drains == {}


async def test_force_drains_what_is_infeasible(api: Api, control: FakeControlPlane) -> None:
    assert (await drain(api, cluster="onprem-fra", force=True)).status == 201
    assert "onprem-fra" in control.overrides.drains


async def test_an_unknown_cluster_is_404_with_the_one_that_was_meant(api: Api) -> None:
    answer = await drain(api, cluster="cloud-eu-wset")
    assert answer.status == 404
    assert answer.json["suggestion"] == "cloud-eu-west"


async def test_an_unknown_field_is_refused_with_the_one_that_was_meant(api: Api) -> None:
    answer = await drain(api, dryrun=True)
    assert answer.status == 422
    (error,) = answer.json["errors"]
    assert (error["path"], error["suggestion"]) == ("dryrun", "dryRun")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("for", "2"),
        ("for", 7200),
        ("for", "0s"),
        ("for", "31d"),
        ("ramp", "2h"),
        ("reason", "  "),
        ("reason", "line\nbreak"),
        ("owner", "\u001b[31m"),
        ("cluster", ""),
        ("force", "yes"),
        ("dryRun", 1),
    ],
)
async def test_a_wrong_value_is_refused_and_names_its_field(
    api: Api, control: FakeControlPlane, field: str, value: object
) -> None:
    answer = await drain(api, **{field: value})
    assert answer.status == 422
    assert answer.json["errors"][0]["path"] == field
    assert control.overrides.drains == {}


async def test_a_ramp_longer_than_the_drain_is_refused(api: Api) -> None:
    assert (await drain(api, **{"for": "10s", "ramp": "30s"})).status == 422


async def test_every_missing_field_is_named_at_once(api: Api) -> None:
    answer = await api.ask("POST", "/api/v1/drains", json={})
    assert {error["path"] for error in answer.json["errors"]} == {"cluster", "reason", "owner", "for"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"ramp": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 60_000])
async def test_a_body_that_is_no_json_object_is_400(api: Api, body: bytes) -> None:
    answer = await api.ask("POST", "/api/v1/drains", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert answer.json["status"] == 400


async def test_an_undrain_ends_the_drain_and_is_audited_with_its_reason(api: Api, control: FakeControlPlane) -> None:
    await drain(api)
    answer = await api.ask("DELETE", "/api/v1/drains/cloud-eu-west?owner=joe&reason=done")
    assert answer.status == 200
    assert answer.json["ended"]["reason"] == "GPU driver upgrade"
    assert control.overrides.drains == {}
    newest = (await api.get("/api/v1/audit?limit=1")).json
    assert (newest["items"][0]["actor"], newest["items"][0]["detail"]["reason"]) == ("joe", "done")
    assert newest["nextBefore"] == newest["items"][0]["sequence"]


async def test_an_undrain_without_a_drain_is_404(api: Api) -> None:
    answer = await api.ask("DELETE", "/api/v1/drains/cloud-eu-west")
    assert answer.status == 404
    assert answer.json["type"] == "urn:penstock:problem:not-drained"


async def test_a_store_that_fails_is_503_and_the_drain_is_not_in_force(api: Api, control: FakeControlPlane) -> None:
    control.store_fails = True
    answer = await drain(api)
    assert answer.status == 503
    assert "database is locked" in answer.json["detail"]
    assert control.overrides.drains == {}
    assert (await api.get("/api/v1/clusters")).status == 200
