"""gRPC clients as reporters: gRPC's own xDS client, and what its Java and Go kin write, byte for byte as they do.

Read off ``lrs_client.cc`` (C-core), ``LoadReportClient.java`` and ``lrs_stream.go``: C-core and Go name themselves in
the first message alone, Java in each; all announce that they need no list of clusters; all tell of a cluster by its
name and its EDS service, with localities and no endpoints, and of drops by category; Go writes utilization into fields
of its own.
"""

import asyncio
import time
from contextlib import AsyncExitStack

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.service.load_stats.v3 import lrs_pb2

from penstock.signals.board import ObservationBoard
from penstock.signals.load_reports import MILLIONTHS, Drop, Figures, parse
from penstock.signals.lrs import LoadReports
from penstock_policies.observations import Load
from penstock_xds import Resource, Snapshot, SnapshotCache, XdsServer
from penstock_xds.types import CLUSTER
from tests.signals.lrs_messages import SENDS_ALL, At, introduction, report, stats
from tests.signals.signal_policies import cluster, policy_set
from tests.xds.envoy_world import weighted_route
from tests.xds.grpc_world import api_listener, grpc_assignment, grpc_backend, grpc_caller, grpc_cluster

KNOWN = frozenset({"onprem"})


def _reporting(resource: Resource) -> Resource:
    """The cluster, with the wish that its load be reported to whom it came from."""
    message = Cluster.FromString(resource.body)
    message.lrs_server.self.SetInParent()
    return Resource(CLUSTER, resource.name, message.SerializeToString(deterministic=True))


async def test_grpcs_own_client_reports_what_it_calls() -> None:
    board = ObservationBoard()
    policy = policy_set([cluster("onprem", ("127.0.0.1", 1))])
    board.apply(policy)
    changed = asyncio.Event()
    reports = LoadReports(board, lambda _, group: {"edge": "eu-west"}.get(group), time.time, changed.set)
    reports.apply(policy)
    cache = SnapshotCache()
    server = XdsServer(cache, group_of=lambda node: node.cluster, identifier="test")
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(grpc_backend("onprem"))
        port = await server.start("127.0.0.1:0", extra_handlers=[reports.handler()])
        stack.push_async_callback(server.stop, 1)
        stack.callback(reports.stop)
        summing = asyncio.create_task(reports.run())
        stack.callback(summing.cancel)
        resources = [
            api_listener("shop", "routes"),
            weighted_route("routes", {"onprem": 100}),
            _reporting(grpc_cluster("onprem", "onprem-service")),
            grpc_assignment("onprem-service", backend),
        ]
        cache.publish("edge", Snapshot.of(resources))
        caller = await stack.enter_async_context(grpc_caller("shop", port))

        def load() -> Load | None:
            return board.snapshot(time.time()).load.get("eu-west", {}).get("onprem")

        async with asyncio.timeout(30):
            while (seen := load()) is None or not seen.success_rate:
                assert await caller.call() == "onprem"
        assert seen.request_rate > 0
        assert (seen.error_rate, seen.reporters) == (0, 1)
        (figures,) = reports.cluster_report("onprem").endpoints.values()
        assert list(figures) == [""]
        assert reports.facts().refused == 0


def _introduced(message: bytes) -> list[str]:
    node = lrs_pb2.LoadStatsRequest.FromString(message).node
    assert node.id
    return list(node.client_features)


def test_a_core_client_without_calls_reports_nothing_and_is_no_garbage() -> None:
    hello = introduction("c-1", "shop", "gRPC C-core", ["xds.config.resource-in-sotw", SENDS_ALL])
    assert SENDS_ALL in _introduced(hello)
    told = parse(report(), KNOWN, 1.0)
    assert (told.names, told.carried, told.refused, told.unknown) == (frozenset(), {}, (), 0)


def test_a_core_client_between_two_eds_services_tells_of_the_cluster_twice() -> None:
    message = report(
        stats("onprem", At(0, 3, 0, 4), service="blue", seconds=1.001),
        stats("onprem", At(2, 5, 1, 2), service="green", drops={"throttle": 2}, seconds=1.001),
    )
    told = parse(message, KNOWN, 1.0)
    (figures,) = told.carried.values()
    assert figures.in_flight == 2
    assert round(figures.issued / MILLIONTHS) == 8
    assert told.drops == [Drop("onprem", "throttle", 2)]


def test_a_java_client_names_itself_in_every_message() -> None:
    request = lrs_pb2.LoadStatsRequest(
        cluster_stats=[
            stats("onprem", At(1, 2, 1, 1, {"named_metrics.kv_cache_usage_perc": (2, 1.0)}), drops={"lb": 1})
        ]
    )
    request.node.id, request.node.user_agent_name = "java-1", "gRPC Java"
    request.node.client_features.append(SENDS_ALL)
    told = parse(request.SerializeToString(), KNOWN, 1.0)
    assert list(told.carried.values()) == [Figures(1, 2 * MILLIONTHS, MILLIONTHS, MILLIONTHS)]
    assert told.endpoints[0].metrics == (("kv_cache_usage_perc", 2, 1.0),)
    assert told.drops == [Drop("onprem", "lb", 1)]


def test_a_go_client_reports_at_an_interval_of_its_own_and_uncategorised_drops() -> None:
    message = report(stats("onprem", At(1, 30, 0, 30), dropped=3, seconds=10.0, service="onprem-service"))
    told = parse(message, KNOWN, 1.0)
    (figures,) = told.carried.values()
    assert figures.issued == 3 * MILLIONTHS
    assert told.drops == [Drop("onprem", "overflow", 3)]
