"""What somebody supposes, as they write it: ``price:cloud-eu-west=0.4``, ``down:onprem-fra``, ``demand:chat=x2``."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from penstock_policies.policyset import PolicySet
from penstock_policies.suggestions import closest

EXPECTED = "expected price:CLUSTER=USD, down:CLUSTER, drain:CLUSTER, capacity:CLUSTER=REQUESTS or demand:POLICY=xFACTOR"

_GREATEST_PRICE = 1e6
"""USD for a million tokens: the greatest the engine believes of a feed."""
_GREATEST_FACTOR = 1e4
_GREATEST_CAPACITY = 10_000_000


class WhatIfError(ValueError):
    """A supposition cannot be understood, or is about what the policy has not."""


class Supposed(StrEnum):
    """What can be supposed."""

    PRICE = "price"
    """A cluster's price, USD for a million generated tokens."""
    DOWN = "down"
    """That a cluster is down."""
    DRAIN = "drain"
    """That a cluster is drained."""
    CAPACITY = "capacity"
    """The requests in flight at which a cluster is full."""
    DEMAND = "demand"
    """A factor on a policy's requests."""


_WITH_VALUE = frozenset({Supposed.PRICE, Supposed.CAPACITY, Supposed.DEMAND})


@dataclass(frozen=True, slots=True)
class Supposition:
    """One supposition."""

    kind: Supposed
    subject: str
    """A cluster's name, or a policy's for :attr:`Supposed.DEMAND`."""
    value: float
    """0 where the kind has none."""
    text: str
    """As it was written."""


def parse_suppositions(texts: Iterable[str], policy: PolicySet) -> tuple[Supposition, ...]:
    """Read suppositions about a policy set.

    Raises:
        WhatIfError: one cannot be understood, names what is not there, or says again what another says.

    """
    suppositions = [_parse(text.strip(), policy) for text in texts]
    seen: set[tuple[Supposed, str]] = set()
    for supposition in suppositions:
        if (supposition.kind, supposition.subject) in seen:
            raise WhatIfError(f"{supposition.text!r}: {supposition.kind} of {supposition.subject} is supposed twice")
        seen.add((supposition.kind, supposition.subject))
    return tuple(suppositions)


def _parse(text: str, policy: PolicySet) -> Supposition:
    word, colon, rest = text.partition(":")
    if not colon or word not in list(Supposed):
        meant = closest(word, [kind.value for kind in Supposed])
        raise WhatIfError(f"{text!r}: {EXPECTED}" + (f" (did you mean {meant!r}?)" if meant else ""))
    kind = Supposed(word)
    subject, equals, value = (part.strip() for part in rest.partition("="))
    if bool(equals) != (kind in _WITH_VALUE):
        raise WhatIfError(f"{text!r}: {EXPECTED}")
    known = policy.policies if kind is Supposed.DEMAND else policy.clusters
    if subject not in known:
        what = "policy" if kind is Supposed.DEMAND else "cluster"
        meant = closest(subject, known)
        raise WhatIfError(f"{text!r}: no {what} {subject!r}" + (f" (did you mean {meant!r}?)" if meant else ""))
    return Supposition(kind, subject, _value(kind, value, text), text)


def _value(kind: Supposed, value: str, text: str) -> float:
    match kind:
        case Supposed.PRICE:
            return _number(value, text, 0.0, _GREATEST_PRICE, "a price in USD for a million tokens")
        case Supposed.CAPACITY:
            number = _number(value, text, 1, _GREATEST_CAPACITY, "requests in flight, at least 1")
            if number != int(number):
                raise WhatIfError(f"{text!r}: expected a whole number of requests in flight")
            return number
        case Supposed.DEMAND:
            if not value.startswith("x"):
                raise WhatIfError(f"{text!r}: expected a factor such as x1.5")
            return _number(value.removeprefix("x"), text, 0.0, _GREATEST_FACTOR, "a factor such as x1.5")
        case _:
            return 0.0


def _number(value: str, text: str, least: float, greatest: float, expected: str) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise WhatIfError(f"{text!r}: expected {expected}") from error
    if not math.isfinite(number) or not least <= number <= greatest:
        raise WhatIfError(f"{text!r}: expected {expected}, at most {greatest:g}")
    return number
