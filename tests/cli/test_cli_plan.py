"""``penstock plan`` as a pipeline calls it: what it prints, and above all how it ends."""

import json
import shutil
from pathlib import Path

import pytest

from penstock_policies.engine import decide
from penstock_policies.loader import load
from penstock_policies.observations import Load, Observations, Price
from tests.admin.fake_control import NOW, FakeControlPlane
from tests.cli.conftest import Run

EXAMPLE = Path(__file__).parents[2] / "policies" / "examples" / "hybrid"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "main"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "branch"))


def edit(directory: Path, old: str, new: str) -> None:
    file = directory / "policy.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def make_home_dear(directory: Path) -> None:
    edit(directory, "usdPerMillionTokens: 0.02", "usdPerMillionTokens: 5.0")


class Live(FakeControlPlane):
    """A control plane that has the example in force, under load."""

    def __init__(self) -> None:
        super().__init__()
        text = (EXAMPLE / "policy.yaml").read_text()
        self.policy_set = load({"policy.yaml": text}).require()
        self.files = {self.policy_set.digest: {"policy.yaml": text}}
        prices = {"cloud-prices": {"eu-west/llama-3-70b": Price(NOW - 1, 0.9)}}
        self.seen = Observations(
            load={"eu-west": {"onprem-fra": Load(NOW - 1, 40.0, 40.0, 0.0, success_rate=40.0)}}, prices=prices
        )
        self.decision = decide(self.policy_set, self.seen, self.overrides, None, NOW - 1)

    def observations(self) -> Observations:
        return self.seen


@pytest.fixture
def control() -> FakeControlPlane:
    return Live()


def test_an_edit_of_nothing_ends_with_0_and_one_of_something_with_2(run: Run, base: Path, directory: Path) -> None:
    same = run("plan", str(directory), "--base", str(base))
    assert (same.code, same.out.splitlines()[0]) == (0, "Nothing changes.")
    make_home_dear(directory)
    changed = run("plan", str(directory), "--against", str(base))
    assert changed.code == 2
    assert "spec.cost.usdPerMillionTokens: 0.02 -> 5" in changed.out


def test_without_a_server_the_cost_is_of_the_load_that_is_assumed(run: Run, base: Path, directory: Path) -> None:
    make_home_dear(directory)
    arguments = ("plan", str(directory), "--base", str(base), "--at", "2026-11-24T12:00:00Z", "-o", "json")
    plan = run(*arguments, "--demand", "chat=20").json
    assert plan["before"]["requestsPerSecond"] == pytest.approx(20.0)
    assert plan["after"]["usdPerHour"] > plan["before"]["usdPerHour"] > 0
    assert plan["inputs"]["at"] == "2026-11-24T12:00:00.000Z"
    assert run(*arguments).json["before"]["usdPerHour"] == 0


@pytest.mark.parametrize(
    "at", ["2026-11-24T12:00:00Z", "2026-11-24T12:00", "2026-11-24 13:00:00.0+01:00", "1795521600", "1795521600.0"]
)
def test_the_time_to_plan_for_may_be_given_in_the_forms_that_explain_takes(run: Run, base: Path, at: str) -> None:
    plan = run("plan", str(base), "--base", str(base), "--at", at, "-o", "json").json
    assert plan["inputs"]["at"] == "2026-11-24T12:00:00.000Z"
    assert plan["valid"] is True


def test_a_time_to_plan_for_may_be_to_come_or_some_time_ago(run: Run, base: Path) -> None:
    for at in ("2999-01-01", "15m", "23:59"):
        assert run("plan", str(base), "--base", str(base), "--at", at).code == 0


def test_the_same_inputs_give_the_same_plan_to_the_byte(run: Run, base: Path, directory: Path) -> None:
    make_home_dear(directory)
    arguments = ("plan", str(directory), "--base", str(base), "--at", "2026-11-24", "-o", "markdown")
    assert run(*arguments).out == run(*arguments).out


def test_a_running_control_plane_is_planned_against_on_what_it_knows(run: Run, server: str, directory: Path) -> None:
    assert run("plan", str(directory)).code == 0
    make_home_dear(directory)
    ran = run("plan", str(directory), "--server", server, "-o", "json")
    assert ran.code == 2
    plan = ran.json
    assert plan["inputs"]["source"] == server
    assert plan["before"]["requestsPerSecond"] > 0
    assert plan["groups"][0]["envoys"] == {"connected": 1, "refusing": 0}


