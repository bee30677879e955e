import json
from dataclasses import replace

import pytest

from penstock.plan.assumed import AssumptionError, parse_assumptions
from penstock.plan.inputs import Envoys, InputsError, inputs_document, parse_inputs
from penstock_policies.engine import decide
from penstock_policies.inputs import DecisionInputs
from penstock_policies.observations import EndpointProbe, Load, Observations
from penstock_policies.overrides import Drain, Overrides
from tests.plan.planning import DEAR, NOW, policies

POLICY = policies(DEAR)


def inputs() -> DecisionInputs:
    observations = Observations(
        probes={"onprem": {"10.0.0.1:8000": EndpointProbe(NOW, 3, 0, 0.1)}},
        load={"eu-west": {"onprem": Load(NOW, 20.0, 10.0, float("nan"))}},
    )
    overrides = Overrides({"cloud": Drain("cloud", NOW - 1, NOW + 60, "maintenance", "ada")})
    decision = decide(POLICY, observations, overrides, None, NOW)
    return DecisionInputs(POLICY.digest, observations, overrides, decision, NOW + 1)


def test_what_a_server_knows_comes_through_whole() -> None:
    given = inputs()
    text = inputs_document(given, {"policy.yaml": DEAR}, {"edge-eu": Envoys(3, 1)})
    read = parse_inputs(text, "there")
    assert (read.source, read.at, read.decision) == ("there", NOW + 1, given.previous)
    assert read.overrides == given.overrides
    assert read.observations.probes == given.observations.probes
    assert read.policy is not None
    assert read.policy.digest == read.policy_digest == POLICY.digest
    assert read.envoys == {"edge-eu": Envoys(3, 1)}


def test_the_same_inputs_are_the_same_bytes_whatever_the_order_of_what_they_hold() -> None:
    given = inputs()
    load = given.observations.load["eu-west"]["onprem"]
    facts = replace(given.observations, load={"eu-west": {"onprem": load, "cloud": load}})
    turned = replace(given.observations, load={"eu-west": {"cloud": load, "onprem": load}})
    envoys = {"a": Envoys(1, 0), "b": Envoys(2, 1)}
    files = {"a.yaml": "a", "b.yaml": "b"}
    text = inputs_document(replace(given, observations=facts), files, envoys)
    again = replace(given, observations=turned)
    assert text == inputs_document(again, dict(reversed(files.items())), dict(reversed(envoys.items())))
    assert list(json.loads(text)) == ["envoys", "files", "format", "inputs"]


def test_credentials_in_urls_of_the_policy_stay_at_home_and_lines_where_they_are() -> None:
    secret = "---\nspec:\n  url: https://ada:s3cret@prices.example.com/v1 # https://b:c@d\n  maxAge: 10m\n"
    text = inputs_document(inputs(), {"feed.yaml": secret}, {})
    assert "s3cret" not in text
    (told,) = json.loads(text)["files"].values()
    assert told == secret.replace("ada:s3cret", "***").replace("b:c", "***")


def test_a_policy_whose_text_is_not_known_is_told_by_its_digest() -> None:
    read = parse_inputs(inputs_document(inputs(), None, {}), "there")
    assert (read.policy, read.policy_digest) == (None, POLICY.digest)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "inputs": {}, "files": null}'])
def test_another_document_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InputsError, match=r"saved\.json"):
        parse_inputs(text, "saved.json")


def test_a_policy_that_this_version_cannot_read_is_refused() -> None:
    text = inputs_document(replace(inputs(), previous=None), {"policy.yaml": "kind: Novelty\n"}, {})
    with pytest.raises(InputsError, match="cannot be read by this version"):
        parse_inputs(text, "there")


@pytest.mark.parametrize("text", ["chat", "chat=", "chat=many", "chat=-1", "chat=nan", "chat=inf"])
def test_an_assumption_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(AssumptionError, match="chat"):
        parse_assumptions([text])


def test_an_assumption_is_made_once() -> None:
    assert parse_assumptions(["chat=2.5", "records=0"]) == {"chat": 2.5, "records": 0.0}
    with pytest.raises(AssumptionError, match="twice"):
        parse_assumptions(["chat=1", "chat=2"])
