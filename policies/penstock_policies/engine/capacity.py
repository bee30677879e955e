"""Third stage: how many requests in flight each cluster may be planned to carry."""

from collections.abc import Mapping

from penstock_policies.decision import ClusterHealth, Note, Stage
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster


def full_capacity(cluster: Cluster, health: ClusterHealth | None) -> float:
    """Give the requests in flight at which the cluster is full, counting its healthy endpoints only."""
    endpoints = {endpoint.key for endpoint in cluster.spec.endpoints}
    unhealthy = endpoints & set(health.unhealthy_endpoints) if health is not None else set[str]()
    return cluster.spec.capacity.concurrency * (1 - len(unhealthy) / len(endpoints))


def planned_capacity(
    policy: PolicySet, health: Mapping[str, ClusterHealth]
) -> tuple[dict[str, float], tuple[Note, ...]]:
    """Give each cluster's full capacity less its headroom, and a note where unhealthy endpoints lower it."""
    planned: dict[str, float] = {}
    notes: list[Note] = []
    for name in sorted(policy.clusters):
        cluster = policy.clusters[name]
        full = full_capacity(cluster, health.get(name))
        planned[name] = full * (1 - cluster.spec.capacity.headroom)
        declared = cluster.spec.capacity.concurrency
        if full < declared:
            notes.append(
                Note(
                    Stage.CAPACITY,
                    "capacity lowered by unhealthy endpoints",
                    {"cluster": name, "declared": declared, "left": full},
                )
            )
    return planned, tuple(notes)
