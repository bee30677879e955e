import pytest

from penstock.plan.comparison import Plan
from penstock.plan.forbid import ForbidError, judge, parse_rules
from penstock.plan.inputs import Envoys, Inputs
from tests.plan.planning import DEAR, plan_of

CHAT = "spec: {match: {path: /v1/}, dataClass: public, clusters: [onprem, cloud]}"
RULE = "spec: {dataClass: restricted, allow: {sites: [on_prem]}}"
HOME_PRICE = ("usdPerMillionTokens: 0.1", "usdPerMillionTokens: 0.2")
EVERY_RULE = "residency,reach,drain,refused,max-shift=20%,slo,cost=10%,budget,nacked"


def broken(plan: Plan, *rules: str) -> dict[str, tuple[str, ...]]:
    return {each.rule.name: each.because for each in judge(plan, parse_rules(rules)) if each.because}


def test_an_edit_of_nothing_breaks_no_rule() -> None:
    assert broken(plan_of(), EVERY_RULE) == {}


def test_rules_may_be_listed_or_given_one_by_one() -> None:
    assert parse_rules(["residency, cost=+150%", "max-shift=5%"]) == parse_rules(["residency,cost=+150%,max-shift=5%"])
    assert [rule.limit for rule in parse_rules(["residency,cost=+150%,max-shift=5%"])] == [0.0, 1.5, 0.05]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("residence", "did you mean residency?"),
        ("max-shift", "max-shift=20%"),
        ("max-shift=120%", "from 0% to 100%"),
        ("max-shift=0.2", "percentage"),
        ("cost=much", "percentage"),
        ("cost=10", "percentage such as cost=10%; it may exceed 100%"),
        ("", "no rule in ''; there are residency"),
        (" , ", "no rule in ' , '"),
        ("slo=1%", "takes no limit"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_with_what_would(text: str, words: str) -> None:
    with pytest.raises(ForbidError, match=words.replace("?", r"\?")):
        parse_rules([text])


def test_a_loosened_residency_rule_is_caught() -> None:
    plan = plan_of((RULE, RULE.replace("[on_prem]", "[on_prem, cloud]")))
    (because,) = broken(plan, EVERY_RULE)["residency"]
    assert because.startswith("restricted data may newly go to cloud")


def test_a_new_address_for_restricted_data_is_caught_by_reach_and_not_by_residency() -> None:
    plan = plan_of(("address: 10.0.0.1", "address: 10.9.9.9"))
    assert broken(plan, "residency,reach") == {"reach": ("restricted data newly reaches 10.9.9.9:8000 of onprem",)}


def test_a_shift_is_held_against_its_limit() -> None:
    plan = plan_of((CHAT, CHAT.replace("[onprem, cloud]", "[cloud]")), demand={"chat": 20.0})
    assert "100.0% of chat/eu-west/llama would move" in broken(plan, "max-shift=99.9%")["max-shift"]
    assert broken(plan, "max-shift=100%") == {}


def test_a_dearer_bill_is_held_against_its_limit_and_a_cheaper_one_never() -> None:
    plan = plan_of(HOME_PRICE, demand={"chat": 20.0})
    assert broken(plan, "cost=99%")["cost"] == ("8.64 USD/h would become 17.28 USD/h",)
    assert broken(plan, "cost=100%") == {}
    cheaper = plan_of(("usdPerMillionTokens: 0.1", "usdPerMillionTokens: 0.05"), demand={"chat": 20.0})
    assert broken(cheaper, "cost=0%") == {}


def test_without_a_bill_the_price_of_each_policys_tokens_is_held_against_the_limit() -> None:
    assert set(broken(plan_of(HOME_PRICE), "cost=10%")["cost"]) == {
        "chat: 0.1 USD/Mtok would become 0.2 USD/Mtok",
        "records: 0.1 USD/Mtok would become 0.2 USD/Mtok",
    }


def test_load_beyond_plan_is_caught_as_a_risk_to_the_target() -> None:
    plan = plan_of((CHAT, CHAT.replace("[onprem, cloud]", "[onprem]")), demand={"chat": 200.0})
    of_chat, of_records = broken(plan, EVERY_RULE)["slo"]
    assert "of the requests of chat at risk" in of_chat
    # It shares the overloaded cluster.
    assert "of the requests of records at risk" in of_records


def test_a_drained_cluster_and_a_lost_route_are_caught() -> None:
    document = f"---\napiVersion: penstock/v1\nkind: TrafficPolicy\nmetadata: {{name: chat}}\n{CHAT}\n"
    text = DEAR.replace("usdPerMillionTokens: 0.1", "usdPerMillionTokens: 5.0")
    found = broken(plan_of((document, ""), text=text), EVERY_RULE)
    assert found["drain"] == ("cloud carries traffic and would carry none",)
    assert "requests of chat/eu-west/llama would find no route" in found["refused"]


def test_an_edit_that_touches_a_group_in_trouble_is_caught() -> None:
    trouble = Inputs(source="somewhere", envoys={"edge-eu": Envoys(connected=3, refusing=2)})
    plan = plan_of(("port: 10000", "port: 10080"), inputs=trouble)
    assert broken(plan, "nacked")["nacked"] == ("2 Envoys of edge-eu refuse their configuration now",)
    assert broken(plan_of(HOME_PRICE, inputs=trouble, demand={"chat": 1.0}), "nacked") == {}
