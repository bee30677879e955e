import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.quantities import format_duration, format_percentage, parse_duration, parse_percentage
from tests.policies.writing import UNHURRIED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5.0), ("10m", 600.0), ("2h", 7200.0), ("1d", 86400.0), ("1h30m", 5400.0), ("1.5s", 1.5)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", [5, 0.5, None, True, "", "5", "5 s", "-5s", "s", "5s ", "5s\n", "\u0665s", "5sec", "1e3s"]
)
def test_what_is_not_a_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 500ms"):
        parse_duration(value)


def test_a_duration_of_more_than_a_century_is_refused_however_long_it_is_written() -> None:
    with pytest.raises(ValueError, match="at most a century"):
        parse_duration("9" * 400 + "d")


@pytest.mark.parametrize(("text", "fraction"), [("0%", 0.0), ("10%", 0.1), ("12.5%", 0.125), ("100%", 1.0)])
def test_a_percentage_is_read_as_a_fraction(text: str, fraction: float) -> None:
    assert parse_percentage(text) == pytest.approx(fraction)


@pytest.mark.parametrize("value", [10, 0.1, None, "10", "101%", "-1%", "10 %", "10%\n", "%"])
def test_what_is_not_a_percentage_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="from 0% to 100%"):
        parse_percentage(value)


@UNHURRIED
@given(st.integers(min_value=0, max_value=10**11))
def test_a_formatted_duration_reads_back_as_the_same_milliseconds(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (0.5, "500ms"), (90.0, "90s"), (600.0, "10m"), (86400.0, "1d")]
)
def test_a_duration_is_formatted_in_its_greatest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_what_is_no_duration_is_not_formatted(seconds: float) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        format_duration(seconds)


def test_a_fraction_is_formatted_as_a_percentage() -> None:
    assert format_percentage(0.15) == "15%"
