"""What is known of single endpoints, in one region: counted with fading memory, so that thin traffic tells as well.

Counts fade by half in :data:`HALF_LIFE` seconds. They are not made smaller; new ones are given more weight, which costs
one multiplication a count, and once in a while all are scaled down.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from envoy.config.core.v3.address_pb2 import Address
from google.protobuf.message import DecodeError

from penstock.signals.load_reports import EndpointCount

HALF_LIFE: Final = 15.0
"""Seconds."""
_PER_SECOND: Final = math.log(2) / HALF_LIFE
"""A faded count, times this, is the rate it comes from if that has been steady."""
_HEAVIEST: Final = 2.0**40
MOST_KNOWN: Final = 1_024
"""Endpoints of a cluster that are kept; DNS names may resolve to ever new ones."""
FORGOTTEN: Final = 120.0
"""Seconds after which an endpoint that nobody tells of is forgotten."""


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """One endpoint as the edges of a region see it, over about the last twenty seconds."""

    at: float
    """When an edge last told of it."""
    in_flight: int
    ended: float
    """Requests that have ended lately, of which the shares are made."""
    request_rate: float
    """Per second, as all rates."""
    error_rate: float
    success_rate: float
    metrics: dict[str, float] = field(default_factory=dict)
    """What its engine said of itself in its answers (ORCA), the mean of them."""
    metrics_at: float | None = None
    """When it last did."""


@dataclass(slots=True)
class Outcome:
    """How requests at an endpoint went lately, over all regions."""

    in_flight: int = 0
    ended: float = 0.0
    """Requests that ended, of which ``errors`` failed; both counted with fading memory."""
    errors: float = 0.0

    @property
    def error_share(self) -> float:
        """Of what ended, the share that failed; 0 of nothing."""
        return self.errors / self.ended if self.ended > 0 else 0.0


@dataclass(slots=True)
class _Counted:
    at: float
    in_flight: int = 0
    issued: float = 0.0
    errors: float = 0.0
    successes: float = 0.0
    metrics: dict[str, list[float]] = field(default_factory=dict)
    """Name to the sum and the number of those that told it."""
    metrics_at: float | None = None


class Endpoints:
    """The endpoints of one region's clusters."""

    def __init__(self, now: float) -> None:
        self._from = now
        self._known: dict[str, dict[bytes, _Counted]] = {}
        self.speaking: set[str] = set()
        """Clusters whose engines tell figures in their answers."""

    def add(self, count: EndpointCount, now: float, times: int) -> None:
        """Count what ended and began at an endpoint, ``times`` as much if only one of so many reports is read."""
        counted = self._counted(count.cluster, count.address, now)
        if counted is None:
            return
        weight = self._weight(now) * times
        counted.issued += count.issued * weight
        counted.errors += count.errors * weight
        counted.successes += count.successes * weight
        for name, requests, total in count.metrics:
            told = counted.metrics.setdefault(name, [0.0, 0.0])
            told[0] += total * weight
            told[1] += requests * weight
            counted.metrics_at = now
        if count.metrics:
            self.speaking.add(count.cluster)

    def carry(self, cluster: str, address: bytes, more: int, now: float) -> None:
        """Count so many more requests in flight at an endpoint, or fewer."""
        counted = self._counted(cluster, address, now)
        if counted is not None:
            counted.in_flight += more

    def tidy(self, now: float) -> None:
        """Forget what nobody tells of any more."""
        for cluster, known in list(self._known.items()):
            for address, counted in list(known.items()):
                if now - counted.at > FORGOTTEN and counted.in_flight <= 0:
                    del known[address]
            if not known:
                del self._known[cluster]
                self.speaking.discard(cluster)

    def of(self, cluster: str, now: float) -> dict[str, EndpointLoad]:
        """Tell what is known of a cluster's endpoints, by ``address:port``; "" is those not told one by one."""
        weight = self._weight(now)
        return {
            readable(address): EndpointLoad(
                counted.at,
                max(0, counted.in_flight),
                (counted.errors + counted.successes) / weight,
                counted.issued / weight * _PER_SECOND,
                counted.errors / weight * _PER_SECOND,
                counted.successes / weight * _PER_SECOND,
                {name: total / requests for name, (total, requests) in counted.metrics.items() if requests > 0},
                counted.metrics_at,
            )
            for address, counted in self._known.get(cluster, {}).items()
        }

    def add_to(self, outcomes: dict[tuple[str, str], Outcome], now: float) -> None:
        """Add how requests went to those of other regions, by cluster and ``address:port``."""
        weight = self._weight(now)
        for cluster, known in self._known.items():
            for address, counted in known.items():
                outcome = outcomes.setdefault((cluster, readable(address)), Outcome())
                outcome.in_flight += max(0, counted.in_flight)
                outcome.ended += (counted.errors + counted.successes) / weight
                outcome.errors += counted.errors / weight

    def clusters(self) -> frozenset[str]:
        """Name the clusters of which endpoints are known."""
        return frozenset(self._known)

    def _counted(self, cluster: str, address: bytes, now: float) -> _Counted | None:
        known = self._known.setdefault(cluster, {})
        counted = known.get(address)
        if counted is None:
            if len(known) >= MOST_KNOWN:
                return None
            counted = known[address] = _Counted(now)
        counted.at = now
        return counted

    def _weight(self, now: float) -> float:
        weight = float(2.0 ** min(1000.0, (now - self._from) / HALF_LIFE))
        if weight <= _HEAVIEST:
            return weight
        for known in self._known.values():
            for counted in known.values():
                counted.issued /= weight
                counted.errors /= weight
                counted.successes /= weight
                for told in counted.metrics.values():
                    told[0] /= weight
                    told[1] /= weight
        self._from = now
        return 1.0


@lru_cache(maxsize=65_536)
def readable(address: bytes) -> str:
    """Turn a serialized address into ``address:port``, as endpoints are named everywhere; "?" if it is none."""
    if not address:
        return ""
    try:
        socket = Address.FromString(address).socket_address
    except DecodeError:
        return "?"
    host = socket.address
    return f"[{host}]:{socket.port_value}" if ":" in host else f"{host}:{socket.port_value}"
