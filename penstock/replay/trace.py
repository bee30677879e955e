"""Recorded traffic: when requests came and how long their prompts and answers were.

Reads, and tells apart by their first line: Azure LLM traces (CSV: TIMESTAMP, ContextTokens, GeneratedTokens), BurstGPT
(CSV: Timestamp in seconds, Request tokens, Response tokens), Mooncake (JSONL: timestamp in ms, input_length,
output_length) and Penstock's own decision log (what ``penstock decisions --export`` writes; requests are drawn from the
demand that decisions hold).
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from penstock.replay.decision_log import requests_of_decisions
from penstock.replay.errors import ReplayError
from penstock_policies.policyset import RowKey

RELATIVE_START: Final = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
"""When a trace begins whose times count from its own start: a Monday's midnight, for schedules and budgets."""
_GREATEST_TOKENS: Final = 10_000_000
_MOMENT: Final = re.compile(r"([0-9-]{10}[ T][0-9:]{5,8})(\.[0-9]+)? ?(Z|[-+][0-9]{2}(?::?[0-9]{2})?)?")
"""Date and time, fraction of the second, offset. Azure writes seven decimals; datetime reads six."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace."""

    at: float
    """Seconds since the trace began."""
    prompt: int
    output: int
    row: RowKey | None = None
    """The row it came by, where the trace tells."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of time."""

    name: str
    form: str
    start: float
    """Unix time of its beginning."""
    requests: tuple[Request, ...]
    skipped: int = 0
    """Records without an answer, such as failed requests: there is nothing to serve."""
    warnings: tuple[str, ...] = ()
    """What is doubtful about it, in words."""

    @property
    def duration(self) -> float:
        """Seconds from the first request to the last."""
        return self.requests[-1].at


def read_trace(path: Path, *, seed: int = 1, limit: float | None = None) -> Trace:
    """Read a trace, at most ``limit`` seconds of it.

    Raises:
        ReplayError: it cannot be read, its form is unknown, or a line is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(str(path), 0, f"cannot be read: {error}") from error
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    warnings: list[str] = []
    form, parse = _form(path, first, seed, warnings.append)
    found = list(parse(lines))
    kept = [(at, prompt, output, row) for at, prompt, output, row in found if output > 0]
    if not kept:
        raise ReplayError(str(path), 0, "holds no requests")
    kept.sort(key=lambda record: record[0])
    start = kept[0][0]
    requests = tuple(
        Request(at - start, prompt, output, row)
        for at, prompt, output, row in kept
        if limit is None or at - start <= limit
    )
    absolute = form in {"azure", "decisions"}
    began = start if absolute else RELATIVE_START + start
    return Trace(path.name, form, began, requests, len(found) - len(kept), tuple(warnings))


_Record = tuple[float, int, int, RowKey | None]
_Parser = Callable[[list[str]], Iterable[_Record]]


def _form(path: Path, first: str, seed: int, told: Callable[[str], None]) -> tuple[str, _Parser]:
    header = {field.strip().casefold() for field in first.split(",")}
    if {"timestamp", "contexttokens", "generatedtokens"} <= header:
        return "azure", lambda lines: _table(path, lines, ("timestamp", "contexttokens", "generatedtokens"), _moment)
    if {"timestamp", "request tokens", "response tokens"} <= header:
        return "burstgpt", lambda lines: _table(
            path, lines, ("timestamp", "request tokens", "response tokens"), _number
        )
    if first.lstrip().startswith("{"):
        record = _json_object(path, 1, first)
        if "input_length" in record:
            return "mooncake", lambda lines: _mooncake(path, lines)
        if "rows" in record or "decision" in record:
            return "decisions", lambda lines: requests_of_decisions(str(path), lines, seed, told)
    raise ReplayError(
        str(path),
        1,
        "no trace known begins like this; expected an Azure CSV (TIMESTAMP,ContextTokens,GeneratedTokens), a BurstGPT "
        "CSV, a Mooncake JSONL or a log of Penstock's decisions",
    )


def _table(
    path: Path, lines: list[str], names: tuple[str, str, str], moment: Callable[[str], float]
) -> Iterator[_Record]:
    time, prompt, output = names
    reader = csv.reader(lines)
    columns: dict[str, int] = {}
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if not columns:
            columns = {name.strip().casefold(): index for index, name in enumerate(row)}
            continue
        try:
            yield moment(row[columns[time]].strip()), _tokens(row[columns[prompt]]), _tokens(row[columns[output]]), None
        except IndexError:
            raise ReplayError(str(path), reader.line_num, f"expected {len(columns)} fields, not {len(row)}") from None
        except ValueError as error:
            raise ReplayError(str(path), reader.line_num, str(error)) from error


def _mooncake(path: Path, lines: list[str]) -> Iterator[_Record]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _json_object(path, number, line)
        try:
            at = _number(str(record["timestamp"])) / 1000
            yield at, _tokens(str(record["input_length"])), _tokens(str(record["output_length"])), None
        except KeyError as error:
            raise ReplayError(str(path), number, f"expected a field {error}") from None
        except ValueError as error:
            raise ReplayError(str(path), number, str(error)) from error


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ReplayError(str(path), number, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ReplayError(str(path), number, "expected a JSON object")
    return value


def _moment(text: str) -> float:
    date, fraction, offset = parts.groups() if (parts := _MOMENT.fullmatch(text)) else ("", None, None)
    try:
        moment = datetime.fromisoformat(date + (offset or ""))
    except ValueError:
        raise ValueError(f"expected a time such as 2023-11-16 18:15:46.6805900, not {text!r}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + float(fraction or 0)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"expected a number, not {text!r}") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"expected a time of 0 or more, not {text!r}")
    return value


def _tokens(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"expected a number of tokens, not {text!r}") from None
    if not 0 <= value <= _GREATEST_TOKENS:
        raise ValueError(f"expected 0 to {_GREATEST_TOKENS} tokens, not {text!r}")
    return int(value)
