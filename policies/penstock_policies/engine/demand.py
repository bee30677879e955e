"""Fourth stage: how many requests a second each row carries, and how long a request stays in flight at each cluster.

The edges report requests per cluster, not per row. Which row they came by is estimated from the weights in force, by
Richardson-Lucy deconvolution (Richardson 1972, Lucy 1974; the EM algorithm for Poisson counts): each cluster's rate
is split over the rows in proportion to what they were expected to send it. Rows with equal weights cannot be told
apart and keep the proportions they had, at first equal ones. Totals follow the reports fast, proportions and service
times slowly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock_policies.decision import Decision, EngineMemory, Note, Row, Stage
from penstock_policies.engine.sanitise import Facts, error_share, total_load
from penstock_policies.observations import Load
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import row_name

_ITERATIONS = 10
_RISE = 2.0
"""Time constant in seconds of a growing total: a peak must spill before queues build."""
_FALL = 8.0
"""Time constant in seconds of a shrinking total: traffic that pauses for a moment comes back."""
_SHARES = 3.0
"""Time constant in seconds of the proportions between rows, where traffic is dense enough to tell them that soon."""
_SERVICE = 15.0
"""Time constant in seconds of service times: several reports, yet less than it takes for prompts to change."""
_COUNT = 200.0
"""Requests a time constant must span where traffic is thin, lest weights chase the noise of arrivals: Poisson counts
averaged so are within about 5 % (one over the root of twice the count)."""
_PATIENCE = 30.0
"""Seconds beyond which no time constant is stretched to span them."""
_SETTLE = 2.2
"""Seconds after a change of weights in which reports still mix old and new weights and so tell rows apart wrongly: the
newest report of a region looks back one second, its oldest one up to two, and the change takes a moment to arrive."""
_LEAST_SHARE = 1e-3
"""Of an equal share: what a row keeps at least, for no row can grow from zero by multiplication."""
_LEAST_TOTAL = 1e-6
"""Requests a second kept of an idle region, to remember the proportions of its rows."""
_IDLE = 1e-3
"""Requests a second below which a row counts as idle."""
_UNTRUSTED_ERRORS = 0.1
"""Share of failures above which in-flight figures tell of errors, not of work."""
_MOSTLY_ERRORS = 0.5
_LEAST_RATE = 1e-3
"""Requests a second below which a service time cannot be measured."""
_SERVICE_RANGE = (1e-3, 86_400.0)
"""Seconds between which a service time is believable: a millisecond to a day."""
_QUEUEING = 1.25
"""Of the declared concurrency: requests in flight above which some must be waiting, beyond the scatter of arrivals."""
_UNMEASURED_SERVICE = 1.0
"""Seconds assumed where nothing tells more."""
_UNSEEN = 0.5
"""Requests in flight assumed at a cluster that is used and yet reports none: that only tells of fewer than one."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests a second by row, seconds in flight by cluster, and the memory to go on from."""

    rates: Mapping[RowKey, float]
    service_time: Mapping[str, float]
    smoothed: Mapping[str, float]
    flow: Mapping[str, tuple[float, float]]
    notes: tuple[Note, ...]


def estimate(policy: PolicySet, facts: Facts, previous: Decision | None, now: float) -> Demand:
    """Estimate demand from load reports, the weights they were made under, and what was estimated before."""
    memory = previous.memory if previous is not None else EngineMemory()
    elapsed = max(0.0, now - previous.at) if previous is not None else math.inf
    notes: list[Note] = []
    smoothed: dict[str, float] = {}
    by_region: dict[str, list[RowKey]] = {}
    for key in policy.rows():
        by_region.setdefault(key.region, []).append(key)
    for region, keys in by_region.items():
        total = _total(facts.load.get(region))
        if total is None:
            smoothed.update({row_name(key): memory.demand.get(row_name(key), 0.0) for key in keys})
            if region in facts.load:
                notes.append(Note(Stage.SANITISE, "demand held, most requests fail", {"region": region}))
            continue
        rows = previous.rows if previous is not None else {}
        smoothed.update(_region(facts, region, keys, rows, memory.demand, total=total, elapsed=elapsed))
    rates = {key: smoothed[row_name(key)] for keys in by_region.values() for key in keys}
    flow = _flow(policy, facts, memory.flow, elapsed, now)
    return Demand(
        rates={key: rate if rate >= _IDLE else 0.0 for key, rate in rates.items()},
        service_time=_service_times(policy, flow),
        smoothed=smoothed,
        flow=flow,
        notes=tuple(notes),
    )


def _total(load: Mapping[str, Load] | None) -> float | None:
    """Give a region's requests a second, each counted where it succeeded; None when unknown.

    A failed attempt is counted again where Envoy retried it, so failures do not add to demand.
    """
    if load is None:
        return None
    issued = sum(one.request_rate for one in load.values())
    failed = sum(min(one.error_rate, one.request_rate) for one in load.values())
    if issued > 0 and failed >= _MOSTLY_ERRORS * issued:
        return None
    return issued - failed


