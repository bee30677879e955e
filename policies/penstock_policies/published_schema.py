"""The policy language as a JSON Schema, for editors and other tools.

Derived from the models that check policies, so it cannot drift from them. What JSON Schema cannot say (references
between documents, ranges of durations) is left to the loader; ranges of durations are told in descriptions.
"""

from collections.abc import Iterator
from typing import Any, Final

from annotated_types import Ge, Le
from pydantic.json_schema import models_json_schema

from penstock_policies.expectations import JsonSchema, resolved
from penstock_policies.model import API_VERSION, Model
from penstock_policies.quantities import (
    DURATION_PATTERN,
    PERCENTAGE_PATTERN,
    format_duration,
    format_percentage,
)
from penstock_policies.schema import KINDS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Build the JSON Schema (2020-12) of one policy document of any kind; the kinds are told apart by ``kind``."""
    _, generated = models_json_schema([(model, "validation") for model in KINDS.values()], by_alias=True)
    definitions: dict[str, dict[str, Any]] = generated["$defs"]
    root = {"$defs": definitions}
    models = {model.__name__: model for model in _models(Model)}
    for name, definition in definitions.items():
        definition["description"] = _markdown(definition["description"])
        for field, schema in definition.get("properties", {}).items():
            _tidy(root, schema)
            bounds = _duration_bounds(models[name], field, schema)
            description = " ".join(text for text in (_markdown(schema.get("description", "")), bounds) if text)
            if description:
                schema["description"] = description
    return {
        "$schema": DIALECT,
        "title": "Penstock policy document",
        "description": "One document of a Penstock policy file.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"apiVersion": {"const": API_VERSION}, "kind": {"enum": list(KINDS)}},
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in KINDS],
        "$defs": dict(sorted(definitions.items())),
    }


def _tidy(root: dict[str, Any], schema: dict[str, Any]) -> None:
    """Leave out what only repeats the field's name, and show defaults as they are written in YAML."""
    schema.pop("title", None)
    if "patternProperties" in schema:
        schema["additionalProperties"] = False  # else a key that the loader refuses would pass, whatever it holds
    if "default" in schema:
        default = _written(root, schema, schema.pop("default"))
        if default is not None:
            schema["default"] = default


def _written(root: JsonSchema, schema: JsonSchema, value: object) -> object:
    """Write a default as an SRE would write it."""
    schema = resolved(root, schema)
    if isinstance(value, dict):
        fields = {key: _written(root, schema["properties"][key], inner) for key, inner in value.items()}
        return {key: inner for key, inner in fields.items() if inner is not None}
    if isinstance(value, float) and schema.get("pattern") == DURATION_PATTERN:
        return format_duration(value)
    if isinstance(value, float) and schema.get("pattern") == PERCENTAGE_PATTERN:
        return format_percentage(value)
    return value


def _duration_bounds(model: type[Model], field: str, schema: dict[str, Any]) -> str:
    if schema.get("pattern") != DURATION_PATTERN:
        return ""
    metadata = next(info.metadata for info in model.model_fields.values() if info.alias == field)
    bounds = [bound.ge if isinstance(bound, Ge) else bound.le for bound in metadata if isinstance(bound, Ge | Le)]
    shown = [format_duration(bound) for bound in bounds if isinstance(bound, int | float)]
    if len(shown) == 2:
        return f"From {shown[0]} to {shown[1]}."
    return f"At least {shown[0]}." if shown else ""


def _models(model: type[Model]) -> Iterator[type[Model]]:
    for derived in model.__subclasses__():
        yield derived
        yield from _models(derived)


def _markdown(text: str) -> str:
    """Docstring markup as editors render it."""
    return " ".join(text.replace("``", "`").split())
