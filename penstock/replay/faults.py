"""What goes wrong in a replay, as written in a YAML file and a CSV of prices.

```yaml
faults:
  - outage: onprem-fra          # every endpoint refuses connections; `hang: true`: connections time out instead
    at: 10m
    for: 5m
    endpoints: 1                # only so many of them
  - capacity: cloud-eu-west     # slower or smaller than declared, which no probe shows
    at: 20m
    for: 10m
    factor: 50%
  - price: eu-west/llama-3-70b  # a key of a cost feed, or a cluster with a declared price
    at: 15m
    for: 10m                    # omitted: to the end
    usdPerMillionTokens: 2.5    # or `factor: 3`
  - stale: prices               # prices | loads | probes | engines: nothing new is heard
    at: 30m
    for: 10m
```

Times count from the start of the trace.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, assert_never

import yaml

from penstock.replay.errors import ReplayError
from penstock_policies.policyset import PolicySet
from penstock_policies.quantities import parse_duration, parse_percentage


class Source(StrEnum):
    """What may fall silent."""

    PRICES = "prices"
    LOADS = "loads"
    PROBES = "probes"
    ENGINES = "engines"


@dataclass(frozen=True, slots=True)
class Outage:
    """A cluster, or some of its endpoints, gone."""

    cluster: str
    start: float
    end: float
    endpoints: int | None = None
    """How many of them; None for all."""
    hang: bool = False
    """Whether connections hang until the connect timeout, instead of being refused."""


@dataclass(frozen=True, slots=True)
class CapacityLoss:
    """A cluster that carries less than it declares."""

    cluster: str
    start: float
    end: float
    factor: float


@dataclass(frozen=True, slots=True)
class PriceMove:
    """A price that changes."""

    key: str
    start: float
    end: float
    price: float | None = None
    factor: float | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """Signals that stop coming."""

    source: Source
    start: float
    end: float


Fault = Outage | CapacityLoss | PriceMove | Silence

_KINDS: Final = ("outage", "capacity", "price", "stale")
_FIELDS: Final = {
    "outage": {"endpoints", "hang"},
    "capacity": {"factor"},
    "price": {"usdPerMillionTokens", "factor"},
    "stale": set[str](),
}


class _Numbered(yaml.SafeLoader):
    """Remembers the line of every mapping."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    plain = {str(key): value for key, value in loader.construct_pairs(node, deep=True)}
    return {**plain, _LINE: node.start_mark.line + 1}


