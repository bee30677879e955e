"""``GET /api/v1/explain``: what was known, what binds, what was, what would be; and the verification of a record."""

from dataclasses import replace

import pytest

from penstock.admin.moment import parse_moment
from penstock.admin.recorded import Check, Difference, Verification
from penstock_policies.decision import BudgetView, Decision
from penstock_policies.inputs import DecisionInputs
from penstock_policies.overrides import Overrides
from penstock_policies.schema import Cluster, TrafficPolicy
from tests.admin.conftest import Api
from tests.admin.fake_control import (
    CHAT_EU,
    NOW,
    FakeControlPlane,
    example_decision,
    example_observations,
    example_policy,
    stored,
)


def _decision(control: FakeControlPlane) -> Decision:
    assert control.decision is not None
    return control.decision


def _tight(control: FakeControlPlane) -> None:
    """On-prem is full and has a price; the third cluster has a gap; a budget binds."""
    decision = _decision(control)
    row = decision.rows[CHAT_EU]
    onprem = replace(decision.clusters["onprem-fra"], slot_price=0.5, planned=136.0, limited_by="headroom")
    control.decision = replace(
        decision,
        rows={**decision.rows, CHAT_EU: replace(row, gaps={"cloud-us-east": 0.12})},
        clusters={**decision.clusters, "onprem-fra": onprem},
        budgets={
            "cloud": BudgetView(1000.0, 400.0, NOW - 86400, NOW + 86400, 25.0, 1010.0, limit=24.0, price=0.3),
            "labs": BudgetView(10.0, 10.5, NOW - 86400, NOW + 86400, 0.0, 10.5, exhausted=True),
        },
    )


async def test_every_input_is_shown_with_its_age(api: Api) -> None:
    answer = (await api.get("/api/v1/explain/chat")).json
    onprem, europe, _ = answer["inputs"]
    assert onprem["probes"] == {"endpoints": 1, "failing": 0, "ageSeconds": 0.5}
    assert onprem["load"] == [
        {"region": "eu-west", "inFlight": 150.0, "requestsPerSecond": 70.0, "errorsPerSecond": 0.5, "ageSeconds": 1.0}
    ]
    assert (onprem["capacity"]["plannedUpTo"], onprem["capacity"]["declared"]) == (136.0, 160)
    assert europe["price"] == {"usdPerMillionTokens": 0.9, "source": "feed cloud-prices", "ageSeconds": 3.0}
    assert europe["loadAgeSeconds"] is None
    assert "probes 0 s old" in answer["text"]
    assert "load never seen" in answer["text"]


async def test_what_binds_is_told_with_what_a_little_more_would_save(api: Api, control: FakeControlPlane) -> None:
    _tight(control)
    answer = (await api.get("/api/v1/explain/chat")).json
    sentences = {each["sentence"] for each in answer["binding"]}
    assert "cloud-us-east would be used if it were 0.12 USD/Mtok cheaper" in sentences
    assert "onprem-fra is full by plan at 136 requests in flight: room for one more saves 0.50 USD/h" in sentences
    assert "budget cloud binds at 24.00 USD/h: one more dollar would save 0.30 USD elsewhere" in sentences
    assert "budget labs is exhausted: 10.50 of 10.00 USD" in sentences
    assert all(sentence in answer["text"] for sentence in sentences)
    assert answer["budgets"]["cloud"]["limitUsdPerHour"] == 24.0
    assert "limited by headroom" in answer["text"]


async def test_one_more_gpu_is_told_where_the_policy_says_how_many_there_are(
    api: Api, control: FakeControlPlane
) -> None:
    _tight(control)
    policies = example_policy()
    document = policies.clusters["onprem-fra"].model_dump(by_alias=True, mode="json", exclude_unset=True)
    document["spec"]["capacity"] |= {"gpus": 8, "gpuType": "H100"}
    onprem = Cluster.model_validate(document)
    control.policy_set = replace(policies, clusters={**policies.clusters, "onprem-fra": onprem})
    text = (await api.get("/api/v1/explain/chat")).json["text"]
    assert "one more H100 (17 more) saves 8.50 USD/h" in text


async def test_a_cluster_that_no_price_would_bring_in_is_told_so(api: Api, control: FakeControlPlane) -> None:
    decision = _decision(control)
    row = replace(decision.rows[CHAT_EU], gaps={"cloud-us-east": 7.0})
    control.decision = replace(decision, rows={**decision.rows, CHAT_EU: row})
    text = (await api.get("/api/v1/explain/chat")).json["text"]
    assert "cloud-us-east would not be used even if it were free" in text


