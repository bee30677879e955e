"""What probing is remembered as, and when people are told of a key that is refused."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from penstock.signals.board import ObservationBoard
from penstock.signals.generation_probe import Generated, Verdict
from penstock.signals.probe_book import TOLD_AGAIN, ProbeBook
from penstock.signals.probe_count import Answer, ProbeResult
from penstock.signals.questions import Layer
from penstock_policies.observations import EndpointProbe
from tests.signals.signal_policies import cluster, policy_set

KEY, OTHER = ("cloud", "10.0.0.1:443"), ("cloud", "10.0.0.2:443")
REFUSED = ProbeResult(Answer.ALIVE, 0.1, "401", Layer.HEALTH, credential="health: HTTP 401, the key is refused")
GOOD = ProbeResult(Answer.ALIVE, 0.1)
POLICY = policy_set(
    [cluster("cloud", ("10.0.0.1", 443), ("10.0.0.2", 443), credential={"env": "PENSTOCK_SECRET_A"}, generation={})]
)


@dataclass
class Kept:
    """A book, and who listens to it."""

    now: float = 1000.0
    audited: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    counted: list[tuple[str, str, str]] = field(default_factory=list)
    spent: list[tuple[str, float | None, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.board = ObservationBoard()
        self.board.apply(POLICY)
        self.book = ProbeBook(
            self.board, lambda: self.now, audit=lambda kind, detail: self.audited.append((kind, detail)), meter=self
        )

    def probed(self, cluster: str, layer: str, outcome: str) -> None:
        self.counted.append((cluster, layer, outcome))

    def generated(self, cluster: str, ttft: float | None, prompt_tokens: int, output_tokens: int) -> None:
        self.spent.append((cluster, ttft, prompt_tokens, output_tokens))


def test_a_refused_key_is_told_once_for_its_cluster_and_again_when_it_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = Kept()
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            kept.book.probed(KEY, REFUSED)
            kept.book.probed(OTHER, REFUSED)
        assert [record.message for record in caplog.records] == ["probe credential refused"]
        kept.book.probed(KEY, GOOD)
        assert len(caplog.records) == 1, "the other endpoint still refuses it"
        kept.book.probed(OTHER, GOOD)
    assert [kind for kind, _ in kept.audited] == ["probe.credential-refused", "probe.credential-accepted"]
    assert kept.audited[0][1] == {"cluster": "cloud", "endpoint": "10.0.0.1:443", "detail": REFUSED.credential}
    assert kept.book.of(KEY).credential == ""


def test_an_alarm_that_flickers_is_not_told_again_within_the_hour() -> None:
    kept = Kept()
    for _ in range(20):
        kept.book.probed(KEY, REFUSED)
        kept.book.probed(KEY, GOOD)
    assert len(kept.audited) == 2
    kept.book.probed(KEY, REFUSED)
    kept.now += TOLD_AGAIN
    kept.book.probed(KEY, REFUSED)
    assert len(kept.audited) == 3


def test_a_layer_that_takes_the_key_does_not_speak_for_one_above_it() -> None:
    kept = Kept()
    refused = ProbeResult(Answer.ALIVE, 0.1, "401", Layer.MODELS, credential="models: HTTP 401, the key is refused")
    kept.book.probed(KEY, refused)
    kept.book.probed(KEY, GOOD)
    assert kept.book.of(KEY).credential == "models: HTTP 401, the key is refused"
    kept.book.probed(KEY, ProbeResult(Answer.ALIVE, 0.1, layer=Layer.MODELS))
    assert kept.book.of(KEY).credential == ""


def test_a_probe_that_fails_says_nothing_of_the_key() -> None:
    kept = Kept()
    kept.book.probed(KEY, REFUSED)
    kept.book.probed(KEY, ProbeResult(Answer.FAILED, layer=Layer.TCP))
    assert kept.book.of(KEY).credential != ""


def test_a_generation_that_is_refused_is_an_alarm_and_one_that_succeeds_ends_it() -> None:
    kept = Kept()
    kept.book.generated(KEY, Generated(Verdict.REFUSED, "generation: HTTP 403, the key is refused"), 0, slow=False)
    assert kept.book.of(KEY).credential == "generation: HTTP 403, the key is refused"
    kept.book.probed(KEY, GOOD)
    assert kept.book.of(KEY).credential != "", "/health is open to all"
    kept.book.generated(KEY, Generated(Verdict.GOOD, "", 0.3, 20, 4), 0, slow=False)
    assert kept.book.of(KEY).credential == ""


def test_where_no_key_is_shown_any_more_none_is_refused() -> None:
    kept = Kept()
    kept.book.probed(KEY, REFUSED)
    kept.book.apply(policy_set([cluster("cloud", ("10.0.0.1", 443))]))
    assert kept.book.of(KEY).credential == ""


def test_everything_is_counted_by_layer_and_outcome_and_by_what_it_cost() -> None:
    kept = Kept()
    for result in (
        GOOD,
        REFUSED,
        ProbeResult(Answer.FAILED, layer=Layer.TLS),
        ProbeResult(Answer.UNKNOWN),
        ProbeResult(Answer.ALIVE, layer=Layer.MODELS, limited=True),
    ):
        kept.book.probed(KEY, result)
    kept.book.generated(KEY, Generated(Verdict.GOOD, "", 0.3, 20, 4), 0, slow=False)
    assert kept.counted == [
        ("cloud", "health", "good"),
        ("cloud", "health", "refused"),
        ("cloud", "tls", "failed"),
        ("cloud", "health", "unknown"),
        ("cloud", "models", "limited"),
        ("cloud", "generation", "good"),
    ]
    assert kept.spent == [("cloud", 0.3, 20, 4)]


def test_what_deeper_probes_found_is_seen_with_whatever_else_is_known() -> None:
    kept = Kept()
    kept.book.generated(KEY, Generated(Verdict.FAILED, "generation: HTTP 500"), 3, slow=False)
    assert kept.board.snapshot(kept.now).probes == {}
    kept.board.set_probe(*KEY, EndpointProbe(kept.now, 9, 0))
    assert kept.board.snapshot(kept.now).probes["cloud"][KEY[1]].generation_failed == 3
    kept.book.probed(KEY, ProbeResult(Answer.ALIVE, layer=Layer.HEALTH, limited=True))
    assert kept.board.snapshot(kept.now).probes["cloud"][KEY[1]].limited_at == kept.now
    kept.board.apply(policy_set([cluster("cloud", ("10.0.0.2", 443))]))
    assert kept.board.snapshot(kept.now).probes == {}


def test_missing_models_are_remembered_between_looks() -> None:
    kept = Kept()
    kept.book.probed(KEY, ProbeResult(Answer.ALIVE, layer=Layer.MODELS, missing=("llama",)))
    kept.book.probed(KEY, GOOD)
    assert kept.book.of(KEY).missing == ("llama",)
    kept.book.probed(KEY, ProbeResult(Answer.ALIVE, layer=Layer.MODELS, missing=()))
    assert kept.book.of(KEY).missing == ()
