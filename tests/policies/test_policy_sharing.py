"""Floors, ceilings and pins: what no day could keep is an error."""

import pytest

from tests.policies.writing import errors_in, joined_by, wishing


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (
            "[{cluster: onprem, minShare: 70%}, {cluster: cloud, minShare: 40%}]",
            (
                "spec.shares: 110% of the requests for llama are promised; "
                "expected floors and pins that add up to at most 100%"
            ),
        ),
        (
            "[{cluster: onprem, pin: 60%}, {cluster: cloud, pin: 50%}]",
            (
                "spec.shares: 110% of the requests for llama are promised; "
                "expected floors and pins that add up to at most 100%"
            ),
        ),
        (
            "[{cluster: onprem, maxShare: 30%}, {cluster: cloud, pin: 50%}]",
            (
                "spec.shares: only 80% of the requests for llama may go anywhere; "
                "expected ceilings and pins that add up to at least 100%"
            ),
        ),
        (
            "[{cluster: onprem, minShare: 30%}, {site: on_prem, maxShare: 20%}]",
            (
                "spec.shares[1]: the clusters of on_prem are promised 30% of the requests for llama; "
                "expected at most the 20% that the site may have"
            ),
        ),
        (
            "[{cluster: onprem, maxShare: 30%}, {site: on_prem, minShare: 50%}]",
            (
                "spec.shares[1]: the clusters of on_prem may have 30% of the requests for llama; "
                "expected at least the 50% that the site is promised"
            ),
        ),
    ],
)
def test_shares_that_no_day_could_keep_are_an_error(shares: str, message: str) -> None:
    (error,) = errors_in(wishing(f"shares: {shares}"))
    assert error.split(": ", 1)[1] == message


@pytest.mark.parametrize(
    "shares",
    [
        "[{cluster: onprem, pin: 60%}, {cluster: cloud, pin: 40%}]",
        "[{cluster: onprem, minShare: 60%}, {site: on_prem, minShare: 70%}, {site: cloud, minShare: 30%}]",
        "[{cluster: cloud, maxShare: 0%}]",
    ],
)
def test_shares_that_just_fit_are_fine(shares: str) -> None:
    assert joined_by(wishing(f"shares: {shares}")).problems == ()


def test_shares_of_a_schedule_are_judged_as_well() -> None:
    shares = "[{cluster: onprem, pin: 60%}, {cluster: cloud, pin: 50%}]"
    (error,) = errors_in(wishing(f"schedules: [{{name: n, cron: 0 22 * * *, duration: 8h, shares: {shares}}}]"))
    assert "spec.schedules[0].shares: 110% of the requests for llama are promised" in error