def test_a_password_of_the_servers_url_is_not_in_the_plan(run: Run, server: str, directory: Path) -> None:
    ran = run("plan", str(directory), "--server", server.replace("://", "://ada:s3cret@"), "-o", "markdown")
    assert ran.code == 0
    assert "s3cret" not in ran.out + ran.err


def test_saved_inputs_give_the_plan_that_the_server_gave(
    run: Run, server: str, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penstock.cli.client import call  # noqa: PLC0415 - the test's own way to save them

    make_home_dear(directory)
    live = run("plan", str(directory), "-o", "json").json
    saved = tmp_path / "inputs.json"
    saved.write_text(json.dumps(call(server, "GET", "/api/v1/inputs")))
    monkeypatch.delenv("PENSTOCK_SERVER")
    again = run("plan", str(directory), "--inputs", str(saved), "-o", "json").json
    live["inputs"]["source"] = again["inputs"]["source"] = None
    assert again == live


def test_a_broken_rule_ends_with_1_and_is_named(run: Run, base: Path, directory: Path) -> None:
    edit(directory, "allow: {sites: [on_prem]}", "allow: {sites: [on_prem, cloud]}")
    arguments = ("plan", str(directory), "--base", str(base))
    assert run(*arguments, "--forbid", "drain,max-shift=20%").code == 2
    ran = run(*arguments, "--forbid", "drain", "--forbid", "residency")
    assert ran.code == 1
    assert "residency: broken" in ran.out
    assert "restricted data may newly go to cloud-eu-west" in ran.out


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_policies_with_errors_end_with_1_and_are_told_in_the_form_asked_for(
    run: Run, base: Path, directory: Path, form: str
) -> None:
    (directory / "broken.yaml").write_text("kind: Clutser\n")
    ran = run("plan", str(directory), "--base", str(base), "-o", form)
    assert ran.code == 1
    assert "broken.yaml" in ran.out
    if form == "json":
        assert ran.json["valid"] is False
        assert ran.json["refusedBecause"] == "the policies cannot be used: 2 errors"
    if form == "text":
        assert "broken.yaml:1:7" in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to compare with"),
        (("--server", "127.0.0.1:1"), "cannot reach Penstock at http://127.0.0.1:1: nothing listens there"),
        (("--base", ".", "--at", "noonish"), "--at 'noonish': expected a moment such as 2026-03-01T02:00:00Z"),
        (("--base", ".", "--forbid", ""), "no rule in ''"),
        (("--base", ".", "--forbid", ","), "no rule in ','"),
        (("--inputs", "/nowhere/inputs.json"), "cannot read"),
        (("--base", "/nowhere"), "is no directory"),
        (("--forbid", "everything"), "no rule 'everything'"),
        (("--base", ".", "--output", "jsn"), "expected text, json or markdown, not 'jsn'; did you mean json?"),
        (("--bass", "."), "--bass"),
    ],
)
def test_no_plan_ends_with_1_never_with_the_2_of_changes(
    run: Run, directory: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = run("plan", str(directory), *arguments)
    assert ran.code == 1
    assert words in ran.err
    assert ran.out == ""


def test_assumptions_do_not_mix_with_live_inputs(run: Run, server: str, directory: Path) -> None:
    for option in (("--demand", "chat=1"), ("--at", "2026-11-24")):
        ran = run("plan", str(directory), *option)
        assert ran.code == 1
        assert "without live inputs" in ran.err


def test_an_unknown_policy_is_not_assumed_to_carry_anything(run: Run, base: Path, directory: Path) -> None:
    ran = run("plan", str(directory), "--base", str(base), "--demand", "chatt=1")
    assert ran.code == 1
    assert "did you mean chat?" in ran.err


def test_a_policy_in_force_that_is_not_on_record_asks_for_a_base(
    run: Run, server: str, control: FakeControlPlane, base: Path, directory: Path
) -> None:
    control.files = {}
    ran = run("plan", str(directory))
    assert ran.code == 1
    assert "give --base DIR" in ran.err
    assert run("plan", str(directory), "--base", str(base)).code == 0


def test_a_feed_that_cannot_be_read_is_told(run: Run, base: Path, directory: Path) -> None:
    for each in (base, directory):
        (each / "prices.json").unlink()
    ran = run("plan", str(directory), "--base", str(base))
    assert ran.code == 0
    assert "feed cloud-prices is not read" in ran.err
