"""A snapshot of 10 000 clusters and their endpoints, and one of them changes: what is sent to a client.

``python bench/big_snapshot.py``: one client of each variant. In Delta one change is one resource, for any type. In
State of the World, a change of one cluster is all clusters by the protocol, as absence means removal; of endpoints a
server may send the changed ones alone. Medians over the changes; the last line is one JSON object with a row for each.
"""

import argparse
import os
from statistics import median

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from bench.fanout_measure import Contender, Push, contenders
from bench.fanout_resources import assignment, many_clusters
from bench.report import report
from penstock_xds import Resource, types

CHANGED = "cluster-5000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resources", type=int, default=int(os.environ.get("RESOURCES", "10000")))
    parser.add_argument("--changes", type=int, default=int(os.environ.get("CHANGES", "5")))
    given = parser.parse_args()
    served = many_clusters(given.resources)
    rows = []
    for sotw in (False, True):
        # Clusters first, as clients do; the changes are of the type asked for last.
        for order in ((types.CLUSTER,), (types.CLUSTER, types.ENDPOINT)):
            with contenders(served, order=order, sotw=sotw) as both:
                for each in both:
                    rows.append(measure(each, order[-1], given.changes, sotw=sotw))
                    print(rows[-1], flush=True)
    report({"bench": "big_snapshot", "resources": given.resources, "rows": rows})


def measure(contender: Contender, type_url: str, changes: int, *, sotw: bool) -> dict[str, object]:
    """Change one resource a few times."""
    contender.connect(1)
    pushes = [change(contender, type_url, number) for number in range(1, changes + 2)][1:]
    return {
        "server": contender.name,
        "variant": "sotw" if sotw else "delta",
        "type": type_url.rpartition(".")[2],
        "bytes": round(median(p.bytes for p in pushes)),
        "ms": round(median(p.ms for p in pushes), 2),
        "cpu_us": round(median(p.cpu_us for p in pushes)),
    }


def change(contender: Contender, type_url: str, number: int) -> Push:
    """Another timeout for the cluster, or another port for its endpoints."""
    if type_url == types.ENDPOINT:
        resource = assignment(CHANGED, port=9000 + number)
    else:
        cluster = Cluster.FromString(contender.body(types.CLUSTER, CHANGED))
        cluster.connect_timeout.FromMilliseconds(1000 + number)
        resource = Resource(type_url, CHANGED, cluster.SerializeToString(deterministic=True))
    return contender.replace(type_url, CHANGED, resource.body)


if __name__ == "__main__":
    main()
