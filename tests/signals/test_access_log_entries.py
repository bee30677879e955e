"""What is read from an entry of an access log, and what is not believed."""

from typing import Any

import pytest
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.access_log_entries import LONGEST, MOST_TOKENS, Ended, parse, read
from tests.signals.log_entries import ROUTE, message


def ended(**entry: Any) -> Ended:
    (found,) = parse(message(entry)).entries
    return read(found)


def test_a_stream_that_told_its_usage() -> None:
    found = ended(prompt=812, output=120, cached=512, stream=1, seconds=3.25)
    assert found == Ended(
        route=ROUTE,
        cluster="onprem-fra",
        failed=False,
        metered=True,
        unmetered=False,
        prompt_tokens=812,
        cached_tokens=512,
        output_tokens=120,
        seconds=3.25,
        first_token=0.15,
        refused=0,
    )


def test_the_first_byte_of_an_answer_in_one_piece_is_no_first_token() -> None:
    found = ended(prompt=812, output=120)
    assert found.metered
    assert found.first_token is None


def test_a_good_answer_that_does_not_say_its_tokens_is_unmetered() -> None:
    assert ended().unmetered
    assert ended(stream=1).unmetered


@pytest.mark.parametrize("status", [400, 404, 422, 301])
def test_an_answer_that_generated_nothing_is_not_unmetered(status: int) -> None:
    found = ended(status=status)
    assert (found.unmetered, found.failed, found.metered) == (False, False, False)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_errors_and_used_up_quotas_are_failures_of_who_answered(status: int) -> None:
    found = ended(status=status)
    assert found.failed
    assert not found.unmetered
    assert found.cluster == "onprem-fra"


def test_a_cluster_that_gave_no_answer_is_not_named() -> None:
    found = ended(status=503, answered=False, flags=("upstream_connection_failure", "upstream_retry_limit_exceeded"))
    assert found.failed
    assert found.cluster == ""


def test_a_stream_that_broke_is_a_failure_and_one_that_its_client_left_is_none() -> None:
    broken = ended(stream=1, flags=("upstream_connection_termination",))
    assert broken.failed
    assert not broken.unmetered
    assert broken.first_token is None
    left = ended(stream=1, prompt=812, output=7, flags=("downstream_connection_termination",))
    assert not left.failed
    assert (left.prompt_tokens, left.output_tokens) == (812, 7)


def test_a_client_that_left_before_any_answer() -> None:
    found = ended(status=0, answered=False, flags=("downstream_connection_termination",))
    assert (found.unmetered, found.failed, found.refused) == (False, False, 0)


def test_embeddings_have_a_prompt_and_no_output() -> None:
    found = ended(prompt=30)
    assert found.metered
    assert (found.prompt_tokens, found.output_tokens) == (30, 0)


def test_what_anthropic_leaves_out_of_the_input_is_added() -> None:
    found = ended(prompt=5, output=9, cache_read=100, cache_write=20)
    assert (found.prompt_tokens, found.cached_tokens, found.output_tokens) == (125, 100, 9)


def test_more_cached_than_asked_is_all_of_it() -> None:
    assert ended(prompt=10, output=1, cached=99).cached_tokens == 10


@pytest.mark.parametrize("figure", [-1.0, MOST_TOKENS + 1.0, 1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("key", ["prompt", "output", "cached"])
def test_tokens_that_cannot_be_true_are_left_out_and_counted(key: str, figure: float) -> None:
    found = ended(**{"prompt": 10.0, "output": 10.0, key: figure})
    assert found.refused == 1
    assert found.unmetered
    assert (found.prompt_tokens, found.cached_tokens, found.output_tokens) == (0, 0, 0)


@pytest.mark.parametrize("seconds", [-0.5, LONGEST + 1])
def test_durations_that_cannot_be_true_are_left_out_and_counted(seconds: float) -> None:
    found = ended(seconds=seconds)
    assert (found.seconds, found.refused) == (0.0, 1)


@pytest.mark.parametrize("text", ["-1", "1_0", " 5", "٣", "1e3", "9" * 400, "99999999999999999999"])
def test_first_bytes_that_are_no_time_are_left_out_and_counted(text: str) -> None:
    found = ended(stream=1, first_byte_us=text)
    assert (found.first_token, found.refused) == (None, 1)


@pytest.mark.parametrize("status", [1000, 2**32 - 1])
def test_a_status_that_is_none_is_no_good_answer(status: int) -> None:
    found = ended(status=status)
    assert (found.unmetered, found.failed, found.refused) == (False, False, 1)


def test_an_entry_with_nothing_in_it() -> None:
    written = als_pb2.StreamAccessLogsMessage()
    written.http_logs.log_entry.add()
    (found,) = parse(written.SerializeToString()).entries
    assert read(found).route == ""


def test_only_the_first_message_names_its_node() -> None:
    assert parse(message(node_id="edge-1", node_cluster="edge-eu"))[:2] == ("edge-1", "edge-eu")
    assert parse(message({}))[:2] == ("", "")


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_read_and_nothing_else(garbage: bytes) -> None:
    try:
        entries = parse(garbage).entries
    except DecodeError:
        return
    for entry in entries:
        sane(read(entry))


@given(st.data())
def test_damaged_messages_give_sane_figures_or_none(data: st.DataObject) -> None:
    whole = bytearray(message({"prompt": 10, "output": 5, "stream": 1}, {"status": 503, "answered": False}))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        entries = parse(cut).entries
    except DecodeError:
        return
    for entry in entries:
        sane(read(entry))


@given(
    st.dictionaries(st.sampled_from(["prompt", "output", "cached", "cache_read", "cache_write"]), st.floats()),
    st.integers(0, 2**32 - 1),
    st.text(max_size=12),
)
def test_hostile_values_give_sane_figures(usage: dict[str, float], status: int, first_byte: str) -> None:
    sane(ended(status=status, first_byte_us=first_byte, stream=1, **usage))


def sane(found: Ended) -> None:
    assert 0 <= found.cached_tokens <= found.prompt_tokens <= MOST_TOKENS
    assert 0 <= found.output_tokens <= MOST_TOKENS
    assert 0 <= found.seconds <= LONGEST
    assert found.first_token is None or 0 <= found.first_token <= LONGEST
    assert not (found.metered and found.unmetered)
