import json
import re

from penstock.plan.as_json import as_json
from penstock.plan.forbid import judge, parse_rules
from penstock.plan.inputs import Envoys, Inputs
from penstock.plan.markdown import MARKER, MOST_ROWS, as_markdown, problems_as_markdown
from penstock.plan.report import headline, sections
from tests.plan.planning import DEAR, plan_of

HOME_PRICE = ("usdPerMillionTokens: 0.1", "usdPerMillionTokens: 5.0")
RULE = "spec: {dataClass: restricted, allow: {sites: [on_prem]}}"


def test_nothing_is_told_in_one_sentence() -> None:
    plan = plan_of()
    assert headline(plan) == "Nothing changes."
    assert sections(plan, ()) == ()


def test_the_report_names_what_moves_what_it_costs_and_who_is_sent_it() -> None:
    inputs = Inputs(source="http://penstock", envoys={"edge-eu": Envoys(connected=3)})
    plan = plan_of(HOME_PRICE, (RULE, RULE.replace("[on_prem]", "[on_prem, cloud]")), inputs=inputs)
    told = {section.title: section for section in sections(plan, judge(plan, parse_rules(["residency,slo"])))}
    assert list(told) == ["Policy", "Weights", "Residency", "Cost and service", "Envoy configuration", "Rules"]
    assert "spec.cost.usdPerMillionTokens: 0.1 -> 5" in [line.text for line in told["Policy"].lines]
    assert ("~ chat/eu-west/llama", "0.0", "cloud", "0.0%", "100.0%", "100.0%") in told["Weights"].tables[0].rows
    assert told["Residency"].lines[0].text.startswith("LOOSENED: restricted data may newly go to cloud")
    assert any("3 Envoys connected" in line.text for line in told["Envoy configuration"].lines)
    assert [line.text for line in told["Rules"].lines if line.level == 0] == ["residency: broken", "slo: kept"]
    alarm = "Alarms: residency LOOSENED for restricted data. Changes: 2 documents"
    assert headline(plan).startswith(alarm)
    assert f"**{alarm}" in as_markdown(plan, ())


def test_markdown_can_be_found_again_and_says_when_a_rule_is_broken() -> None:
    plan = plan_of(HOME_PRICE)
    text = as_markdown(plan, judge(plan, parse_rules(["max-shift=10%"])))
    assert text.startswith(f"{MARKER}\n\n### Penstock plan: broken\n")
    assert "| chat/eu-west/llama" not in text
    assert "| &#126; chat/eu-west/llama | 0.0 | cloud | 0.0% | 100.0% | 100.0% |" in text
    assert as_markdown(plan, ()).splitlines()[2] == "### Penstock plan"


def test_what_a_policy_calls_its_models_is_never_markup() -> None:
    hostile = "[x](https://evil.example)|@everyone<img src=x>`*_"
    text = as_markdown(plan_of(HOME_PRICE, text=DEAR.replace("models: [llama]", f"models: ['{hostile}']")), ())
    assert "evil.example" in text
    for markup in ("[x]", "://evil", "|@", "@everyone", "<img", "`*", "*_"):
        assert markup not in text
    lines = [line for line in text.splitlines() if "everyone" in line and line.startswith("|")]
    assert lines
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in lines)


def test_a_comment_stays_within_what_a_pull_request_takes() -> None:
    models = ", ".join(f"model-{number:03}" for number in range(200))
    text = as_markdown(plan_of(HOME_PRICE, text=DEAR.replace("models: [llama]", f"models: [{models}]")), ())
    assert len(text) < 65_536
    assert text.count("model-") <= MOST_ROWS
    assert re.search(r"\| and \d+ more \|", text)


def test_problems_of_a_directory_are_told_in_markdown_too() -> None:
    text = problems_as_markdown(["a.yaml:3:1: unknown field <b>"])
    assert text.startswith(MARKER)
    assert "- a.yaml:3:1: unknown field &#60;b&#62;" in text


def test_json_holds_everything_for_programs() -> None:
    plan = plan_of(HOME_PRICE, demand={"chat": 20.0})
    told = json.loads(json.dumps(as_json(plan, judge(plan, parse_rules(["cost=10%"]))), allow_nan=False))
    assert (told["valid"], told["changed"]) == (True, True)
    assert told["documents"][0]["fields"] == [{"path": "spec.cost.usdPerMillionTokens", "before": "0.1", "after": "5"}]
    (chat,) = [each for each in told["weights"] if (each["policy"], each["model"]) == ("chat", "llama")]
    assert (chat["before"], chat["after"]) == ({"onprem": 1.0}, {"cloud": 1.0})
    assert chat["requestsPerSecond"] == 20.0
    assert told["after"]["usdPerHour"] > told["before"]["usdPerHour"] > 0
    assert told["groups"][0]["envoys"] is None
    assert told["groups"][0]["resources"][0]["type"] == "RDS"
    assert told["rules"] == [{"rule": "cost=10%", "broken": True, "because": told["rules"][0]["because"]}]
    assert told["inputs"] == {
        "source": None,
        "at": "2027-01-15T08:00:00.000Z",
        "decision": told["inputs"]["decision"],
        "policyDigest": None,
    }
