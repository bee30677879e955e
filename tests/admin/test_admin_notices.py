"""Notices over HTTP: every shape that is taken, every one that is refused, and what is said of them."""

import base64
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from tests.admin.conftest import Api, Asked
from tests.admin.fake_control import NOW, FakeControlPlane

FIRST, SECOND = "10.0.1.11:8000", "10.0.1.12:8000"


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat().replace("+00:00", "Z")


def gmt(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


def spot_warning(**changes: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "12345678-1234-1234-1234-123456789012",
        "detail-type": "EC2 Spot Instance Interruption Warning",
        "source": "aws.ec2",
        "account": "123456789012",
        "time": at(0),
        "region": "us-east-2",
        "resources": ["arn:aws:ec2:us-east-2:123456789012:instance/i-1234567890abcdef0"],
        "detail": {"instance-id": "i-1234567890abcdef0", "instance-action": "terminate"},
        **changes,
    }


def azure_event(**changes: Any) -> dict[str, Any]:
    return {
        "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
        "EventStatus": "Scheduled",
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": ["10.0.1.11", "stranger"],
        "NotBefore": gmt(30),
        "Description": "Virtual machine is being evicted",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
        **changes,
    }


def azure(*events: dict[str, Any]) -> dict[str, Any]:
    return {"DocumentIncarnation": 1, "Events": list(events)}


def plain(**changes: Any) -> dict[str, Any]:
    return {"cluster": "onprem-fra", "kind": "maintenance", "in": "2m", **changes}


def pushed(payload: object, published: float = 0) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(payload).encode()).decode()
    message = {"data": data, "messageId": "2070443601311540", "publishTime": at(published)}
    return {"message": message, "subscription": "projects/p/subscriptions/s"}


async def send(api: Api, payload: object, query: str = "") -> Asked:
    return await api.ask("POST", f"/api/v1/notices{query}", json=payload)


def deadlines(control: FakeControlPlane) -> list[tuple[str, str, float]]:
    kept = control.noticed.values()
    return sorted((each.cluster, each.endpoint, round(each.deadline - NOW, 3)) for each in kept)


@pytest.mark.parametrize(
    ("payload", "query", "expected"),
    [
        (spot_warning(), f"?endpoint={FIRST}", [("onprem-fra", FIRST, 120)]),
        (
            spot_warning(detail={"instance-id": "10.0.1.12", "instance-action": "stop"}),
            "",
            [("onprem-fra", SECOND, 120)],
        ),
        (
            spot_warning(**{"detail-type": "EC2 Instance Rebalance Recommendation", "detail": {"instance-id": "i-1"}}),
            "?cluster=cloud-eu-west",
            [("cloud-eu-west", "10.0.2.11:8000", 120)],
        ),
        (
            spot_warning(detail={"instance-id": "i-1", "instance-action": "hibernate"}),
            f"?endpoint={FIRST}",
            [("onprem-fra", FIRST, 0)],
        ),
        ({"action": "terminate", "time": at(95)}, "?cluster=cloud-eu-west", [("cloud-eu-west", "", 95)]),
        ({"action": "stop", "time": at(95), "endpoint": FIRST}, "", [("onprem-fra", FIRST, 95)]),
        ({"preempted": "TRUE", "cluster": "onprem-fra"}, "", [("onprem-fra", "", 30)]),
        ({"preempted": True, "endpoint": SECOND}, "", [("onprem-fra", SECOND, 30)]),
        (
            {"maintenance-event": "TERMINATE_ON_HOST_MAINTENANCE", "instance": "10.0.2.11", "zone": "europe-west4-a"},
            "",
            [("cloud-eu-west", "10.0.2.11:8000", 60)],
        ),
        (azure(azure_event()), "", [("onprem-fra", FIRST, 30)]),
        (
            azure(azure_event(Resources=["10.0.1.11", "10.0.1.12"])),
            "",
            [("onprem-fra", e, 30) for e in (FIRST, SECOND)],
        ),
        (azure(azure_event(EventType="Reboot", EventStatus="Started", NotBefore="")), "", [("onprem-fra", FIRST, 0)]),
        (plain(), "", [("onprem-fra", "", 120)]),
        (
            plain(**{"in": None, "at": at(3600), "until": at(7200), "reason": "firmware"}),
            "",
            [("onprem-fra", "", 3600)],
        ),
        (plain(kind="spot-interruption", endpoint=SECOND, **{"for": "1h"}), "", [("onprem-fra", SECOND, 120)]),
        (pushed({"preempted": "TRUE", "endpoint": FIRST}, -4), "", [("onprem-fra", FIRST, 26)]),
        (pushed(plain()), "", [("onprem-fra", "", 120)]),
    ],
)
async def test_every_shape_is_taken_and_leads_to_its_place_and_deadline(
    api: Api,
    control: FakeControlPlane,
    payload: dict[str, Any],
    query: str,
    expected: list[tuple[str, str, float]],
) -> None:
    payload = {name: value for name, value in payload.items() if value is not None}
    answer = await send(api, payload, query)
    assert answer.status == 201, answer.text
    assert deadlines(control) == expected
    again = await send(api, payload, query)
    assert again.status == 200
    assert {each["change"] for each in again.json["notices"]} == {"unchanged"}
    assert deadlines(control) == expected


