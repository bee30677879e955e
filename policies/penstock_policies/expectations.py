"""What the schema expects at a place of a document, in words.

Read off the JSON Schema, so that it cannot disagree with what is checked.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from penstock_policies.problems import Path
from penstock_policies.quantities import DURATION_PATTERN, PERCENTAGE_PATTERN
from penstock_policies.schema import KINDS
from penstock_policies.suggestions import letters

JsonSchema = Mapping[str, Any]

PATTERNS: Final = {
    DURATION_PATTERN: "a duration such as 500ms, 5s, 10m or 2h",
    PERCENTAGE_PATTERN: "a percentage from 0% to 100%, such as 10%",
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$": "a name of at most 63 lower-case letters, digits and inner hyphens",
    r"^[a-z0-9][a-z0-9-]{0,62}$": "a region of at most 63 lower-case letters, digits and hyphens",
    r"^[^\x00-\x1f\x7f]+$": "text of 1 to 256 characters without control characters",
    r"^/\S*$": "a path that begins with / and has no spaces",
    r"^https?://\S+$": "an http:// or https:// URL",
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$": "a name of at most 128 letters, digits, hyphens and underscores",
    r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$": "the name of a file of the credentials directory, without a path",
    r"^[A-Za-z0-9._-]{0,32}$": "a word such as Bearer, or nothing",
    r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,252})$|^::1?$": "an IP address or a DNS name",
    r"^PENSTOCK_SECRET_[A-Z0-9_]+$": "a variable whose name begins with PENSTOCK_SECRET_",
    r"^[^=\s]+=[^=\s]*$": "a label such as gpu=H100",
    r"^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$": "an AWS region such as eu-west-1",
    r"^[a-z0-9-]+\.[a-z0-9-]+$": "an instance type such as p5.48xlarge",
    r"^[a-z0-9-]+$": "an availability zone such as eu-west-1a",
    r"^[0-9A-Z-]{16}$": "an EIC code of 16 letters and digits, such as 10Y1001A1001A82H",
}
"""Every pattern of the schema to what it means."""


@cache
def kind_schema(kind: str) -> JsonSchema:
    """Get the JSON Schema of a kind, as pydantic sees it."""
    return KINDS[kind].model_json_schema(by_alias=True)


def schema_at(kind: str, path: Path) -> JsonSchema | None:
    """Find the part of a kind's schema that judges a path; None where the schema knows no such path."""
    root = kind_schema(kind)
    found: JsonSchema | None = root
    for step in path:
        if found is None:
            return None
        found = resolved(root, found)
        if isinstance(step, int):
            found = found.get("items")
        else:
            properties = found.get("properties", {})
            others = found.get("additionalProperties") or next(iter(found.get("patternProperties", {}).values()), None)
            found = properties.get(step) or others
    return None if found is None else resolved(root, found)


def keys_at(kind: str, path: Path) -> JsonSchema | None:
    """Find what judges the keys of the mapping at a path; None where any key will do."""
    mapping = schema_at(kind, path)
    if mapping is None:
        return None
    names = mapping.get("propertyNames")
    pattern = next(iter(mapping.get("patternProperties", ())), None)
    if pattern is not None:
        return {"type": "string", "pattern": pattern}
    return None if names is None else resolved(kind_schema(kind), names)


def resolved(root: JsonSchema, schema: JsonSchema) -> JsonSchema:
    """Look behind a schema's reference, and past ``null`` as an alternative."""
    for alternative in schema.get("anyOf", ()):
        if alternative.get("type") != "null":
            schema = alternative
            break
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: JsonSchema = root["$defs"][reference.removeprefix("#/$defs/")]
    return target


def fields(schema: JsonSchema | None) -> tuple[str, ...]:
    """Name the fields of an object's schema, as the schema orders them."""
    return tuple(schema.get("properties", ())) if schema is not None else ()


def paths_to(kind: str, field: str) -> tuple[Path, ...]:
    """Every place where a kind has a field of this name, in whatever spelling; list positions are 0."""
    root = kind_schema(kind)
    return tuple(path for path in _all_paths(root, root, ()) if letters(str(path[-1])) == letters(field))


def _all_paths(root: JsonSchema, schema: JsonSchema, path: Path) -> Iterator[Path]:
    schema = resolved(root, schema)
    for name, inner in schema.get("properties", {}).items():
        yield (*path, name)
        yield from _all_paths(root, inner, (*path, name))
    if "items" in schema:
        yield from _all_paths(root, schema["items"], (*path, 0))


def describe(schema: JsonSchema | None) -> str:
    """Say what a schema expects, as the end of "expected ..."; empty where there is nothing to say."""
    if schema is None:
        return ""
    described = ""
    if "enum" in schema:
        described = f"one of {', '.join(schema['enum'])}"
    elif "const" in schema:
        described = str(schema["const"])
    elif schema.get("pattern") in PATTERNS:
        described = PATTERNS[schema["pattern"]]
    else:
        describe_type = _TYPES.get(schema.get("type", ""))
        described = describe_type(schema) if describe_type is not None else ""
    return described


def _mapping(schema: JsonSchema) -> str:
    names = fields(schema)
    return f"a mapping with the fields {', '.join(names)}" if names else "a mapping"


def _text(schema: JsonSchema) -> str:
    longest = schema.get("maxLength")
    if longest is not None:
        return f"text of 1 to {longest} characters"
    return "text that is not empty" if schema.get("minLength") else "text"


def _range(schema: JsonSchema) -> str:
    least, most, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if least is not None:
        return f" of at least {least}"
    return f" greater than {above}" if above is not None else ""


_TYPES: Final[Mapping[str, Callable[[JsonSchema], str]]] = {
    "integer": lambda schema: f"a whole number{_range(schema)}",
    "number": lambda schema: f"a number{_range(schema)}",
    "string": _text,
    "array": lambda schema: "a list of at least one" if schema.get("minItems") else "a list",
    "object": _mapping,
}
