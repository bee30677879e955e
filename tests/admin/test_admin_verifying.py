"""``POST /api/v1/decisions/{id}/verify``: what is told of a record, and of a decision that has none of its own."""

from penstock.admin.recorded import Check, Difference, Verification
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, FakeControlPlane


async def test_who_asks_for_a_decision_that_changed_only_figures_is_told_which_record_stands_for_it(
    api: Api, control: FakeControlPlane
) -> None:
    control.standing["dec3"] = "dec2"
    for answer in (
        await api.ask("POST", "/api/v1/decisions/dec3/verify"),
        await api.get("/api/v1/decisions/dec3"),
        await api.get("/api/v1/explain/chat?decision=dec3"),
    ):
        assert answer.status == 404
        assert answer.json["recordedAs"] == "dec2"
        assert "dec2, which says the same of all else, is" in answer.json["detail"]
    unknown = (await api.get("/api/v1/decisions/beef")).json["detail"]
    assert "dec2, which stands for the one in force" in unknown


async def test_a_decision_is_verified_check_by_check(api: Api, control: FakeControlPlane) -> None:
    control.verifications["dec2"] = Verification(
        "dec2", NOW - 1, (Check("audit", ok=True, detail="unbroken"),), (), "penstock 1", "penstock 1"
    )
    answer = await api.ask("POST", "/api/v1/decisions/dec2/verify")
    assert (answer.status, answer.json["verified"], answer.json["checks"][0]["ok"]) == (200, True, True)


async def test_a_decision_that_does_not_hold_is_told_with_the_differences(api: Api, control: FakeControlPlane) -> None:
    checks = (Check("audit", ok=True, detail="unbroken"), Check("decision", ok=False, detail="other bytes"))
    control.verifications["dec2"] = Verification(
        "dec2", NOW - 1, checks, (Difference("rows.a.weights.b", "1", "2"),), "penstock 1", "penstock 2"
    )
    answer = (await api.ask("POST", "/api/v1/decisions/dec2/verify")).json
    assert answer["verified"] is False
    assert answer["differences"] == [{"path": "rows.a.weights.b", "recorded": "1", "again": "2"}]
    assert (answer["decidedBy"], answer["verifiedBy"]) == ("penstock 1", "penstock 2")


async def test_verifying_an_unrecorded_decision_is_404_and_a_failed_store_503(
    api: Api, control: FakeControlPlane
) -> None:
    assert (await api.ask("POST", "/api/v1/decisions/beef/verify")).status == 404
    control.store_fails = True
    assert (await api.ask("POST", "/api/v1/decisions/dec2/verify")).status == 503