_LINE: Final = " line"
_Numbered.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_faults(path: Path, policy: PolicySet) -> tuple[Fault, ...]:
    """Read a file of faults for a fleet.

    Raises:
        ReplayError: it cannot be read, or something in it is wrong.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Numbered)  # noqa: S506 - a child of SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(str(path), 0, f"cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        raise ReplayError(str(path), line, f"is not YAML: {error.problem}") from error
    if not isinstance(document, dict) or not isinstance(document.get("faults"), list):
        raise ReplayError(str(path), 1, "expected `faults:` with a list")
    return tuple(_fault(path, policy, entry) for entry in document["faults"])


def _fault(path: Path, policy: PolicySet, entry: object) -> Fault:
    if not isinstance(entry, dict):
        raise ReplayError(str(path), 0, f"expected each fault to be a mapping, not {entry!r}")
    line = entry[_LINE]
    try:
        return _read(policy, {key: value for key, value in entry.items() if key != _LINE})
    except ValueError as error:
        raise ReplayError(str(path), line, str(error)) from error


def _read(policy: PolicySet, entry: Mapping[str, Any]) -> Fault:
    kinds = [kind for kind in _KINDS if kind in entry]
    if len(kinds) != 1:
        raise ValueError(f"expected one of {', '.join(_KINDS)}")
    kind = kinds[0]
    unknown = sorted(set(entry) - {kind, "at", "for"} - _FIELDS[kind])
    if unknown:
        raise ValueError(f"unknown field {unknown[0]}; a fault of this kind has at, for, {sorted(_FIELDS[kind])}")
    start = _duration(entry.get("at", "0s"), "at")
    end = start + _duration(entry["for"], "for") if "for" in entry else math.inf
    name = str(entry[kind])
    if kind == "outage":
        _known(name, policy.clusters, "cluster")
        endpoints = entry.get("endpoints")
        there = len(policy.clusters[name].spec.endpoints)
        if endpoints is not None and not (type(endpoints) is int and 1 <= endpoints <= there):
            raise ValueError(f"expected endpoints from 1 to {there}")
        return Outage(name, start, end, endpoints if endpoints != there else None, hang=entry.get("hang") is True)
    if kind == "capacity":
        _known(name, policy.clusters, "cluster")
        factor = parse_percentage(entry.get("factor"))
        if factor <= 0:
            raise ValueError("expected a factor above 0%; an outage takes all")
        return CapacityLoss(name, start, end, factor)
    if kind == "price":
        keys = {cluster.spec.cost.key or cluster.name for cluster in policy.clusters.values()}
        _known(name, dict.fromkeys(keys), "price key or cluster")
        return PriceMove(name, start, end, *_price(entry))
    _known(name, dict.fromkeys(Source), "source")
    return Silence(Source(name), start, end)


def _price(entry: Mapping[str, Any]) -> tuple[float | None, float | None]:
    price, factor = entry.get("usdPerMillionTokens"), entry.get("factor")
    if (price is None) == (factor is None):
        raise ValueError("expected usdPerMillionTokens or factor, one of them")
    for value in (price, factor):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
            raise ValueError(f"expected a number of 0 or more, not {value!r}")
    return price, factor


def _duration(value: object, field: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error


def _known(name: str, known: Mapping[str, object], what: str) -> None:
    if name not in known:
        raise ValueError(f"no {what} {name!r}; known are {', '.join(sorted(known))}")


def read_prices(path: Path, policy: PolicySet) -> tuple[PriceMove, ...]:
    """Read a CSV of prices over time: ``seconds,key,usdPerMillionTokens``, each valid until the key's next line.

    Raises:
        ReplayError: it cannot be read, or a line is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(str(path), 0, f"cannot be read: {error}") from error
    keys = {cluster.spec.cost.key or cluster.name for cluster in policy.clusters.values()}
    reader = csv.reader(lines)
    moves: list[PriceMove] = []
    for row in reader:
        if not row or row[0].strip().casefold() == "seconds":
            continue
        try:
            at, key, price = float(row[0]), row[1].strip(), float(row[2])
        except (IndexError, ValueError):
            raise ReplayError(str(path), reader.line_num, "expected seconds,key,usdPerMillionTokens") from None
        if key not in keys:
            known = ", ".join(sorted(keys))
            raise ReplayError(str(path), reader.line_num, f"no price key or cluster {key!r}; known are {known}")
        if not (math.isfinite(at) and math.isfinite(price) and at >= 0 and price >= 0):
            raise ReplayError(str(path), reader.line_num, "expected seconds and a price of 0 or more")
        moves.append(PriceMove(key, at, math.inf, price))
    return tuple(sorted(moves, key=lambda move: (move.start, move.key)))


def described(fault: Fault) -> str:
    """Say a fault in a few words."""
    until = "" if math.isinf(fault.end) else f" to {fault.end:.0f} s"
    when = f"from {fault.start:.0f} s{until}"
    match fault:
        case Outage():
            part = f"{fault.endpoints} endpoints of " if fault.endpoints is not None else ""
            return f"outage of {part}{fault.cluster} {when}"
        case CapacityLoss():
            return f"{fault.cluster} at {fault.factor:.0%} of its capacity {when}"
        case PriceMove():
            to = f"{fault.price} USD/Mtok" if fault.price is not None else f"{fault.factor} times its price"
            return f"price {fault.key} to {to} {when}"
        case Silence():
            return f"no news of {fault.source} {when}"
        case _ as never:
            assert_never(never)
