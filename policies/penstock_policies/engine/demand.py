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
from penstock_policies.engine.project import distance
from penstock_policies.engine.sanitise import LOAD_AGE, Facts, error_share, total_load
from penstock_policies.engine.saturation import completed, saturated, slots_left
from penstock_policies.observations import EngineLoad, Load
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import row_name

_ITERATIONS = 10
"""Of the deconvolution, where traffic is dense. Where it is thin fewer, down to one: iterating on one second's noise
until it is explained credits it to rows that send nothing, while single steps average it away over time."""
_SCATTER = 4.0
"""Standard deviations of Poisson counts: a change within them may be noise. Four and not three, as real arrivals come
in bunches and scatter more than Poisson's."""
_RECENT = 4.0
"""Time constant in seconds of the average that tells a surge from a single second's burst."""
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
_COUNT_OF_TOTALS = 1000.0
"""The same for totals, within about 2 %: they move every weight, and surges need not wait for it."""
_PATIENCE = 30.0
"""Seconds beyond which no time constant is stretched to span them."""
_MIX = 1.5
"""Time constant in seconds in which reports follow a change of weights: the newest report of a region looks back one
second, its oldest one up to two, and the change takes a moment to arrive."""
_UNSETTLED = 0.1
"""The share of a row's traffic that may differ between the weights in force and those that reports still mix in, for
these to tell rows apart: more of it, and a guess at the mixture is too rough."""
_NO_SHARE = 1e-4
"""A share, about that of the smallest weight, that is as good as none."""
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
    mixed: Mapping[str, Mapping[str, float]]
    """Row to its shares as reports mix them."""
    recent: Mapping[str, float]
    """Region to its short average."""


def estimate(policy: PolicySet, facts: Facts, previous: Decision | None, now: float) -> Demand:
    """Estimate demand from load reports, the weights they were made under, and what was estimated before."""
    memory = previous.memory if previous is not None else EngineMemory()
    elapsed = max(0.0, now - previous.at) if previous is not None else math.inf
    notes: list[Note] = []
    smoothed: dict[str, float] = {}
    mixed = _mixed(previous, elapsed)
    recent = {region: memory.recent[region] for region in policy.regions() if region in memory.recent}
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
        total += _unheard(facts.unknown_load[region], keys, rows, memory.demand)
        shares = _region(facts, region, keys, rows, memory.demand, mixed=mixed, elapsed=elapsed)
        known = sum(memory.demand.get(row_name(key), 0.0) for key in keys)
        total, recent[region] = _followed(known, total, memory.recent.get(region), elapsed)
        smoothed.update({row_name(key): share * max(total, _LEAST_TOTAL) for key, share in shares.items()})
    rates = {key: smoothed[row_name(key)] for keys in by_region.values() for key in keys}
    flow = _flow(policy, facts, previous, elapsed, now)
    return Demand(
        rates={key: rate if rate >= _IDLE else 0.0 for key, rate in rates.items()},
        service_time=_service_times(policy, flow),
        smoothed=smoothed,
        flow=flow,
        notes=tuple(notes),
        mixed=mixed,
        recent=recent,
    )


def _mixed(previous: Decision | None, elapsed: float) -> dict[str, dict[str, float]]:
    """Follow the weights in force as reports do: gradually."""
    if previous is None:
        return {}
    gain = _gain(elapsed, _MIX)
    mixed: dict[str, dict[str, float]] = {}
    for key, row in previous.rows.items():
        name = row_name(key)
        whole = sum(row.weights.values())
        if whole <= 0:
            continue
        shares = {cluster: weight / whole for cluster, weight in row.weights.items() if weight > 0}
        before = previous.memory.mixed.get(name, shares)
        if before != shares:
            both = {
                cluster: before.get(cluster, 0.0) + gain * (shares.get(cluster, 0.0) - before.get(cluster, 0.0))
                for cluster in sorted({*before, *shares})
            }
            if distance(both, shares) > _NO_SHARE:
                shares = both
        mixed[name] = shares
    return mixed


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


def _unheard(
    unknown: frozenset[str], keys: Sequence[RowKey], rows: Mapping[RowKey, Row], held: Mapping[str, float]
) -> float:
    """Give the requests a second that clusters without a report carry, if demand and weights are as they were."""
    return sum(
        held.get(row_name(key), 0.0) * (1 - sum(_known_shares(rows[key], unknown).values()))
        for key in keys
        if unknown and key in rows and rows[key].weights
    )


def _region(
    facts: Facts,
    region: str,
    keys: Sequence[RowKey],
    rows: Mapping[RowKey, Row],
    before: Mapping[str, float],
    *,
    mixed: Mapping[str, Mapping[str, float]],
    elapsed: float,
) -> dict[RowKey, float]:
    """Give the proportions of a region's rows."""
    held = {key: before.get(row_name(key), 0.0) for key in keys}
    shares = _shares_before(keys, held)
    load = facts.load[region]
    if all(key in rows and _settled(rows[key], mixed) for key in keys):
        weights = {key: _known(mixed.get(row_name(key), {}), facts.unknown_load[region]) for key in keys}
        shares = _deconvolve(shares, load, weights, elapsed)
    return shares