async def test_the_limiter_that_changed_the_target_is_named(api: Api) -> None:
    answer = (await api.get("/api/v1/explain/chat")).json
    assert "what changed the plan's shares: step limited (from=0.5, to=0.6)" in answer["text"]
    assert answer["rows"][0]["limitedBy"][0]["message"] == "step limited"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"site": "cloud", "maxShare": "45%"}, "maxShare 45.0% of site cloud binds"),
        ({"site": "cloud", "maxShare": "40%"}, "maxShare 40.0% of site cloud cannot be kept, it is 45.0%"),
        ({"cluster": "onprem-fra", "minShare": "55%"}, "minShare 55.0% of onprem-fra binds"),
        ({"cluster": "cloud-us-east", "pin": "5%"}, "the pin of 5.0% for cloud-us-east cannot be kept, it is 0.0%"),
        ({"cluster": "cloud-eu-west", "pin": "45%"}, "the pin of 45.0% for cloud-eu-west holds"),
        ({"site": "cloud", "maxShare": "90%"}, None),
    ],
)
async def test_a_rule_on_shares_that_binds_is_told_with_the_row(
    api: Api, control: FakeControlPlane, rule: dict[str, str], told: str | None
) -> None:
    policies = example_policy()
    document = policies.policies["chat"].model_dump(by_alias=True, mode="json", exclude_unset=True)
    document["spec"]["shares"] = [rule]
    chat = TrafficPolicy.model_validate(document)
    control.policy_set = replace(policies, policies={**policies.policies, "chat": chat})
    answer = (await api.get("/api/v1/explain/chat")).json
    found = [each for each in answer["binding"] if each["kind"] == "share" and each["row"].startswith("eu-west")]
    assert [each["sentence"] for each in found] == ([told] if told else [])
    assert told is None or f"  {told}\n" in answer["text"]


async def test_a_schedule_in_force_is_told_with_its_objective_and_its_end(api: Api, control: FakeControlPlane) -> None:
    policies = example_policy()
    document = policies.policies["chat"].model_dump(by_alias=True, mode="json", exclude_unset=True)
    document["spec"]["schedules"] = [
        {"name": "always", "cron": "0 * * * *", "duration": "59m", "objective": {"minimize": "carbon"}}
    ]
    chat = TrafficPolicy.model_validate(document)
    control.policy_set = replace(policies, policies={**policies.policies, "chat": chat})
    decision = _decision(control)
    control.decision = replace(decision, at=NOW - NOW % 3600 + 60)
    answer = (await api.get("/api/v1/explain/chat")).json
    assert answer["schedules"]["inForce"] == ["always"]
    assert answer["minimize"] == "carbon"
    assert "minimize carbon" in answer["text"]
    assert "Schedule always in force until" in answer["text"]


async def test_the_recorded_decision_that_stands_for_one_that_changed_only_figures_is_named(
    api: Api, control: FakeControlPlane
) -> None:
    control.decision = replace(_decision(control), id="dec3")
    answer = (await api.get("/api/v1/explain/chat")).json
    assert answer["decision"]["recordedAs"] == "dec2"
    assert "The latest recorded is dec2" in answer["text"]
    control.store_fails = True
    assert (await api.get("/api/v1/explain/chat")).json["decision"]["recordedAs"] is None


@pytest.mark.parametrize("at", [f"{NOW - 30}", "30s", "2027-01-15T07:59:30Z", "2027-01-15T08:59:30+01:00"])
async def test_a_past_moment_is_explained_from_the_record(api: Api, at: str) -> None:
    answer = await api.get("/api/v1/explain/chat", params={"at": at})
    assert answer.status == 200, answer.text
    decision = answer.json["decision"]
    assert (decision["id"], decision["inForce"], decision["replacedAt"]) == ("dec1", False, "2027-01-15T07:59:59.000Z")
    assert answer.json["rows"][0]["weights"][0]["share"] == 1.0
    assert "Replaced at 2027-01-15 07:59:59 UTC" in answer.json["text"]
    assert "what was observed is not recorded" in answer.json["text"]


async def test_a_recorded_decision_is_explained_by_its_id_with_what_it_was_made_of(
    api: Api, control: FakeControlPlane
) -> None:
    control.past_inputs = DecisionInputs("d1ge57", example_observations(), Overrides(), None, NOW - 60)
    answer = (await api.get("/api/v1/explain/chat?decision=dec2")).json
    assert answer["decision"]["id"] == "dec2"
    assert answer["inputs"][0]["probes"]["endpoints"] == 1


