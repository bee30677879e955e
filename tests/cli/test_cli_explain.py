"""``penstock explain`` as a user calls it."""

from dataclasses import replace

import pytest

from penstock.admin.recorded import Check, Difference, Verification
from tests.admin.fake_control import NOW, FakeControlPlane
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("server")

HOLDS = Verification("dec2", NOW - 1, (Check("audit", ok=True, detail="unbroken"),), (), "penstock 1", "penstock 1")
FORGED = Verification(
    "dec2",
    NOW - 1,
    (Check("decision", ok=False, detail="the engine gives another decision"),),
    (Difference("rows.chat.weights.onprem-fra", "1", "6000"),),
    "penstock 1",
    "penstock 2",
)


def test_a_policy_is_explained_with_inputs_and_what_binds(run: Run) -> None:
    ran = run("explain", "chat")
    assert ran.code == 0
    assert "What it went by:" in ran.out
    assert "What binds:" in ran.out
    assert run("explain", "chat", "-o", "json").json["inputs"][0]["cluster"] == "onprem-fra"


def test_a_past_moment_is_explained(run: Run) -> None:
    assert "Decision dec1 of" in run("explain", "chat", "--at", "30s").out
    assert run("explain", "chat", "--at", "2027-01-15T07:59:30Z", "-o", "json").json["decision"]["id"] == "dec1"
    assert run("explain", "chat", "--decision", "dec1", "-o", "json").json["decision"]["id"] == "dec1"


def test_several_things_are_supposed_at_once(run: Run) -> None:
    ran = run("explain", "chat", "--what-if", "down:onprem-fra", "--what-if", "price:cloud-eu-west=0.4")
    assert ran.out.startswith("What if down:onprem-fra and price:cloud-eu-west=0.4:\n")


def test_a_supposition_that_cannot_be_understood_is_wrong_usage(run: Run) -> None:
    ran = run("explain", "chat", "--what-if", "down:onprem-far")
    assert ran.code == 2
    assert "did you mean 'onprem-fra'" in ran.err


def test_a_record_that_holds_is_verified(run: Run, control: FakeControlPlane) -> None:
    control.verifications["dec2"] = HOLDS
    ran = run("explain", "--decision", "dec2", "--verify")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "verified")
    assert run("explain", "--decision", "dec2", "--verify", "-o", "json").json["verified"] is True


def test_a_record_that_does_not_hold_is_a_finding_with_the_places(run: Run, control: FakeControlPlane) -> None:
    control.verifications["dec2"] = FORGED
    ran = run("explain", "--decision", "dec2", "--verify")
    assert ran.code == 1
    assert "rows.chat.weights.onprem-fra" in ran.out
    assert "decided by penstock 1; verified by penstock 2" in ran.out
    assert ran.out.splitlines()[-1] == "NOT VERIFIED"


def test_an_unrecorded_decision_is_told_to_be_one(run: Run, control: FakeControlPlane) -> None:
    control.verifications["dec2"] = replace(HOLDS)
    ran = run("explain", "--decision", "beef", "--verify")
    assert ran.code == 2
    assert "no decision 'beef' is recorded" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--verify"],
        ["--decision", "dec2"],
        ["chat", "--decision", "dec2", "--at", "1m"],
        ["--decision", "dec2", "--verify", "--what-if", "down:onprem-fra"],
    ],
)
def test_questions_that_make_no_sense_are_wrong_usage(run: Run, arguments: list[str]) -> None:
    assert run("explain", *arguments).code == 2
