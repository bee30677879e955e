"""The difference of two policy sets, document by document and field by field.

Compares what documents mean, defaults included: layout, order of files and the spelling of durations are no change.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, get_args

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from penstock_policies.model import Model
from penstock_policies.policyset import PolicySet
from penstock_policies.problems import shown
from penstock_policies.quantities import format_duration, format_percentage, parse_duration, parse_percentage
from penstock_policies.schema import AnyDocument, Endpoint

_NOTHING: Final = "(none)"
_PLAIN_WORD: Final = re.compile(r"[\w.:/*-]+", re.ASCII)
_LONGEST_LIST: Final = 8
"""Entries of a list that a change repeats."""


class Change(StrEnum):
    """What became of something."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field with another meaning. Values are as people write them."""

    path: str
    """Such as ``spec.capacity.headroom``."""
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """One document that is new, gone or different."""

    change: Change
    kind: str
    name: str
    origin: str
    """``file:line:column`` of the document as it is now, or of the one that is gone."""
    fields: tuple[FieldChange, ...] = ()


def documents_changed(base: PolicySet, candidate: PolicySet) -> tuple[DocumentChange, ...]:
    """List what differs, by kind and name."""
    before, after = _documents(base), _documents(candidate)
    found: list[DocumentChange] = []
    for identity in sorted(before.keys() | after.keys()):
        old, new = before.get(identity), after.get(identity)
        if old is None:
            found.append(DocumentChange(Change.ADDED, *identity, _origin(candidate, identity)))
        elif new is None:
            found.append(DocumentChange(Change.REMOVED, *identity, _origin(base, identity)))
        elif old != new:
            fields = tuple(_models(old, new, ""))
            found.append(DocumentChange(Change.CHANGED, *identity, _origin(candidate, identity), fields))
    return tuple(found)


def _documents(policy: PolicySet) -> dict[tuple[str, str], AnyDocument]:
    kinds: tuple[Mapping[str, AnyDocument], ...] = (
        policy.budgets,
        policy.clusters,
        policy.feeds,
        policy.groups,
        policy.listeners,
        policy.residency,
        policy.policies,
    )
    return {(document.kind, document.name): document for kind in kinds for document in kind.values()}


def _origin(policy: PolicySet, identity: tuple[str, str]) -> str:
    origin = policy.origins.get(identity)
    return "" if origin is None else str(origin)


def _models(before: Model, after: Model, path: str) -> Iterator[FieldChange]:
    for name, declared in type(before).model_fields.items():
        step = declared.alias or name
        yield from _values(
            getattr(before, name), getattr(after, name), f"{path}.{step}" if path else step, _unit(declared)
        )


def _values(before: object, after: object, path: str, unit: object) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, Model) and type(before) is type(after):
        yield from _models(before, after, path)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            yield from _values(before.get(key), after.get(key), f"{path}[{_text(key, None)}]", unit)
    elif _of_models(before) and _of_models(after):
        yield from _entries(_keyed(before), _keyed(after), path, unit)
    else:
        old, new = _text(before, unit), _text(after, unit)
        # Credentials, or what comes after the first many characters.
        yield FieldChange(path, old, new if new != old else f"{new} (what differs is not shown)")


def _entries(before: Mapping[str, Model], after: Mapping[str, Model], path: str, unit: object) -> Iterator[FieldChange]:
    found = [
        change
        for key in dict.fromkeys((*before, *after))
        for change in _values(before.get(key), after.get(key), f"{path}[{key}]", unit)
    ]
    # The same entries in another order: where the first wins, order is meaning.
    yield from found or [FieldChange(path, _listed(list(before)), _listed(list(after)))]


def _of_models(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(entry, Model) for entry in value)


def _keyed(entries: Any) -> dict[str, Model]:  # noqa: ANN401 - a tuple of models, as _of_models made sure
    """Entries by what tells them apart: their names or addresses, or else their places."""
    keys = [_key(entry, index) for index, entry in enumerate(entries)]
    if len(set(keys)) < len(keys):
        keys = [str(index) for index in range(len(entries))]
    return dict(zip(keys, entries, strict=True))


def _key(entry: Model, index: int) -> str:
    if isinstance(entry, Endpoint):
        return entry.key
    name = getattr(entry, "name", None)
    return name if isinstance(name, str) else str(index)


def _unit(declared: FieldInfo) -> object:
    """Find the parser of a field's unit; None where it has none."""
    waiting: list[object] = [declared.annotation, *declared.metadata]
    while waiting:
        part = waiting.pop()
        if isinstance(part, BeforeValidator) and part.func in {parse_duration, parse_percentage}:
            return part.func
        waiting += get_args(part)
    return None


def _text(value: object, unit: object) -> str:
    if isinstance(value, Model):
        return _braced(
            {
                declared.alias or name: _text(getattr(value, name), _unit(declared))
                for name, declared in type(value).model_fields.items()
                if name in value.model_fields_set
            }
        )
    if isinstance(value, Mapping):
        return _braced({_text(key, None): _text(item, unit) for key, item in value.items()})
    if isinstance(value, tuple):
        return _listed([_text(item, unit) for item in value])
    return _number(value, unit) if isinstance(value, float) else _word(value)


def _number(value: float, unit: object) -> str:
    if unit is parse_duration:
        return format_duration(value)
    return format_percentage(value) if unit is parse_percentage else f"{value:g}"


def _word(value: object) -> str:
    if value is None:
        return _NOTHING
    text = shown(value)
    # Quotes only where they tell something.
    return value if isinstance(value, str) and _PLAIN_WORD.fullmatch(value) and value in text else text


def _braced(parts: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{name}: {text}' for name, text in parts.items())}}}"


def _listed(texts: Sequence[str]) -> str:
    if not texts:
        return "[]"
    rest = len(texts) - _LONGEST_LIST
    more = [f"and {rest} more"] if rest > 0 else []
    return f"[{', '.join([*texts[:_LONGEST_LIST], *more])}]"