def _followed(known: float, total: float, recent: float | None, elapsed: float) -> tuple[float, float]:
    """Give a region's total as it follows what is reported, and its short average.

    Where traffic is thin a difference is averaged over enough requests to be more than chance, in the rate known: by
    the rate reported, chance peaks would be followed faster than chance lulls, and demand overrated. A surge or a
    stop, which some seconds together put beyond chance, is not waited for, and once that is known the seconds before
    it count no more.
    """
    if known <= 0 or recent is None or math.isinf(elapsed):
        return total, total
    recent += _gain(elapsed, _RECENT) * (total - recent)
    base = _RISE if total > known else _FALL
    # An exponential average of Poisson counts has the variance of the rate over twice its time constant.
    if abs(recent - known) > _SCATTER * math.sqrt(max(known, 1.0) / (2 * _RECENT)):
        return known + _gain(elapsed, base) * (total - known), total
    return known + _gain(elapsed, _spanning(base, known, _COUNT_OF_TOTALS)) * (total - known), recent


def _shares_before(keys: Sequence[RowKey], held: Mapping[RowKey, float]) -> dict[RowKey, float]:
    known = [key for key in keys if held[key] > 0]
    total = sum(held[key] for key in known)
    of_known = len(known) / len(keys)
    return {key: of_known * held[key] / total if held[key] > 0 else 1 / len(keys) for key in keys}


def _deconvolve(
    shares: Mapping[RowKey, float],
    load: Mapping[str, Load],
    weights: Mapping[RowKey, Mapping[str, float]],
    elapsed: float,
) -> dict[RowKey, float]:
    arrived = {name: max(0.0, one.request_rate - one.error_rate) for name, one in load.items()}
    estimated = dict(shares)
    dense = sum(arrived.values()) * _SHARES / _COUNT
    for _ in range(max(1, min(_ITERATIONS, round(_ITERATIONS * dense)))):
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


def _settled(row: Row, mixed: Mapping[str, Mapping[str, float]]) -> bool:
    """Tell whether reports of a row's traffic are made under about the weights in force."""
    whole = sum(row.weights.values())
    if whole <= 0:
        return True
    shares = {name: weight / whole for name, weight in row.weights.items()}
    return distance(mixed.get(row_name(row.key), shares), shares) <= _UNSETTLED


def _known(shares: Mapping[str, float], unknown: frozenset[str]) -> dict[str, float]:
    return {name: share for name, share in shares.items() if name not in unknown}


def _known_shares(row: Row, unknown: frozenset[str]) -> dict[str, float]:
    whole = sum(row.weights.values())
    return {name: weight / whole for name, weight in row.weights.items() if weight > 0 and name not in unknown}


def _flow(
    policy: PolicySet, facts: Facts, previous: Decision | None, elapsed: float, now: float
) -> dict[str, tuple[float, float]]:
    """Follow the requests a second and in flight of every cluster while they tell how long work takes.

    Time in a queue is no work, and keeping it in mind would keep traffic away long after the queue is gone: of a full
    cluster what counts is what it works on and gets done (Little's law on its slots).
    """
    before = previous.memory.flow if previous is not None else {}
    flow: dict[str, tuple[float, float]] = {}
    for name in sorted(policy.clusters):
        held = before.get(name)
        load = total_load(facts, name, now)
        done = completed(facts, name, now, LOAD_AGE)
        slots = slots_left(policy.clusters[name], previous.health.get(name) if previous is not None else None)
        full = saturated(load, facts.engines.get(name), slots)
        idle = load.request_rate == 0 and load.in_flight == 0
        if full:
            rate = load.request_rate if done is None else done
            busy = _working(facts.engines.get(name), load, slots, least=rate * _service_time(held))
        else:
            rate, busy = _flowing(load.request_rate, done), load.in_flight
        stuck = full and rate < _LEAST_RATE
        if idle or stuck or error_share(load) >= _UNTRUSTED_ERRORS:
            if held is not None:
                flow[name] = held
        elif held is None:
            flow[name] = (rate, busy)
        else:
            gain = _gain(elapsed, _spanning(_SERVICE, max(held[0], rate)))
            flow[name] = (held[0] + gain * (rate - held[0]), held[1] + gain * (busy - held[1]))
    return flow


def _working(engine: EngineLoad | None, load: Load, slots: float, *, least: float) -> float:
    """Give the requests that a full cluster works on.

    Without word from the engines it is what it has slots for, and no less than ``least``: a cluster does not get faster
    by being full, so one that gets more done has more slots than declared, which is not counted on.
    """
    if engine is not None and engine.running is not None:
        return engine.running
    return max(least, min(load.in_flight, slots))


def _service_time(flow: tuple[float, float] | None) -> float:
    return flow[1] / flow[0] if flow is not None and flow[0] >= _LEAST_RATE else _UNMEASURED_SERVICE


def _flowing(arrived: float, done: float | None) -> float:
    """Give the rate that requests in flight are to be divided by.

    A cluster that drains is told by what it completes. For one that fills up, what arrives gives too short a time and
    what is completed too long a one: their mean is right for work of one length, and a little short for scattered ones.
    """
    if done is None:
        return arrived
    return done if done > arrived else (arrived + done) / 2


def _service_times(policy: PolicySet, flow: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    least, greatest = _SERVICE_RANGE
    measured = {
        name: min(greatest, max(least, max(in_flight, min(_UNSEEN, rate * _UNMEASURED_SERVICE)) / rate))
        for name, (rate, in_flight) in flow.items()
        if rate >= _LEAST_RATE
    }
    typical = sum(measured.values()) / len(measured) if measured else _UNMEASURED_SERVICE
    return {name: measured.get(name, typical) for name in sorted(policy.clusters)}


def _spanning(time_constant: float, rate: float, count: float = _COUNT) -> float:
    """Stretch a time constant until it spans enough requests at ``rate`` a second."""
    return max(time_constant, min(_PATIENCE, count / rate)) if rate > 0 else time_constant


def _gain(elapsed: float, time_constant: float) -> float:
    """Give the weight of the newest value in an exponential average after ``elapsed`` seconds."""
    return -math.expm1(-elapsed / time_constant)