async def test_a_moment_before_the_first_record_and_an_unknown_decision_are_404(api: Api) -> None:
    early = await api.get("/api/v1/explain/chat?at=3d")
    assert (early.status, early.json["type"]) == (404, "urn:penstock:problem:no-decision-then")
    unknown = await api.get("/api/v1/explain/chat?decision=beef")
    assert unknown.status == 404
    assert "change nothing but figures are not" in unknown.json["detail"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("at=yesterday", "expected a moment such as"),
        ("at=2027-01-15T07:59:30", "expected a time zone"),
        ("at=2999-01-01T00:00:00Z", "has passed"),
        ("at=nan", "expected a moment such as"),
        ("at=1s&decision=dec1", "not both"),
        ("at=1s&at=2s", "given twice"),
        ("when=1s", "unknown field"),
        ("what-if=pigs:fly", "expected price:CLUSTER=USD"),
        ("what-if=down:onprem-far", "did you mean 'onprem-fra'"),
    ],
)
async def test_a_question_that_cannot_be_understood_is_422_in_words(api: Api, query: str, told: str) -> None:
    answer = await api.get(f"/api/v1/explain/chat?{query}")
    assert answer.status == 422
    assert told in answer.json["detail"]


async def test_a_past_decision_whose_policy_is_not_stored_is_explained_by_the_one_in_force_if_it_is_the_same(
    api: Api, control: FakeControlPlane
) -> None:
    control.past_policy = None
    assert (await api.get("/api/v1/explain/chat?decision=dec1")).status == 200
    control.policy_set = replace(example_policy(), digest="other")
    answer = await api.get("/api/v1/explain/chat?decision=dec1")
    assert (answer.status, answer.json["type"]) == (409, "urn:penstock:problem:policy-not-stored")


async def test_a_record_that_this_version_cannot_read_is_409(api: Api, control: FakeControlPlane) -> None:
    control.decisions = [replace(stored(example_decision()), json='{"from":"the future"}')]
    answer = await api.get("/api/v1/explain/chat?decision=dec2")
    assert (answer.status, answer.json["type"]) == (409, "urn:penstock:problem:decision-unreadable")


async def test_suppositions_are_answered_beside_what_is(api: Api) -> None:
    answer = await api.get("/api/v1/explain/chat?what-if=down:onprem-fra&what-if=price:cloud-eu-west=0.1")
    assert answer.status == 200, answer.text
    supposed = answer.json["whatIf"]
    assert supposed["suppositions"] == ["down:onprem-fra", "price:cloud-eu-west=0.1"]
    eu = next(row for row in supposed["rows"] if (row["policy"], row["region"]) == ("chat", "eu-west"))
    assert eu["shares"]["before"].get("onprem-fra", 0.0) > 0
    assert "onprem-fra" not in eu["shares"]["after"]
    records = [row for row in supposed["rows"] if row["policy"] == "records"]
    assert records, "what it would do to other policies is told too"
    assert answer.json["text"].startswith("What if down:onprem-fra and price:cloud-eu-west=0.1:\n")
    assert "every cluster that may serve it is down" in answer.json["text"]


async def test_a_supposition_that_changes_nothing_says_so(api: Api) -> None:
    answer = await api.get("/api/v1/explain/records?what-if=price:cloud-us-east=50")
    assert "  nothing would change\n" in answer.json["text"]


async def test_without_recorded_inputs_nothing_can_be_supposed_of_the_past(api: Api) -> None:
    answer = await api.get("/api/v1/explain/chat?decision=dec1&what-if=down:onprem-fra")
    assert (answer.status, answer.json["type"]) == (409, "urn:penstock:problem:inputs-not-recorded")


async def test_the_past_can_be_supposed_otherwise_from_its_recorded_inputs(api: Api, control: FakeControlPlane) -> None:
    control.past_inputs = DecisionInputs("d1ge57", example_observations(), Overrides(), None, NOW - 60)
    answer = await api.get("/api/v1/explain/chat?decision=dec1&what-if=drain:onprem-fra")
    assert "onprem-fra" not in answer.json["whatIf"]["rows"][0]["shares"]["after"]


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


async def test_the_audit_log_can_be_asked_for_one_kind(api: Api, control: FakeControlPlane) -> None:
    body = {"cluster": "cloud-us-east", "for": "1h", "reason": "patch", "owner": "ann"}
    await api.ask("POST", "/api/v1/drains", json=body)
    assert (await api.get("/api/v1/audit?kind=drain")).json["items"]
    assert (await api.get("/api/v1/audit?kind=undrain")).json["items"] == []
    assert control.audited


def test_how_long_ago_is_counted_from_now() -> None:
    assert parse_moment("1h30m", NOW) == NOW - 5400
