"""The log is told once when the engine refuses a feed's figure, and once when it no longer does."""

import logging
from dataclasses import replace

import pytest

from penstock.control.feed_watch import FeedWatch
from penstock_policies.decision import Decision, EngineMemory
from penstock_policies.engine import decide
from penstock_policies.loader import load
from penstock_policies.observations import Observations, Price
from penstock_policies.overrides import Overrides
from tests.control.test_decider_thread import EXAMPLE

NOW = 1_700_000_000.0
POLICY = load({"policy.yaml": EXAMPLE}).require()
KEY = "eu-west/llama-3-70b"


def _decided(previous: Decision | None, at: float, usd: float) -> Decision:
    prices = {"cloud-prices": {KEY: Price(at, usd)}}
    return decide(POLICY, Observations(prices=prices), Overrides(), previous, at)


def test_a_refused_figure_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "penstock.control.feed_watch")
    watch, previous = FeedWatch(), None
    for second, usd in enumerate([0.9, -3.0, -3.0, -3.0, float("nan"), 0.9, 0.9]):
        previous = _decided(previous, NOW + second, usd)
        watch.look(POLICY, previous)
    told = [(record.levelname, record.getMessage(), getattr(record, "why", "")) for record in caplog.records]
    assert told == [
        ("WARNING", "cost feed's figure is refused by the engine", "negative"),
        ("WARNING", "cost feed's figure is refused by the engine", "not a finite number"),
        ("INFO", "cost feed's figure is good again", ""),
    ]


def test_an_accepted_figure_that_grows_too_old_is_told(caplog: pytest.LogCaptureFixture) -> None:
    old = EngineMemory(prices={"cloud-prices": {KEY: (0.9, NOW - 601)}})
    decision = replace(_decided(None, NOW, 0.9), memory=old, notes=())
    FeedWatch().look(POLICY, decision)
    assert [record.getMessage() for record in caplog.records] == ["cost feed's figure is older than the feed's maxAge"]