def _region(
    facts: Facts,
    region: str,
    keys: Sequence[RowKey],
    rows: Mapping[RowKey, Row],
    before: Mapping[str, float],
    *,
    total: float,
    elapsed: float,
) -> dict[str, float]:
    held = {key: before.get(row_name(key), 0.0) for key in keys}
    shares = _shares_before(keys, held)
    load = facts.load[region]
    reported_at = max(one.at for one in load.values())
    if all(key in rows and reported_at - rows[key].changed_at >= _SETTLE for key in keys):
        shares = _deconvolve(shares, load, facts.unknown_load[region], rows, elapsed)
    known = sum(held.values())
    if known > 0 and math.isfinite(elapsed):
        time_constant = _spanning(_RISE if total > known else _FALL, max(total, known))
        total = known + _gain(elapsed, time_constant) * (total - known)
    return {row_name(key): share * max(total, _LEAST_TOTAL) for key, share in shares.items()}


def _shares_before(keys: Sequence[RowKey], held: Mapping[RowKey, float]) -> dict[RowKey, float]:
    known = [key for key in keys if held[key] > 0]
    total = sum(held[key] for key in known)
    of_known = len(known) / len(keys)
    return {key: of_known * held[key] / total if held[key] > 0 else 1 / len(keys) for key in keys}


def _deconvolve(
    shares: Mapping[RowKey, float],
    load: Mapping[str, Load],
    unknown: frozenset[str],
    rows: Mapping[RowKey, Row],
    elapsed: float,
) -> dict[RowKey, float]:
    weights = {key: _known_shares(rows[key], unknown) for key in shares}
    arrived = {name: max(0.0, one.request_rate - one.error_rate) for name, one in load.items()}
    estimated = dict(shares)
    for _ in range(_ITERATIONS):
        expected: dict[str, float] = {}
        for key, share in estimated.items():
            for name, weight in weights[key].items():
                expected[name] = expected.get(name, 0.0) + share * weight
        ratio = {name: arrived.get(name, 0.0) / rate for name, rate in expected.items() if rate > 0}
        estimated = {
            key: share * sum(weight * ratio.get(name, 0.0) for name, weight in weights[key].items()) / seen
            if (seen := sum(weights[key].values())) > 0
            else 0.0
            for key, share in estimated.items()
        }
    total = sum(estimated.values())
    if total <= 0 or not math.isfinite(total):
        return dict(shares)
    gain = _gain(elapsed, _spanning(_SHARES, sum(arrived.values())))
    least = _LEAST_SHARE / len(shares)
    mixed = {key: max(least, share + gain * (estimated[key] / total - share)) for key, share in shares.items()}
    whole = sum(mixed.values())
    return {key: share / whole for key, share in mixed.items()}


def _known_shares(row: Row, unknown: frozenset[str]) -> dict[str, float]:
    whole = sum(row.weights.values())
    return {name: weight / whole for name, weight in row.weights.items() if weight > 0 and name not in unknown}


def _flow(
    policy: PolicySet, facts: Facts, before: Mapping[str, tuple[float, float]], elapsed: float, now: float
) -> dict[str, tuple[float, float]]:
    flow: dict[str, tuple[float, float]] = {}
    for name in sorted(policy.clusters):
        held = before.get(name)
        load = total_load(facts, name, now)
        idle = load.request_rate == 0 and load.in_flight == 0
        if idle or error_share(load) >= _UNTRUSTED_ERRORS:
            if held is not None:
                flow[name] = held
            continue
        queueing = _QUEUEING * policy.clusters[name].spec.capacity.concurrency
        if held is None or load.in_flight > queueing or held[1] > queueing:
            # Time in a queue is not service: an average of it would keep traffic away long after the queue is gone.
            flow[name] = (load.request_rate, load.in_flight)
        else:
            rate, in_flight = held
            gain = _gain(elapsed, _spanning(_SERVICE, max(rate, load.request_rate)))
            flow[name] = (rate + gain * (load.request_rate - rate), in_flight + gain * (load.in_flight - in_flight))
    return flow


def _service_times(policy: PolicySet, flow: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    least, greatest = _SERVICE_RANGE
    measured = {
        name: min(greatest, max(least, max(in_flight, min(_UNSEEN, rate * _UNMEASURED_SERVICE)) / rate))
        for name, (rate, in_flight) in flow.items()
        if rate >= _LEAST_RATE
    }
    typical = sum(measured.values()) / len(measured) if measured else _UNMEASURED_SERVICE
    return {name: measured.get(name, typical) for name in sorted(policy.clusters)}


def _spanning(time_constant: float, rate: float) -> float:
    """Stretch a time constant until it spans enough requests at ``rate`` a second."""
    return max(time_constant, min(_PATIENCE, _COUNT / rate)) if rate > 0 else time_constant


def _gain(elapsed: float, time_constant: float) -> float:
    """Give the weight of the newest value in an exponential average after ``elapsed`` seconds."""
    return -math.expm1(-elapsed / time_constant)