@pytest.mark.parametrize(
    ("payload", "query", "status", "said"),
    [
        ({}, "", 422, "expected an EC2 event of EventBridge"),
        ({"hello": "world"}, "", 422, "the plain form"),
        (spot_warning(**{"detail-type": "EC2 Instance State-change Notification"}), "", 422, "Interruption Warning"),
        (spot_warning(detail={"instance-action": "terminate"}), "", 422, "detail.instance-id: expected a name"),
        (spot_warning(detail={"instance-id": "i-1", "instance-action": "explode"}), "", 422, "terminate, stop"),
        (spot_warning(detail="terminate"), "", 422, "detail: expected an object"),
        (spot_warning(time="yesterday"), f"?endpoint={FIRST}", 422, "time: expected a time with its zone"),
        (spot_warning(time="2026-11-24T02:10:00"), f"?endpoint={FIRST}", 422, "time: expected a time with its zone"),
        ({"action": "terminate"}, "?cluster=onprem-fra", 422, "time: expected a time"),
        ({"action": "terminate", "time": at(90)}, "", 422, "names no machine"),
        ({"action": "terminate", "time": at(90 * 86400)}, "?cluster=onprem-fra", 422, "at most 31 days ahead"),
        ({"preempted": "MAYBE"}, "?cluster=onprem-fra", 422, "preempted: expected one of TRUE, FALSE"),
        ({"preempted": ["TRUE"]}, "?cluster=onprem-fra", 422, "preempted: expected one of TRUE, FALSE"),
        ({"preempted": "TRUE", "instance": "a\nb"}, "", 422, "instance: expected a name"),
        ({"maintenance-event": "SOON"}, "?cluster=onprem-fra", 422, "TERMINATE_ON_HOST_MAINTENANCE"),
        (azure(azure_event(NotBefore="soon")), "", 422, "Events.0.NotBefore: expected a time such as Mon"),
        (azure(azure_event(NotBefore="")), "", 422, "Events.0.NotBefore"),
        (azure(azure_event(EventStatus="Odd")), "", 422, "Events.0.EventStatus: expected one of Scheduled"),
        (azure(azure_event(EventType="Odd")), "", 422, "known are Preempt, Reboot"),
        (azure(azure_event(Resources=[])), "", 422, "Events.0.Resources: expected a list"),
        (azure(azure_event(Resources=[1])), "", 422, "Events.0.Resources.0: expected a name"),
        (azure(azure_event(DurationInSeconds="9")), "", 422, "Events.0.DurationInSeconds"),
        (azure(azure_event(EventId=None)), "", 422, "Events.0.EventId"),
        ({"Events": {}}, "", 422, "Events: expected a list"),
        ({"Events": [3]}, "", 422, "Events.0: expected an object"),
        (azure(azure_event(Resources=["gpu-7", "gpu-8"])), "", 422, "goes by gpu-7, gpu-8"),
        (spot_warning(), "", 422, "i-1234567890abcdef0: looked for an endpoint of that address"),
        (spot_warning(), "?cluster=onprem-fra", 422, "nothing in cluster onprem-fra goes by i-1234567890abcdef0"),
        (spot_warning(), "?cluster=onprem-far", 404, "did you mean 'onprem-fra'?"),
        (spot_warning(), "?endpoint=10.9.9.9:1", 404, "expected one of 10.0.1.11:8000"),
        (spot_warning(), "?clutser=onprem-fra", 422, "cluster"),
        (plain(cluster="onprem-far"), "", 404, "did you mean 'onprem-fra'?"),
        (plain(endpoint="10.0.2.11:8000"), "", 404, "no endpoint '10.0.2.11:8000' in cluster onprem-fra"),
        (plain(untl="2h"), "", 422, "did you mean 'until'?"),
        (plain(kind="upgrade"), "", 422, "kind"),
        (plain(at=at(60)), "", 422, 'either "at"'),
        (plain(until=at(60)), "", 422, "until: expected a time later than the deadline"),
        (plain(until=at(60), **{"for": "1h"}), "", 422, "not both"),
        (plain(**{"in": "2"}), "", 422, "in: expected a duration"),
        (plain(**{"in": "60d"}), "", 422, "in: "),
        (plain(until="tomorrow"), "", 422, "until: expected a time with its zone"),
        (plain(reason="line\nbreak"), "", 422, "reason"),
        (plain(id="no spaces please"), "", 422, "id"),
        ({"kind": "maintenance", "in": "2m"}, "", 422, "cluster: Field required"),
        ({"message": {}}, "", 422, "message.data: expected a notice as JSON in base64"),
        ({"message": {"data": "%%%"}}, "", 422, "message.data: expected a notice as JSON in base64"),
        (pushed([1]), "", 422, "message.data: expected"),
        (pushed(pushed(plain())), "", 422, "message.data: expected"),
        (pushed({"hello": 1}), "", 422, "expected an EC2 event"),
    ],
)
async def test_what_is_no_notice_is_refused_with_what_was_expected(  # noqa: PLR0917 - a case and its fixtures
    api: Api, control: FakeControlPlane, payload: object, query: str, status: int, said: str
) -> None:
    answer = await send(api, payload, query)
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert said in answer.json["detail"]
    assert control.noticed == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"in": NaN}', b'{"cluster": "a", "cluster": "b"}', b"[" * 60_000])
