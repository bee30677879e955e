from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.replay.errors import ReplayError
from penstock.replay.trace import RELATIVE_START, read_trace
from tests.replay.replaying import write

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224670,879,0
"""


def test_an_azure_trace_keeps_its_own_time_and_leaves_out_requests_without_an_answer(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path / "azure.csv", AZURE))
    assert trace.form == "azure"
    assert trace.start == pytest.approx(datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC).timestamp())
    assert [(round(r.at, 6), r.prompt, r.output) for r in trace.requests] == [(0, 374, 44), (4.314579, 396, 109)]
    assert trace.skipped == 1


def test_a_burstgpt_trace_counts_seconds_from_its_beginning(tmp_path: Path) -> None:
    text = (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n"
    )
    trace = read_trace(write(tmp_path / "burst.csv", text + "45.5,GPT-4,1087,230,1317,API log\n"))
    assert trace.form == "burstgpt"
    assert trace.start == RELATIVE_START + 5
    assert [(r.at, r.prompt, r.output) for r in trace.requests] == [(0, 472, 18), (40.5, 1087, 230)]


def test_a_mooncake_trace_counts_milliseconds(tmp_path: Path) -> None:
    text = '{"timestamp": 1000, "input_length": 6955, "output_length": 52, "hash_ids": [1]}\n'
    text += '{"timestamp": 0, "input_length": 10, "output_length": 5, "hash_ids": []}\n'
    trace = read_trace(write(tmp_path / "mooncake.jsonl", text))
    assert [(r.at, r.prompt, r.output) for r in trace.requests] == [(0, 10, 5), (1, 6955, 52)]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2026-01-05 00:00:00", 0),
        ("2026-01-05T00:00:00Z", 0),
        ("2026-01-05 00:00:00.5", 0.5),
        ("2026-01-05 00:00:00.5000000", 0.5),
        ("2026-01-05 00:00:00.5000000Z", 0.5),
        ("2026-01-05 00:00:00.5000000+02:00", 0.5 - 7200),
        ("2026-01-05 00:00:00.25 +0200", 0.25 - 7200),
        ("2026-01-05 00:00:00-05:30", 5.5 * 3600),
        ("2026-01-05 00:00:10.0000000+00:00", 10),
    ],
)
def test_azure_times_are_read_with_fraction_and_offset(tmp_path: Path, written: str, seconds: float) -> None:
    text = f"TIMESTAMP,ContextTokens,GeneratedTokens\n{written},1,1\n"
    assert read_trace(write(tmp_path / "azure.csv", text)).start == RELATIVE_START + seconds


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a,b\n1,2\n", ":1: no trace known begins like this"),
        (AZURE + "yesterday,1,2\n", ":5: expected a time such as"),
        (AZURE + "2023-11-16 18:15:52.5+25:00,1,2\n", ":5: expected a time such as"),
        (AZURE + "2023-11-16 18:15:52,1,many\n", ":5: expected a number of tokens, not 'many'"),
        (AZURE + "2023-11-16 18:15:52,1,-4\n", ":5: expected 0 to"),
        (AZURE + "2023-11-16 18:15:52,nan,4\n", ":5: expected 0 to"),
        (AZURE + "2023-11-16 18:15:52,1\n", ":5: expected 3 fields, not 2"),
        ('{"timestamp": 1, "input_length": 1}\n', ":1: expected a field 'output_length'"),
        ('{"input_length": 1}\n{oops\n', ":1: expected a field 'timestamp'"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", ": holds no requests"),
        ('{"rows": {}}\n', ":1: is no decision"),
        ("", ":1: no trace known"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(ReplayError) as refused:
        read_trace(write(tmp_path / "trace", text))
    assert place in str(refused.value)


def test_a_limit_keeps_the_beginning(tmp_path: Path) -> None:
    assert len(read_trace(write(tmp_path / "azure.csv", AZURE), limit=4).requests) == 1
