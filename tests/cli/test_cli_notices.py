import asyncio

import pytest

from penstock.admin.notices import NoticeRequest
from penstock.signals.notices import Announcement, NoticeKind, Report
from tests.admin.fake_control import NOW, FakeControlPlane
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("server")


def announce(control: FakeControlPlane) -> None:
    told = Announcement(
        source="plain",
        kind=NoticeKind.MAINTENANCE,
        identity="firmware-7",
        event="firmware-7",
        reason="firmware",
        at=NOW + 600,
        cluster="onprem-fra",
    )
    asyncio.run(control.take_notice(NoticeRequest(Report((told,)))))


def test_no_notice_is_said_to_stand(run: Run) -> None:
    ran = run("notices")
    assert (ran.code, ran.out.strip()) == (0, "no notice stands")


def test_notices_are_listed_and_ended(run: Run, control: FakeControlPlane) -> None:
    announce(control)
    listed = run("notices")
    for part in ("firmware-7", "onprem-fra (all)", "maintenance", "10.0 min", "cluster-drained"):
        assert part in listed.out
    assert run("notices", "-o", "json").json["items"][0]["id"] == "firmware-7"
    ended = run("notices", "end", "firmware-7", "--owner", "joe", "--reason", "postponed")
    assert (ended.code, ended.out.strip()) == (0, "Notice firmware-7 (firmware) on onprem-fra has ended.")
    assert control.noticed["firmware-7"].ended_by == "joe"
    assert "ended" in run("notices").out


def test_a_notice_that_does_not_stand_is_wrong_usage_with_the_one_that_was_meant(
    run: Run, control: FakeControlPlane
) -> None:
    announce(control)
    ran = run("notices", "end", "firmware-8")
    assert ran.code == 2
    assert "did you mean 'firmware-7'?" in ran.err
