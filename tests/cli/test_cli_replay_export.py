"""``penstock decisions``: a list for people, and the log that ``penstock replay`` reads."""

from dataclasses import replace

from tests.admin.fake_control import FakeControlPlane
from tests.cli.conftest import Run


def test_decisions_are_listed_with_what_they_changed(run: Run, server: str) -> None:
    ran = run("decisions")
    assert ran.code == 0
    assert "dec2" in ran.out
    assert "weights of" in ran.out
    assert len(run("decisions", "-o", "json").json["items"]) == 2


def test_the_export_is_what_is_recorded_newest_first_and_counts_on_standard_error(
    run: Run, server: str, control: FakeControlPlane
) -> None:
    ran = run("decisions", "--export")
    assert ran.out == "".join(f"{each.json}\n" for each in control.decisions)
    assert "2 decisions exported" in ran.err
    newest = control.decisions[0]
    assert run("decisions", "--export", "--until", f"{newest.at:.3f}").out == f"{control.decisions[1].json}\n"
    assert run("decisions", "--export", "--since", f"{newest.at:.3f}").out == f"{newest.json}\n"


def test_an_export_longer_than_a_page_is_whole(run: Run, server: str, control: FakeControlPlane) -> None:
    first = control.decisions[0]
    control.decisions = [replace(first, id=f"d{number}", at=first.at - number) for number in range(130)]
    assert len(run("decisions", "--export").out.splitlines()) == 130
    assert len(run("decisions", "--export", "--since", f"{first.at - 60:.3f}").out.splitlines()) == 61


def test_what_cannot_be_exported_is_said(run: Run, server: str, control: FakeControlPlane) -> None:
    assert run("decisions", "--export", "--since", "soon").code == 2
    assert "expected a moment" in run("decisions", "--export", "--since", "soon").err
    assert "go with --export" in run("decisions", "--since", "1h").err
    control.store_fails = True
    assert run("decisions", "--export").code == 2
    refused = run("decisions", "--export", "--server", "http://127.0.0.1:9")
    assert refused.code == 2
    assert "is `penstock serve` running there?" in refused.err
