"""How probe results are judged and counted."""

import pytest

from penstock.signals.probe_count import Answer, ProbeCount, ProbeResult, judge_status
from penstock.signals.questions import Layer

OK = ProbeResult(Answer.ALIVE, 0.01)
BAD = ProbeResult(Answer.FAILED, detail="HTTP 500")
UNKNOWN = ProbeResult(Answer.UNKNOWN)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_2xx_is_alive(status: int) -> None:
    assert judge_status(status, 0.01) == ProbeResult(Answer.ALIVE, 0.01)


@pytest.mark.parametrize("status", [301, 302, 400, 404, 500, 502, 503])
def test_other_statuses_are_failures_that_name_the_status(status: int) -> None:
    result = judge_status(status, 0.01)
    assert (result.answer, result.detail) == (Answer.FAILED, f"health: HTTP {status}")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_credential_is_an_alarm_and_not_an_outage(status: int) -> None:
    result = judge_status(status, 0.01)
    assert (result.answer, result.limited) == (Answer.ALIVE, False)
    assert result.credential == result.detail == f"health: HTTP {status}, the key is refused"


def test_a_server_at_its_limit_is_alive_and_says_so() -> None:
    result = judge_status(429, 0.01, Layer.MODELS)
    assert (result.answer, result.limited, result.credential) == (Answer.ALIVE, True, "")
    assert result.detail == "models: HTTP 429, alive and at its limit"


def _crossings(*results: ProbeResult) -> list[bool]:
    count = ProbeCount(unhealthy_threshold=3, healthy_threshold=2)
    return [count.add(result, 0.0)[1] for result in results]


def test_thresholds_are_crossed_once_each_way() -> None:
    assert _crossings(OK, OK, OK, BAD, BAD, BAD, BAD, OK, OK, OK) == [
        *(False, True, False),
        *(False, False, True, False),
        *(False, True, False),
    ]


def test_flapping_below_the_thresholds_crosses_none() -> None:
    assert not any(_crossings(OK, OK, *[BAD, BAD, OK] * 20)[2:])


def test_counts_are_consecutive_and_the_last_latency_is_kept() -> None:
    count = ProbeCount(unhealthy_threshold=3, healthy_threshold=2)
    count.add(OK, 1.0)
    count.add(OK, 2.0)
    probe, _ = count.add(BAD, 3.0)
    assert probe is not None
    assert (probe.at, probe.consecutive_ok, probe.consecutive_failed) == (3.0, 0, 1)
    assert (probe.latency, probe.detail) == (0.01, "HTTP 500")
    probe, _ = count.add(OK, 4.0)
    assert probe is not None
    assert (probe.consecutive_ok, probe.consecutive_failed, probe.detail) == (1, 0, "")


def test_a_probe_that_says_nothing_changes_nothing() -> None:
    count = ProbeCount(unhealthy_threshold=1, healthy_threshold=1)
    count.add(OK, 1.0)
    assert count.add(UNKNOWN, 2.0) == (None, False)
    probe, crossed = count.add(OK, 3.0)
    assert probe is not None
    assert (probe.consecutive_ok, crossed) == (2, False)
