"""One document against the schema: a typed model, or problems at the places that caused them."""

import json
import re
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from penstock_policies.expectations import (
    PATTERNS,
    JsonSchema,
    describe,
    fields,
    keys_at,
    paths_to,
    schema_at,
)
from penstock_policies.model import API_VERSION
from penstock_policies.nodes import PlainValue, SourceDocument
from penstock_policies.problems import Path, Problem, path_text, shown
from penstock_policies.quantities import DURATION_PATTERN, PERCENTAGE_PATTERN, format_duration
from penstock_policies.schema import KINDS, AnyDocument
from penstock_policies.suggestions import closest

_RANGE_ERRORS: Final = {
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}
_KEY: Final = ("[key]",)
"""How the schema's path ends when it is the key that is wrong, not the value."""
_EXPECTED: Final = "expected "
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_LENGTH_ERRORS: Final = frozenset({"too_short", "too_long", "string_too_short", "string_too_long"})


def validate(document: SourceDocument) -> tuple[AnyDocument | None, list[Problem]]:
    """Turn the document into a model, or everything wrong with it."""
    value = document.root.plain()
    if not isinstance(value, dict):
        expected = "a mapping with the fields apiVersion, kind, metadata, spec"
        return None, [document.problem((), f"wrong type: got {shown(value)}", expected=expected)]
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return None, _unknown_kind(document, value)
    model = KINDS[kind]
    try:
        # JSON's strict mode is the schema's own strictness: no text for numbers, yet lists for tuples and text for
        # enums. By alias alone: snake_case names are for code.
        text = json.dumps(value)
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False), []
    except ValidationError as invalid:
        details = invalid.errors(include_url=False, include_context=True)
    problems = [_problem(document, kind, detail) for detail in details]
    return None, [problem for problem in problems if problem is not None]


def _unknown_kind(document: SourceDocument, value: dict[str, PlainValue]) -> list[Problem]:
    problems = []
    version = value.get("apiVersion")
    if version != API_VERSION and ("apiVersion",) not in document.flawed:
        problems.append(_wrong_word(document, "apiVersion", version, (API_VERSION,)))
    if ("kind",) not in document.flawed:
        problems.append(_wrong_word(document, "kind", value.get("kind"), tuple(KINDS)))
    return problems


def _wrong_word(document: SourceDocument, field: str, value: PlainValue, words: tuple[str, ...]) -> Problem:
    expected = f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    if value is None:
        return document.problem((field,), "required field is missing", expected=expected)
    suggestion = closest(value, words) if isinstance(value, str) else ""
    return document.problem((field,), f"unknown value {shown(value)}", expected=expected, suggestion=suggestion)


def _problem(document: SourceDocument, kind: str, detail: ErrorDetails) -> Problem | None:
    path: Path = detail["loc"]
    if path in document.flawed or (detail["type"] == "too_short" and document.value(path)):
        # Of a list whose items are wrong, the schema also says that it has too few good ones.
        return None
    if detail["type"] == "missing":
        return document.problem(
            path, "required field is missing", expected=describe(schema_at(kind, path)), at_key=True
        )
    if detail["type"] == "extra_forbidden":
        return _unknown_field(document, kind, path)
    if path[-1:] == _KEY:
        return _wrong_key(document, kind, path[:-1])
    schema = schema_at(kind, path)
    value = document.value(path)
    if detail["type"] == "value_error" and (schema is None or schema.get("pattern") not in PATTERNS):
        return _refused(document, path, detail, value)
    return document.problem(
        path,
        _message(detail["type"], schema, value),
        expected=_expected(detail, schema, value),
        suggestion=_suggestion(schema, value),
    )


def _unknown_field(document: SourceDocument, kind: str, path: Path) -> Problem:
    known = fields(schema_at(kind, path[:-1]))
    name = str(path[-1])
    suggestion = closest(name, known)
    if not suggestion:
        elsewhere = paths_to(kind, name)  # right name, wrong place
        suggestion = path_text(elsewhere[0]) if elsewhere else ""
    return document.problem(
        path, "unknown field", expected=f"one of {', '.join(known)}", suggestion=suggestion, at_key=True
    )


def _wrong_key(document: SourceDocument, kind: str, path: Path) -> Problem:
    schema = keys_at(kind, path[:-1])
    key = str(path[-1])
    known = schema is not None and "enum" in schema
    return document.problem(
        path,
        f"{'unknown' if known else 'malformed'} key {shown(key)}",
        expected=describe(schema),
        suggestion=_suggestion(schema, key),
        at_key=True,
    )


def _refused(document: SourceDocument, path: Path, detail: ErrorDetails, value: PlainValue) -> Problem:
    """Tell what a check of the models' own found, in its words."""
    message = "unsound combination of fields" if isinstance(value, dict) else f"malformed value {shown(value)}"
    expected = str(detail.get("ctx", {}).get("error", "")).removeprefix(_EXPECTED)
    zone = isinstance(value, str) and path[-1:] == ("timeZone",)
    return document.problem(path, message, expected=expected, suggestion=closest(str(value), _zones()) if zone else "")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _message(error: str, schema: JsonSchema | None, value: PlainValue) -> str:
    wanted = schema.get("type") if schema is not None else None
    if value is None:
        return "the value is missing"
    if error in _RANGE_ERRORS:
        return f"{shown(value)} is out of range"
    if error in _LENGTH_ERRORS:
        return f"{shown(value)} is too {'short' if error.endswith('short') else 'long'}"
    if error in {"enum", "literal_error"} and isinstance(value, str):
        return f"unknown value {shown(value)}"
    if wanted == "string" and isinstance(value, str):
        return f"malformed value {shown(value)}"
    return f"wrong type: got {shown(value)}"


def _expected(detail: ErrorDetails, schema: JsonSchema | None, value: PlainValue) -> str:
    expected = describe(schema)
    wanted = schema.get("type") if schema is not None else None
    if wanted in {"integer", "number"} and isinstance(value, str) and _NUMBER.fullmatch(value):
        return f"{expected}, without quotes"
    if expected.startswith("text") and isinstance(value, int | float):
        return f"{expected}, in quotes"
    bound: Any = next(iter(detail.get("ctx", {}).values()), None)
    if detail["type"] in _RANGE_ERRORS and schema is not None and schema.get("pattern") == DURATION_PATTERN:
        return f"{expected}, {_RANGE_ERRORS[detail['type']]} {format_duration(float(bound))}"
    return expected


def _suggestion(schema: JsonSchema | None, value: PlainValue) -> str:
    """Guess what was probably meant by a wrong value."""
    if schema is None or value is None or isinstance(value, bool | list | dict):
        return ""
    pattern = schema.get("pattern")
    if isinstance(value, int | float):
        if pattern == DURATION_PATTERN and value > 0:
            return f"{value}s"
        if pattern == PERCENTAGE_PATTERN and 0 <= value <= 100:
            return f"{value * 100:g}%" if isinstance(value, float) and value <= 1 else f"{value:g}%"
        return ""
    if schema.get("type") == "array":
        return f"[{value}]"
    words = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    return closest(value, words)
