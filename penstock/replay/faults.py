"""What goes wrong in a replay: the kinds of fault, with times in seconds from the start of the trace."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


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


def described(fault: Fault) -> str:
    """Say a fault in a few words."""
    until = "" if math.isinf(fault.end) else f" to {fault.end:.0f} s"
    when = f"from {fault.start:.0f} s{until}"
    match fault:
        case Outage():
            count = fault.endpoints
            part = "" if count is None else f"{count} endpoint{'' if count == 1 else 's'} of "
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
