"""Probing from the edge: CPU and bytes for ``ENVOYS`` (1000) Envoys in four regions and ``CLUSTERS`` (200) clusters.

Everything but gRPC: who checks what as all Envoys come at once, what they are told, their reports as bytes (parsed,
counted, pinned on the board), one Envoy that goes. Beside it the same with every Envoy checking every cluster, which is
what one would have without choosing checkers: of one Envoy, times all.
"""

import os
import time
from dataclasses import replace

from envoy.config.core.v3 import health_check_pb2
from envoy.service.health.v3 import hds_pb2

from bench.decide_fleet import policy_set
from bench.report import report
from penstock.signals.board import ObservationBoard
from penstock.signals.edge_checks import checks_of, places_of
from penstock.signals.edge_probing import LINGER, Checker, EdgeProbing
from penstock.signals.health_reports import read_report
from penstock_envoy.health_checks import author_health_check
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Listener
from penstock_policies.words import Vantage

REGIONS = 4
SECONDS = 20


def fleet(clusters: int) -> PolicySet:
    made = policy_set(1, REGIONS, clusters)
    spec = {"address": "127.0.0.1", "port": 10_000, "dataClass": "public"}
    listener = Listener.model_validate(
        {"apiVersion": "penstock/v1", "kind": "Listener", "metadata": {"name": "public"}, "spec": spec}
    )
    probed = {}
    for name, one in made.clusters.items():
        health = one.spec.health.model_copy(update={"vantage": Vantage.EDGE})
        probed[name] = one.model_copy(update={"spec": one.spec.model_copy(update={"health": health})})
    groups = {
        name: one.model_copy(update={"spec": one.spec.model_copy(update={"listeners": ("public",)})})
        for name, one in made.groups.items()
    }
    return replace(made, clusters=probed, groups=groups, listeners={"public": listener})


def words(told: bytes) -> bytes:
    """What an Envoy reports: everything it was asked about, flat and by cluster, all well."""
    message = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
    response = message.endpoint_health_response
    for each in hds_pb2.HealthCheckSpecifier.FromString(told).cluster_health_checks:
        place = response.cluster_endpoints_health.add(cluster_name=each.cluster_name).locality_endpoints_health.add()
        for endpoint in each.locality_endpoints[0].endpoints:
            for one in (place.endpoints_health.add(), response.endpoints_health.add()):
                one.endpoint.address.CopyFrom(endpoint.address)
                one.health_status = health_check_pb2.HEALTHY
    written: bytes = message.SerializeToString()
    return written


class Edge:
    """The service without its streams, on a clock of its own."""

    def __init__(self, policy: PolicySet) -> None:
        self.now = 1000.0
        self.board = ObservationBoard()
        self.board.apply(policy)
        self.probing = EdgeProbing()
        told = {name: author_health_check(one) for name, one in policy.clusters.items()}
        self.probing.apply(checks_of(policy, told), places_of(policy), self.now)
        self.told = 0

    def settle(self) -> list[Checker]:
        """Settle as the service does, four times a second; give who was told something."""
        settled = self.probing.settle(self.now)
        self.told += len(settled.tell)
        for one in settled.verdicts:
            self.board.set_edge_probe(one.region, one.cluster, one.endpoint, one.probe)
        return list(settled.tell)

    def hear(self, checker: Checker, message: bytes) -> None:
        """Take a report as it comes from the wire."""
        self.probing.heard(checker, read_report(message, self.probing.questions(checker)), self.now)


def steady(edge: Edge, said: dict[Checker, bytes]) -> tuple[float, int]:
    """CPU seconds a second, and reports a second, while every checker reports as it was told to."""
    due = {checker: edge.now + index * checker.every / len(said) for index, checker in enumerate(said)}
    begun, reports = time.process_time(), 0
    for _ in range(SECONDS * 4):
        edge.now += 0.25
        for checker, at in due.items():
            if at <= edge.now:
                edge.hear(checker, said[checker])
                due[checker] = at + checker.every
                reports += 1
        edge.settle()
    return (time.process_time() - begun) / SECONDS, reports // SECONDS


def main() -> None:
    envoys, clusters = int(os.environ.get("ENVOYS", "1000")), int(os.environ.get("CLUSTERS", "200"))
    policy = fleet(clusters)
    groups = sorted(one.spec.match.cluster for one in policy.groups.values())
    edge = Edge(policy)
    begun = time.process_time()
    checkers = [edge.probing.came(f"edge-{n}", groups[n % len(groups)], edge.now) for n in range(envoys)]
    for _ in range(8):
        edge.now += 0.25
        edge.settle()
    all_come = time.process_time() - begun
    asked = [one for one in checkers if one.asked]
    said = {one: words(one.told) for one in asked}
    cpu, reports = steady(edge, said)
    told = edge.told
    edge.probing.went(asked[0], edge.now)
    begun = time.process_time()
    edge.now += LINGER
    for _ in range(4):
        edge.now += 0.25
        edge.settle()
    one_goes = time.process_time() - begun
    lone = Edge(policy)
    every = lone.probing.came("edge-0", groups[0], lone.now)
    lone.now += 1
    lone.settle()
    naive, _ = steady(lone, {every: words(every.told)})
    report(
        {
            "bench": "hds",
            "envoys": envoys,
            "clusters": clusters,
            "regions": len(groups),
            "checking": len(asked),
            "all_come_cpu_seconds": round(all_come, 3),
            "told_once_each": told == len(asked),
            "told_bytes_most": max(len(one.told) for one in asked),
            "report_bytes_mean": round(sum(map(len, said.values())) / len(said)),
            "reports_a_second": reports,
            "steady_core_share": round(cpu, 4),
            "one_goes_cpu_ms": round(one_goes * 1e3, 2),
            "told_when_one_goes": edge.told - told,
            "everyone_checks_all_core_share": round(naive * envoys, 2),
            "times_cheaper": round(naive * envoys / cpu, 1),
        }
    )


if __name__ == "__main__":
    main()
