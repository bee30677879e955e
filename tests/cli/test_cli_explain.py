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
    "penstock 1",
)
CODE = Check("decision", ok=False, detail="the engine gives another decision", of_code=True)
ELSEWHERE = replace(
    FORGED, checks=(Check("record", ok=True, detail="is what entry 3 says"), CODE), engine_here="penstock 2"
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
    heading = "\nWhat if down:onprem-fra and price:cloud-eu-west=0.4:\n"
    assert ran.out.startswith("As things are now:\n")
    assert ran.out.index(heading) > ran.out.index("What binds:")


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
    assert ran.out.splitlines()[-1] == "NOT VERIFIED"


def test_a_record_that_other_code_made_is_told_to_be_untampered_and_exits_with_3(
    run: Run, control: FakeControlPlane
) -> None:
    control.verifications["dec2"] = ELSEWHERE
    ran = run("explain", "--decision", "dec2", "--verify")
    assert (ran.code, ran.out.splitlines()[-1]) == (3, "made by other code")
    assert "The record is what was written" in ran.out
    assert "NOT VERIFIED" not in ran.out
    assert "FAILED" not in ran.out
    assert "decided by:  penstock 1" in ran.out
    assert "verified by: penstock 2" in ran.out
    answer = run("explain", "--decision", "dec2", "--verify", "-o", "json").json
    assert (answer["verdict"], answer["untampered"], answer["verified"]) == ("made-by-other-code", True, False)


def test_of_figures_alone_no_more_is_said_than_the_audit_log_proves(run: Run, control: FakeControlPlane) -> None:
    control.verifications["dec2"] = replace(ELSEWHERE, vouched=False)
    ran = run("explain", "--decision", "dec2", "--verify")
    assert ran.code == 3
    assert "But for its figures, for which nothing vouches" in ran.out
    assert "The record is what was written" not in ran.out


def test_other_code_excuses_no_record_that_was_changed(run: Run, control: FakeControlPlane) -> None:
    changed = Check("record", ok=False, detail="is not what entry 3 says")
    control.verifications["dec2"] = replace(ELSEWHERE, checks=(changed, CODE))
    assert run("explain", "--decision", "dec2", "--verify").code == 1


def test_without_a_policy_every_policy_is_explained_as_of_a_decision_or_a_moment(run: Run) -> None:
    for question in (("--decision", "dec1"), ("--at", "30s")):
        ran = run("explain", *question)
        assert ran.code == 0
        assert "Policy chat:" in ran.out
        assert "Policy records:" in ran.out


def test_a_decision_that_changed_only_figures_leads_to_the_record_that_stands_for_it(
    run: Run, control: FakeControlPlane
) -> None:
    control.standing["dec3"] = "dec2"
    ran = run("explain", "--decision", "dec3", "--verify")
    assert ran.code == 2
    assert "dec2, which says the same of all else, is: ask for that one" in ran.err


def test_a_wrong_choice_is_told_in_plain_words(run: Run) -> None:
    ran = run("explain", "chat", "-o", "tabel")
    assert ran.code == 2
    told = " ".join(ran.err.replace("│", " ").split())
    assert "expected table or json, not 'tabel'; did you mean table?" in told
    assert "Value error" not in told


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
        ["--decision", "dec2", "--what-if", "down:onprem-fra"],
        ["chat", "--decision", "dec2", "--at", "1m"],
        ["--decision", "dec2", "--verify", "--what-if", "down:onprem-fra"],
    ],
)
def test_questions_that_make_no_sense_are_wrong_usage(run: Run, arguments: list[str]) -> None:
    assert run("explain", *arguments).code == 2
