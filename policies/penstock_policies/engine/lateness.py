"""Clusters whose first tokens are far too late for no reason that anybody can see: answered well, and of no use.

A queue or a full cluster is no such thing: that is overload, and the trim's business (:mod:`.trim`). Nor is being a
little late. What is meant is an engine that has its GPU throttled, its weights swapped out or its network broken, and
whose health page is green. Only policies tell what late is, so a cluster that any policy without an SLO may use is not
judged: its long prompts would be taken for the cluster's slowness.
"""

from typing import Final

from penstock_policies.engine.sanitise import Facts, total_load
from penstock_policies.engine.saturation import queueing
from penstock_policies.policyset import PolicySet

_FAR: Final = 5.0
"""Times the most patient SLO of those that may use the cluster."""
_LITTLE: Final = 0.5
"""Of the declared concurrency: requests in flight up to which load does not make first tokens that late."""


def late_from(policy: PolicySet, facts: Facts, now: float) -> dict[str, float]:
    """Give, of every cluster that has little to do, the seconds from which its first tokens are far too late."""
    users: dict[str, list[float | None]] = {}
    for traffic in policy.policies.values():
        for name in traffic.spec.clusters:
            users.setdefault(name, []).append(traffic.spec.slo.ttft_p95)
    limits: dict[str, float] = {}
    for name in sorted(users):
        slos = [slo for slo in users[name] if slo is not None]
        little = total_load(facts, name, now).in_flight < _LITTLE * policy.clusters[name].spec.capacity.concurrency
        if len(slos) == len(users[name]) and little and not queueing(facts.engines.get(name)):
            limits[name] = _FAR * max(slos)
    return limits


def is_late(facts: Facts, cluster: str, limit: float, now: float, *, age: float, least_rate: float) -> bool:
    """Tell whether first tokens are later than ``limit`` from wherever enough requests come.

    Args:
        facts: the load of those who look.
        cluster: the one looked at.
        limit: seconds.
        now: Unix seconds.
        age: seconds that a load report may be old.
        least_rate: requests a second below which a region's word proves nothing.

    """
    told = [
        by[cluster].ttft_p95
        for by in facts.load.values()
        if cluster in by and now - by[cluster].at <= age and by[cluster].request_rate >= least_rate
    ]
    # One region that waits long has a bad way there, if others do not.
    return bool(told) and all(ttft is not None and ttft > limit for ttft in told)
