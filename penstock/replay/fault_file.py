"""Faults as written in a YAML file.

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

Times count from the start of the trace. Read as strictly as policies are: a key written twice is refused, as are words
that YAML readers disagree about.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from penstock.replay.errors import ReplayError
from penstock.replay.faults import CapacityLoss, Fault, Outage, PriceMove, Silence, Source
from penstock_policies.documents import read
from penstock_policies.nodes import Entry, Node, PlainValue
from penstock_policies.policyset import PolicySet
from penstock_policies.quantities import parse_duration, parse_percentage
from penstock_policies.suggestions import closest

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "outage": ("endpoints", "hang"),
    "capacity": ("factor",),
    "price": ("usdPerMillionTokens", "factor"),
    "stale": (),
}
"""Kind of fault to its fields besides ``at`` and ``for``."""
_TIMES: Final = ("at", "for")
GREATEST_PRICE: Final = 1e6
"""USD a million tokens, a dollar a token: more is a slip, and far more is infinite as a float."""


def read_faults(path: Path, policy: PolicySet) -> tuple[Fault, ...]:
    """Read a file of faults for a fleet.

    Raises:
        ReplayError: it cannot be read, or something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(str(path), 0, f"cannot be read: {error}") from error
    reading = read(str(path), text)
    for problem in reading.problems:
        expected = f"; expected {problem.expected}" if problem.expected else ""
        where = f"{problem.path}: " if problem.path else ""
        raise ReplayError(str(path), problem.line, f"{where}{problem.message}{expected}")
    if len(reading.documents) != 1:
        raise ReplayError(str(path), 1, "expected `faults:` with a list, in one document")
    root = reading.documents[0].root.content
    listed = root.get("faults") if isinstance(root, dict) else None
    if not isinstance(root, dict) or listed is None or not isinstance(listed.node.content, list):
        raise ReplayError(str(path), 1, "expected `faults:` with a list")
    for name, entry in root.items():
        if name != "faults":
            raise ReplayError(str(path), entry.key_position.line, f"unknown field {name}; expected `faults:` alone")
    return tuple(_Entry(path, policy, node).fault() for node in listed.node.content)


class _Entry:
    """One fault of the file, and how to complain about it."""

    def __init__(self, path: Path, policy: PolicySet, node: Node) -> None:
        self._path = path
        self._policy = policy
        self._line = node.position.line
        if not isinstance(node.content, dict):
            raise self._wrong(
                f"expected each fault to be a mapping such as {{outage: CLUSTER, at: 10m}}, not {_shown(node)}"
            )
        self._fields: Mapping[str, Entry] = node.content

    def fault(self) -> Fault:
        """Read it."""
        kind = self._kind()
        fields = (kind, *_TIMES, *_FIELDS[kind])
        for field in self._fields:
            if field not in fields:
                hint = _hint(field, fields)
                raise self._wrong(f"unknown field {field}; a fault of this kind has {', '.join(fields)}{hint}", field)
        start = self._seconds("at") if "at" in self._fields else 0.0
        end = math.inf
        if "for" in self._fields:
            lasts = self._seconds("for")
            if lasts <= 0:
                raise self._wrong("for: expected a duration above 0s", "for")
            end = start + lasts
        match kind:
            case "outage":
                return self._outage(start, end)
            case "capacity":
                return self._capacity(start, end)
            case "price":
                known = price_keys(self._policy)
                return PriceMove(self._name(kind, known, "price key or cluster"), start, end, *self._price())
            case _:
                return Silence(Source(self._name(kind, [str(source) for source in Source], "source")), start, end)

    def _kind(self) -> str:
        kinds = [kind for kind in _FIELDS if kind in self._fields]
        if len(kinds) == 1:
            return kinds[0]
        expected = f"expected one of {', '.join(_FIELDS)}"
        if kinds:
            raise self._wrong(f"{expected}, not {' and '.join(kinds)} at once")
        hints = (_hint(field, _FIELDS) for field in self._fields if field not in _TIMES)
        raise self._wrong(expected + next((hint for hint in hints if hint), ""))

    def _outage(self, start: float, end: float) -> Outage:
        name = self._name("outage", self._policy.clusters, "cluster")
        there = len(self._policy.clusters[name].spec.endpoints)
        endpoints, hang = self._value("endpoints"), self._value("hang")
        if endpoints is not None and not (type(endpoints) is int and 1 <= endpoints <= there):
            raise self._wrong(f"expected endpoints from 1 to {there}, not {endpoints!r}", "endpoints")
        if "hang" in self._fields and not isinstance(hang, bool):
            raise self._wrong(f"hang: expected true or false, not {hang!r}", "hang")
        count = endpoints if isinstance(endpoints, int) and endpoints != there else None
        return Outage(name, start, end, count, hang=hang is True)

    def _capacity(self, start: float, end: float) -> CapacityLoss:
        name = self._name("capacity", self._policy.clusters, "cluster")
        if "factor" not in self._fields:
            raise self._wrong("expected a factor, such as 50%: the part of its speed that is left")
        try:
            factor = parse_percentage(self._value("factor"))
        except ValueError as error:
            raise self._wrong(f"factor: {error}", "factor") from error
        if factor <= 0:
            raise self._wrong("expected a factor above 0%; an outage takes all", "factor")
        return CapacityLoss(name, start, end, factor)

    def _price(self) -> tuple[float | None, float | None]:
        given = [field for field in _FIELDS["price"] if field in self._fields]
        if len(given) != 1:
            raise self._wrong("expected usdPerMillionTokens or factor, one of them")
        value = self._value(given[0])
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= GREATEST_PRICE:
            raise self._wrong(f"{given[0]}: expected a number from 0 to {GREATEST_PRICE:.0f}, not {value!r}", given[0])
        return (float(value), None) if given[0] == "usdPerMillionTokens" else (None, float(value))

    def _name(self, kind: str, known: Iterable[str], what: str) -> str:
        name = self._value(kind)
        if not isinstance(name, str):
            raise self._wrong(f"expected the name of a {what}, not {_shown(self._fields[kind].node)}", kind)
        if name not in known:
            raise self._wrong(f"no {what} {name!r}{_hint(name, known)}; known are {', '.join(sorted(known))}", kind)
        return name

    def _seconds(self, field: str) -> float:
        try:
            return parse_duration(self._value(field))
        except ValueError as error:
            raise self._wrong(f"{field}: {error}", field) from error

    def _value(self, field: str) -> PlainValue:
        return self._fields[field].node.plain() if field in self._fields else None

    def _wrong(self, message: str, field: str | None = None) -> ReplayError:
        line = self._fields[field].key_position.line if field is not None else self._line
        return ReplayError(str(self._path), line, message)


def price_keys(policy: PolicySet) -> list[str]:
    """List what prices are known by: keys of cost feeds, and clusters that declare their own."""
    return sorted({cluster.spec.cost.key or cluster.name for cluster in policy.clusters.values()})


def _hint(word: str, known: Iterable[str]) -> str:
    meant = closest(word, known)
    return f"; did you mean {meant}?" if meant else ""


def _shown(node: Node) -> str:
    content = node.content
    return "a mapping" if isinstance(content, dict) else "a list" if isinstance(content, list) else repr(content)
