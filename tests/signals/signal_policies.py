"""Small policy sets for the tests of the signals, built from the schema models directly."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster, CostFeed


def cluster(name: str, *endpoints: tuple[str, int], tls: Mapping[str, str] | None = None, **health: Any) -> Cluster:
    return Cluster.model_validate(
        {
            "apiVersion": "penstock/v1",
            "kind": "Cluster",
            "metadata": {"name": name},
            "spec": {
                "site": "on_prem",
                "region": "eu-central",
                "engine": "vllm",
                "models": ["llama-3-70b"],
                "endpoints": [
                    {"address": address, "port": port} | ({"tls": tls} if tls else {}) for address, port in endpoints
                ],
                "capacity": {"concurrency": 100},
                "health": {"interval": "1s", "timeout": "500ms", "unhealthyThreshold": 2, "healthyThreshold": 2}
                | health,
            },
        }
    )


def feed(name: str, **spec: Any) -> CostFeed:
    return CostFeed.model_validate(
        {"apiVersion": "penstock/v1", "kind": "CostFeed", "metadata": {"name": name}, "spec": spec}
    )


def policy_set(clusters: Sequence[Cluster] = (), feeds: Sequence[CostFeed] = ()) -> PolicySet:
    empty: dict[str, Any] = {}
    return PolicySet(
        digest="",
        clusters={c.name: c for c in clusters},
        feeds={f.name: f for f in feeds},
        listeners=empty,
        groups=empty,
        residency=empty,
        policies=empty,
    )