async def test_a_body_that_is_no_json_object_is_400(api: Api, body: bytes) -> None:
    answer = await api.ask("POST", "/api/v1/notices", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 400


async def test_a_body_beyond_the_limit_is_413(api: Api) -> None:
    assert (await send(api, plain(reason="x" * 70_000))).status == 413


async def test_a_machine_is_found_by_the_annotation_of_its_cluster(api: Api, control: FakeControlPlane) -> None:
    assert control.policy_set is not None
    metadata = control.policy_set.clusters["onprem-fra"].metadata
    metadata.annotations["instance-ids"] = f"i-0abc={FIRST}, i-1234567890abcdef0={SECOND}, rack-7"
    try:
        await send(api, spot_warning())
        assert deadlines(control) == [("onprem-fra", SECOND, 120)]
        await send(api, {"preempted": "TRUE", "instance": "rack-7"})
        assert deadlines(control)[0] == ("onprem-fra", "", 30)
    finally:
        metadata.annotations.clear()


async def test_machines_that_are_none_of_ours_are_named_beside_those_that_are(api: Api) -> None:
    odd = azure_event(EventType="Rebalance", EventId="other")
    answer = await send(api, azure(azure_event(), odd))
    assert answer.status == 201
    assert answer.json["unmatched"] == ["stranger"]
    assert "Rebalance" in answer.json["ignored"][0]


async def test_the_gauges_count_notices_and_tell_the_next_deadline(api: Api) -> None:
    await send(api, plain(**{"in": "10m"}))
    await send(api, plain(endpoint=SECOND))
    text = (await api.ask("GET", "/metrics")).text
    assert 'penstock_notices{cluster="onprem-fra"} 2.0' in text
    assert 'penstock_notices{cluster="cloud-eu-west"} 0.0' in text
    assert 'penstock_notice_deadline_seconds{cluster="onprem-fra"} 120.0' in text
    assert 'penstock_notice_deadline_seconds{cluster="cloud-eu-west"}' not in text


async def test_a_changed_deadline_changes_the_notice_and_makes_no_second_one(
    api: Api, control: FakeControlPlane
) -> None:
    await send(api, azure(azure_event(NotBefore=gmt(600))))
    answer = await send(api, azure(azure_event(NotBefore=gmt(60))))
    assert [each["change"] for each in answer.json["notices"]] == ["changed"]
    assert deadlines(control) == [("onprem-fra", FIRST, 60)]
    control.clock += 90
    for _ in range(2):
        await send(api, azure(azure_event(EventStatus="Started", NotBefore="")))
    assert deadlines(control) == [("onprem-fra", FIRST, 60)]


async def test_a_completed_event_ends_its_notice(api: Api, control: FakeControlPlane) -> None:
    await send(api, azure(azure_event()))
    answer = await send(api, azure(azure_event(EventStatus="Completed", NotBefore="")))
    assert [each["change"] for each in answer.json["notices"]] == ["ended"]
    assert not any(each.standing(NOW) for each in control.noticed.values())


async def test_an_event_that_its_machine_lists_no_more_is_over_and_other_machines_lists_say_nothing_of_it(
    api: Api, control: FakeControlPlane
) -> None:
    both = azure(azure_event(), azure_event(EventId="other", Resources=["10.0.1.12"]))
    await send(api, both, "?machine=10.0.1.11")
    assert deadlines(control) == [("onprem-fra", FIRST, 30)]
    await send(api, azure(), "?machine=10.0.1.12")
    await send(api, azure())
    assert all(each.standing(NOW) for each in control.noticed.values())
    answer = await send(api, azure(), "?machine=10.0.1.11")
    assert answer.status == 200
    assert answer.json["notices"][0]["endedBy"] == "10.0.1.11 lists it no more"


async def test_the_word_that_all_is_well_ends_a_notice_of_the_machine(api: Api, control: FakeControlPlane) -> None:
    assert (await send(api, {"maintenance-event": "NONE"}, "?cluster=onprem-fra")).json["notices"] == []
    await send(api, {"maintenance-event": "TERMINATE_ON_HOST_MAINTENANCE"}, "?cluster=onprem-fra")
    answer = await send(api, {"maintenance-event": "NONE"}, "?cluster=onprem-fra")
    assert [each["change"] for each in answer.json["notices"]] == ["ended"]


async def test_a_notice_that_is_over_already_is_answered_well_and_not_kept(api: Api, control: FakeControlPlane) -> None:
    answer = await send(api, spot_warning(time=at(-3600)), f"?endpoint={FIRST}")
    assert answer.status == 200
    assert answer.json["notices"][0]["change"] == "over"
    assert control.noticed == {}


async def test_a_notice_is_ended_by_hand_and_stays_so_when_it_is_sent_again(
    api: Api, control: FakeControlPlane
) -> None:
    await send(api, plain(id="firmware-7"))
    answer = await api.ask("DELETE", "/api/v1/notices/firmware-7?owner=joe&reason=postponed")
    assert answer.status == 200
    assert answer.json["ended"]["endedBy"] == "joe"
    await send(api, plain(id="firmware-7"))
    assert not control.noticed["firmware-7"].standing(NOW)
    await send(api, plain(id="firmware-7", **{"in": "1h"}))
    assert control.noticed["firmware-7"].standing(NOW)


async def test_an_unknown_notice_is_404_with_the_one_that_was_meant(api: Api) -> None:
    await send(api, plain(id="firmware-7"))
    answer = await api.ask("DELETE", "/api/v1/notices/firmwar-7")
    assert answer.status == 404
    assert answer.json["suggestion"] == "firmware-7"


async def test_notices_are_listed_and_are_findings_of_the_status(api: Api, control: FakeControlPlane) -> None:
    await send(api, plain(id="firmware-7", reason="firmware"))
    (listed,) = (await api.get("/api/v1/notices")).json["items"]
    assert (listed["id"], listed["effect"], listed["deadlineInSeconds"]) == ("firmware-7", "cluster-drained", 120)
    assert listed["endsInSeconds"] == 120 + 900
    found = (await api.get("/api/v1/status")).json["findings"]
    told = [each for each in found if each["kind"] == "notice"]
    assert told[0]["severity"] == "warning"
    assert "Cluster onprem-fra goes away in 2 min: firmware" in told[0]["message"]
    control.clock += 95
    (told,) = [each for each in (await api.get("/api/v1/status")).json["findings"] if each["kind"] == "notice"]
    assert "goes away in 25 s" in told["message"]


async def test_a_clock_that_is_behind_makes_no_more_of_two_minutes(api: Api, control: FakeControlPlane) -> None:
    ahead = spot_warning(time=at(300))
    await send(api, ahead, f"?endpoint={FIRST}")
    assert deadlines(control) == [("onprem-fra", FIRST, 120)]
    control.clock += 60
    assert (await send(api, ahead, f"?endpoint={FIRST}")).json["notices"][0]["change"] == "unchanged"


async def test_a_store_that_fails_is_503(api: Api, control: FakeControlPlane) -> None:
    control.store_fails = True
    assert (await send(api, plain())).status == 503
