"""Observations and overrides as canonical JSON: the inputs of a decision, to be kept, sent, compared and replayed.

Canonical as :mod:`penstock_policies.serial` is: keys sorted, no spaces, floats in their shortest exact form. What was
measured is written as it was measured, absurd or not, since the engine's answer to it is part of what is replayed: JSON
has no word for a number that is not finite, so those are the strings ``NaN``, ``Infinity`` and ``-Infinity``. Pure.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from penstock_policies.observations import EndpointProbe, EngineLoad, Intensity, Load, Observations, Price, Rate, Spend
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.serial import SerialError

_Fact = TypeVar("_Fact", EndpointProbe, EngineLoad, Intensity, Load, Price, Rate, Spend, Drain)

_NESTED = frozenset({"probes", "load", "prices", "carbon"})
_LATER = frozenset({"prompt_ratio"})
"""Fields younger than many a record: left out where None, as the table of rates is where empty, so that what was
recorded before keeps its bytes, which audits have digests of."""
_FLAT = frozenset({"engines", "spend"})
_DEEP = "edge_probes"
"""Left out where there is none: so were all before there was such a thing, and digests of records go by the bytes."""
_WORDS = frozenset({"detail", "cluster", "reason", "owner", "per"})
"""Fields that are text: in all others a string is a number that is not finite."""
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})


def observations_to_json(observations: Observations) -> str:
    """Write observations as canonical JSON."""
    return canonical(observations_to_plain(observations))


def observations_from_json(text: str) -> Observations:
    """Read what :func:`observations_to_json` wrote.

    Raises:
        SerialError: ``text`` is not JSON, or not observations of this version.

    """
    return observations_from_plain(parsed(text))


def overrides_to_json(overrides: Overrides) -> str:
    """Write overrides as canonical JSON."""
    return canonical(overrides_to_plain(overrides))


def overrides_from_json(text: str) -> Overrides:
    """Read what :func:`overrides_to_json` wrote.

    Raises:
        SerialError: ``text`` is not JSON, or not overrides of this version.

    """
    return overrides_from_plain(parsed(text))


def observations_to_plain(observations: Observations) -> dict[str, Any]:
    """Turn observations into objects, strings and numbers, to be part of a larger document."""
    plain: dict[str, Any] = {name: _plain_table(getattr(observations, name)) for name in sorted(_FLAT)}
    for name in sorted(_NESTED):
        tables: Mapping[str, Mapping[str, Any]] = getattr(observations, name)
        plain[name] = {outer: _plain_table(inner) for outer, inner in tables.items()}
    if observations.edge_probes:
        plain[_DEEP] = {
            region: {name: _plain_table(probes) for name, probes in clusters.items()}
            for region, clusters in observations.edge_probes.items()
        }
    if observations.rates:
        plain["rates"] = {feed: _plain_table(by) for feed, by in observations.rates.items()}
    return plain


def observations_from_plain(plain: Mapping[str, Any]) -> Observations:
    """Read what :func:`observations_to_plain` made; fields that are missing have their defaults.

    Raises:
        SerialError: it is not observations of this version.

    """
    _refuse_others(plain, _FLAT | _NESTED | {_DEEP, "rates"}, "observations")
    try:
        return Observations(
            probes=_tables(EndpointProbe, plain.get("probes", {})),
            load=_tables(Load, plain.get("load", {})),
            prices=_tables(Price, plain.get("prices", {})),
            engines=_table(EngineLoad, plain.get("engines", {})),
            carbon=_tables(Intensity, plain.get("carbon", {})),
            spend=_table(Spend, plain.get("spend", {})),
            edge_probes={region: _tables(EndpointProbe, by) for region, by in plain.get(_DEEP, {}).items()},
            rates=_tables(Rate, plain.get("rates", {})),
        )
    except (TypeError, AttributeError) as error:
        raise SerialError(f"not observations: {error}") from error


def overrides_to_plain(overrides: Overrides) -> dict[str, Any]:
    """Turn overrides into objects, strings and numbers, to be part of a larger document."""
    return {"drains": _plain_table(overrides.drains)}


def overrides_from_plain(plain: Mapping[str, Any]) -> Overrides:
    """Read what :func:`overrides_to_plain` made.

    Raises:
        SerialError: it is not overrides of this version.

    """
    _refuse_others(plain, frozenset({"drains"}), "overrides")
    try:
        return Overrides(drains=_table(Drain, plain.get("drains", {})))
    except (TypeError, AttributeError) as error:
        raise SerialError(f"not overrides: {error}") from error


def canonical(plain: Mapping[str, Any]) -> str:
    """Write an object of objects, lists, strings, truths and finite numbers as canonical JSON."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parsed(text: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        SerialError: ``text`` is none.

    """
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise SerialError(f"not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise SerialError(f"not an object: {type(plain).__name__}")
    return plain


def _refuse_others(plain: Mapping[str, Any], known: frozenset[str], what: str) -> None:
    if not isinstance(plain, Mapping):
        raise SerialError(f"not {what}: {type(plain).__name__}")
    others = sorted(set(plain) - known)
    if others:
        raise SerialError(f"not {what}: unknown field {others[0]!r}")


def _plain_table(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_fact(fact) for name, fact in table.items()}


def _plain_fact(fact: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the facts above
    plain = {one.name: _plain_value(getattr(fact, one.name)) for one in fields(fact)}
    return {name: value for name, value in plain.items() if value is not None or name not in _LATER}


def _plain_value(value: str | float | None) -> str | float | None:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _tables(kind: Callable[..., _Fact], plain: Mapping[str, Any]) -> dict[str, dict[str, _Fact]]:
    return {outer: _table(kind, inner) for outer, inner in plain.items()}


def _table(kind: Callable[..., _Fact], plain: Mapping[str, Any]) -> dict[str, _Fact]:
    return {
        name: kind(**{field: _value(field, value) for field, value in fact.items()}) for name, fact in plain.items()
    }


def _value(field: str, value: str | float | None) -> str | float | None:
    if field in _WORDS:
        if isinstance(value, str):
            return value
    elif isinstance(value, str) and value in _NOT_FINITE:
        return float(value)
    elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise TypeError(f"field {field!r} holds {value!r}")
