"""The inputs of decisions as text: what goes in comes out, to the bit, absurd figures included."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.decision import Decision, Rung
from penstock_policies.inputs import DecisionInputs, inputs_from_json, inputs_to_json
from penstock_policies.observations import EndpointProbe, EngineLoad, Intensity, Load, Observations, Price, Rate, Spend
from penstock_policies.observations_serial import (
    observations_from_json,
    observations_to_json,
    overrides_from_json,
    overrides_to_json,
)
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.serial import SerialError

NAMES = st.text(max_size=8)
FIGURES = st.floats() | st.integers(-(2**60), 2**60)
MAYBE = st.none() | FIGURES
COUNTS = st.integers(-5, 2**40)


def _tables(facts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(NAMES, st.dictionaries(NAMES, facts, max_size=3), max_size=3)


OBSERVATIONS = st.builds(
    Observations,
    probes=_tables(st.builds(EndpointProbe, FIGURES, COUNTS, COUNTS, MAYBE, st.text(max_size=20), COUNTS, MAYBE)),
    load=_tables(st.builds(Load, FIGURES, FIGURES, FIGURES, FIGURES, COUNTS, MAYBE, MAYBE, MAYBE, MAYBE)),
    prices=_tables(st.builds(Price, FIGURES, FIGURES, MAYBE)),
    engines=st.dictionaries(NAMES, st.builds(EngineLoad, FIGURES, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE), max_size=3),
    carbon=_tables(st.builds(Intensity, FIGURES, FIGURES)),
    spend=st.dictionaries(NAMES, st.builds(Spend, FIGURES, FIGURES, FIGURES), max_size=3),
    rates=_tables(st.builds(Rate, FIGURES, FIGURES, st.text(max_size=8))),
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
OVERRIDES = st.builds(
    Overrides, st.dictionaries(NAMES, st.builds(Drain, NAMES, FINITE, FINITE, st.text(), st.text(), FINITE), max_size=3)
)


@given(OBSERVATIONS)
def test_observations_come_back_as_they_were(observations: Observations) -> None:
    text = observations_to_json(observations)
    back = observations_from_json(text)
    assert observations_to_json(back) == text
    # NaN is equal to nothing, not even itself: repr shows the rest to the last digit.
    assert repr(_sorted(back)) == repr(_sorted(observations))


def _sorted(observations: Observations) -> list[Any]:
    return [
        {key: dict(sorted(value.items())) if isinstance(value, dict) else value for key, value in sorted(table.items())}
        for table in (getattr(observations, name) for name in Observations.__slots__)
    ]


@given(OVERRIDES)
def test_overrides_come_back_as_they_were(overrides: Overrides) -> None:
    assert overrides_from_json(overrides_to_json(overrides)) == overrides


@given(OBSERVATIONS, OVERRIDES, FINITE)
def test_inputs_come_back_as_they_were(observations: Observations, overrides: Overrides, now: float) -> None:
    before = Decision("id", 1.5, "digest", Rung.STATIC, "", {}, {}, {}, {})
    for previous in (None, before):
        text = inputs_to_json(DecisionInputs("digest", observations, overrides, previous, now, "penstock 1"))
        back = inputs_from_json(text)
        assert inputs_to_json(back) == text
        assert (back.previous, back.now, back.overrides) == (previous, now, overrides)


def test_the_order_in_which_facts_came_makes_no_difference() -> None:
    one, other = Price(1.0, 0.4), Price(2.0, 0.5)
    there = Observations(prices={"f": {"a": one, "b": other}, "g": {}})
    back = Observations(prices={"g": {}, "f": {"b": other, "a": one}})
    assert observations_to_json(there) == observations_to_json(back)


def test_figures_that_are_no_numbers_are_words_that_any_reader_of_json_can_read() -> None:
    text = observations_to_json(
        Observations(prices={"f": {"a": Price(math.inf, math.nan), "b": Price(-math.inf, 0.0)}})
    )
    prices = json.loads(text, parse_constant=pytest.fail)["prices"]["f"]
    assert prices == {
        "a": {"at": "Infinity", "usd_per_million_tokens": "NaN"},
        "b": {"at": "-Infinity", "usd_per_million_tokens": 0.0},
    }


def test_what_is_younger_than_a_record_is_not_written_where_it_says_nothing() -> None:
    text = observations_to_json(Observations(prices={"f": {"a": Price(1.0, 0.4)}}))
    assert "rates" not in text
    assert "prompt_ratio" not in text


def test_a_field_that_an_older_version_did_not_write_has_its_default() -> None:
    back = observations_from_json('{"load":{"eu":{"a":{"at":1,"in_flight":2,"request_rate":3,"error_rate":4}}}}')
    assert back == Observations(load={"eu": {"a": Load(1, 2, 3, 4)}})
    back = observations_from_json(
        '{"probes":{"a":{"b":{"at":1,"consecutive_ok":2,"consecutive_failed":0,"detail":""}}}}'
    )
    assert back == Observations(probes={"a": {"b": EndpointProbe(1, 2, 0)}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"weather":{}}',
        '{"prices":[]}',
        '{"prices":{"f":{"a":{}}}}',
        '{"prices":{"f":{"a":{"at":true,"usd_per_million_tokens":1}}}}',
        '{"prices":{"f":{"a":{"at":"soon","usd_per_million_tokens":1}}}}',
        '{"prices":{"f":{"a":{"at":1,"usd_per_million_tokens":1,"colour":2}}}}',
        '{"probes":{"c":{"e":{"at":1,"consecutive_ok":1,"consecutive_failed":0,"detail":null}}}}',
    ],
)
def test_what_is_no_observations_is_refused_in_our_own_words(text: str) -> None:
    with pytest.raises(SerialError):
        observations_from_json(text)


@pytest.mark.parametrize("text", ["", "[]", '{"drain":{}}', '{"drains":[]}', '{"drains":{"a":{"cluster":"a"}}}'])
def test_what_is_no_overrides_is_refused_in_our_own_words(text: str) -> None:
    with pytest.raises(SerialError):
        overrides_from_json(text)


@pytest.mark.parametrize(
    "change",
    [{"at": "now"}, {"engine": None}, {"previous": {}}, {"observations": []}, {"overrides": None}, {"more": 1}],
)
def test_what_is_no_inputs_is_refused_in_our_own_words(change: dict[str, Any]) -> None:
    text = inputs_to_json(DecisionInputs("digest", Observations(), Overrides(), None, 1.0))
    with pytest.raises(SerialError):
        inputs_from_json(json.dumps(json.loads(text) | change))
