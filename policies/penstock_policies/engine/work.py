"""How many slot-seconds a request takes at a cluster: what it takes when full, for its size, at the load planned.

Service times are measured by cluster, for all rows together; tokens tell large requests from small ones where the
cluster declares how many it takes a second. Measured times decide where sizes are only assumed, or nothing is declared.
"""

from collections.abc import Mapping

from penstock_policies.decision import Decision
from penstock_policies.engine.demand import Demand
from penstock_policies.engine.sanitise import Facts, total_load
from penstock_policies.engine.saturation import slots_left
from penstock_policies.engine.speed import Seen
from penstock_policies.engine.tokens import Tokens
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.schema import Cluster


def work_when_full(cluster: Cluster, tokens: Tokens) -> float:
    """Give the seconds a request holds a slot of a full cluster by its declared rates; 0 where they tell nothing."""
    capacity = cluster.spec.capacity
    seconds = 0.0
    if capacity.tokens_per_second is not None:
        seconds += tokens[1] / capacity.tokens_per_second
    if capacity.prompt_tokens_per_second is not None:
        seconds += tokens[0] / capacity.prompt_tokens_per_second
    return capacity.concurrency * seconds


def rated(policy: PolicySet) -> frozenset[str]:
    """Name the clusters that declare how many tokens they take a second."""
    return frozenset(name for name, cluster in policy.clusters.items() if work_when_full(cluster, (1.0, 1.0)) > 0)


def seen_speeds(
    policy: PolicySet,
    facts: Facts,
    demand: Demand,
    measured: Mapping[str, Tokens],
    tokens: Mapping[RowKey, Tokens],
    *,
    previous: Decision | None,
    now: float,
) -> dict[str, Seen]:
    """Give what shows of the speed of every cluster that declares rates and serves requests of known size."""
    wanted = rated(policy).intersection(demand.flow)
    if previous is None or not measured or not wanted:
        return {}
    sizes = {**_sizes(policy, demand, measured, tokens, previous), **measured}
    seen: dict[str, Seen] = {}
    for name in sorted(wanted.intersection(sizes)):
        if total_load(facts, name, now).request_rate > 0:
            cluster = policy.clusters[name]
            load = demand.flow[name][1] / slots_left(cluster, previous.health.get(name))
            seen[name] = Seen(demand.service_time[name], work_when_full(cluster, sizes[name]), min(1.0, load))
    return seen


def _sizes(
    policy: PolicySet,
    demand: Demand,
    measured: Mapping[str, Tokens],
    tokens: Mapping[RowKey, Tokens],
    previous: Decision,
) -> dict[str, Tokens]:
    """Give the mean size at clusters that do not count tokens, by the rows that use them."""
    sums: dict[str, tuple[float, float, float]] = {}
    for key, row in previous.rows.items():
        if key not in tokens or measured.keys().isdisjoint(policy.policies[key.policy].spec.clusters):
            continue
        for name, weight in row.weights.items():
            if weight > 0 and name not in measured and name in policy.clusters:
                requests = weight * demand.rates[key]
                prompt, output, whole = sums.get(name, (0.0, 0.0, 0.0))
                one = tokens[key]
                sums[name] = (prompt + requests * one[0], output + requests * one[1], whole + requests)
    return {name: (prompt / whole, output / whole) for name, (prompt, output, whole) in sums.items() if whole > 0}
