"""``GET /api/v1/explain``: what was known, what binds, what was, what would be; and the verification of a record."""

from dataclasses import replace

import pytest

from penstock.admin.moment import parse_moment
from penstock.admin.note_text import note_text
from penstock.admin.observed import MEAN_SECONDS
from penstock_policies.decision import BudgetView, Decision, Note, Stage
from penstock_policies.engine import budgets as engine_budgets
from penstock_policies.inputs import DecisionInputs
from penstock_policies.observations import Spend
from penstock_policies.overrides import Overrides
from penstock_policies.schema import Budget, Cluster, TrafficPolicy
from penstock_policies.serial import row_name
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
from tests.admin.fake_control import document as fixture_document


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
    assert "what changed the plan's shares: step limited (from 50.0%, to 60.0%)" in answer["text"]
    assert answer["text"].count("step limited") == len(answer["rows"])
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
    control.standing["dec3"] = "dec2"
    answer = (await api.get("/api/v1/explain/chat")).json
    assert answer["decision"]["recordedAs"] == "dec2"
    assert "`penstock explain --decision dec2 --verify` verifies it" in answer["text"]


@pytest.mark.parametrize(
    "at",
    [
        f"{NOW - 30}",
        "30s",
        "2027-01-15T07:59:30Z",
        "2027-01-15T08:59:30+01:00",
        "2027-01-15T07:59:30",
        "2027-01-15 07:59:30.0",
        "07:59:30",
        "7:59:30.0",
    ],
)
async def test_a_past_moment_is_explained_from_the_record(api: Api, at: str) -> None:
    answer = await api.get("/api/v1/explain/chat", params={"at": at})
    assert answer.status == 200, answer.text
    decision = answer.json["decision"]
    assert (decision["id"], decision["inForce"], decision["replacedAt"]) == ("dec1", False, "2027-01-15T07:59:59.000Z")
    assert answer.json["rows"][0]["weights"][0]["share"] == 1.0
    assert "Replaced at 2027-01-15 07:59:59 UTC" in answer.json["text"]
    assert "Its figures are 30 s older than asked." in answer.json["text"]
    assert decision["olderThanAskedSeconds"] == pytest.approx(30.0)
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
    assert "only one a minute is: ask for the one in force at a time" in unknown.json["detail"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("at=yesterday", "expected a moment such as"),
        ("at=20270115", "expected a moment such as"),
        ("at=25:00", "expected a moment such as"),
        ("at=2999-01-01T00:00:00Z", "has passed"),
        ("at=08:01", "'08:01' is 2027-01-15 08:01:00 UTC"),
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
    as_is, what_if = answer.json["text"].split("\nWhat if down:onprem-fra and price:cloud-eu-west=0.1:\n")
    assert as_is.startswith("As things are now:\n\nPolicy chat:")
    assert "every cluster that may serve it is down" in what_if
    assert what_if.index("UNSERVED: records") < what_if.index("  cost ")


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


async def test_the_audit_log_can_be_asked_for_one_kind(api: Api, control: FakeControlPlane) -> None:
    body = {"cluster": "cloud-us-east", "for": "1h", "reason": "patch", "owner": "ann"}
    await api.ask("POST", "/api/v1/drains", json=body)
    assert (await api.get("/api/v1/audit?kind=drain")).json["items"]
    assert (await api.get("/api/v1/audit?kind=undrain")).json["items"] == []
    assert control.audited


def test_how_long_ago_is_counted_from_now() -> None:
    assert parse_moment("1h30m", NOW) == NOW - 5400


async def test_a_saving_that_overloads_a_cluster_is_said_to_be_none(api: Api, control: FakeControlPlane) -> None:
    decision = _decision(control)
    busy = {row_name(CHAT_EU): 900.0}
    control.decision = replace(decision, memory=replace(decision.memory, demand=busy, service_time={"onprem-fra": 1.0}))
    query = "what-if=drain:cloud-eu-west&what-if=drain:cloud-us-east"
    lines = (await api.get(f"/api/v1/explain/chat?{query}")).json["text"].splitlines()
    told = lines[lines.index("What if drain:cloud-eu-west and drain:cloud-us-east:") + 1 :]
    assert told[0].startswith("  OVERLOADED: onprem-fra would have ")
    assert "no saving, as not all of it is served" in told[1]


async def test_the_rest_of_the_fleet_is_told_with_the_rule_that_would_forbid_it(api: Api) -> None:
    answer = (await api.get("/api/v1/explain/records")).json
    assert [(each["cluster"], each["residencyRule"]) for each in answer["notNamed"]] == [
        ("cloud-eu-west", "default"),
        ("cloud-us-east", "default"),
    ]
    line = (
        "  not named by this policy, and residency rule default allows restricted data only at on_prem: "
        "cloud-eu-west, cloud-us-east\n"
    )
    assert line in answer["text"]
    assert (await api.get("/api/v1/explain/chat")).json["notNamed"] == []


async def test_a_cluster_that_no_rule_forbids_is_merely_not_named(api: Api, control: FakeControlPlane) -> None:
    control.policy_set = replace(example_policy(), residency={})
    answer = (await api.get("/api/v1/explain/records")).json
    assert {each["residencyRule"] for each in answer["notNamed"]} == {None}
    assert "  not named by this policy: cloud-eu-west, cloud-us-east\n" in answer["text"]


async def test_carbon_and_spending_are_shown_with_their_ages(api: Api, control: FakeControlPlane) -> None:
    policies = example_policy()
    document = policies.clusters["cloud-eu-west"].model_dump(by_alias=True, mode="json", exclude_unset=True)
    document["spec"]["carbon"] = {"feed": "cloud-prices", "key": "grid-eu"}
    budget = {"amount": 1000, "per": "day", "scope": {"site": "cloud"}}
    clusters = {**policies.clusters, "cloud-eu-west": Cluster.model_validate(document)}
    budgets = {"cloud": Budget.model_validate(fixture_document("Budget", "cloud", budget))}
    control.policy_set = replace(policies, clusters=clusters, budgets=budgets)
    decision = _decision(control)
    view = replace(decision.clusters["cloud-eu-west"], carbon=120.0, carbon_source="feed cloud-prices")
    control.decision = replace(
        decision,
        clusters={**decision.clusters, "cloud-eu-west": view},
        memory=replace(decision.memory, carbon={"cloud-prices": {"grid-eu": (120.0, decision.at - 200)}}),
        budgets={"cloud": BudgetView(1000.0, 400.0, NOW - 3600, NOW + 3600, 25.0, 425.0)},
    )
    control.seen = replace(example_observations(), spend={"cloud": Spend(NOW - 7, NOW - 3600, 400.0)})
    answer = (await api.get("/api/v1/explain/chat")).json
    assert answer["inputs"][1]["carbon"]["ageSeconds"] == pytest.approx(200.0)
    assert answer["budgets"]["cloud"]["spentAgeSeconds"] == pytest.approx(7.0)
    assert "carbon 200 s old" in answer["text"]
    assert "counted 7 s ago; 25.00 USD/h now as a mean over about 15 min" in answer["text"]


def test_the_mean_that_is_told_is_the_engines_own() -> None:
    assert MEAN_SECONDS == engine_budgets._BURN


async def test_every_policy_is_explained_where_none_is_named(api: Api) -> None:
    answer = (await api.get("/api/v1/explain?decision=dec1")).json
    assert [each["policy"] for each in answer["items"]] == ["chat", "records"]
    assert "Policy chat:" in answer["text"]
    assert "Policy records:" in answer["text"]
    assert (await api.get("/api/v1/explain?what-if=down:onprem-fra")).status == 422


async def test_notes_are_told_in_units_and_budgets_once(api: Api, control: FakeControlPlane) -> None:
    _tight(control)
    decision = _decision(control)
    waits = Note(
        Stage.LIMIT,
        "waits out its dwell",
        {"dwell": 5.0, "gap": 0.12052013800000003, "move": "load", "waited": 1.0107321739196777},
    )
    rows = {key: replace(row, notes=(waits,)) for key, row in decision.rows.items()}
    fleet = (Note(Stage.SOLVE, "budget paced", {"forecast": 972.6819550278263, "limit": 2.0}),)
    control.decision = replace(decision, rows=rows, notes=fleet)
    text = (await api.get("/api/v1/explain/records")).json["text"]
    assert "waits out its dwell, 1.0 s of 5 s: 12.1% still to move, for load" in text
    assert "972.68" not in text
    assert note_text(fleet[0]) == "budget paced (forecast 972.68 USD, limit 2.00 USD/h)"
