"""Two edges, and a cluster that one of them cannot reach: probed by real Envoys, weighted for each region."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.ports import free_ports
from penstock_envoy.bootstrap import render
from penstock_envoy.process import EnvoyProcess
from tests.e2e.edge import MODEL, Edge, document, running_edge
from tests.e2e.gate import gate
from tests.e2e.traffic import served, traffic

pytestmark = pytest.mark.e2e


def documents(edge: Edge, onprem_port: int, us_port: int) -> list[dict[str, Any]]:
    """The fleet with a second region, and all clusters probed from the edge."""
    made = edge.policy_documents()
    for each in made:
        if each["kind"] == "Cluster":
            each["spec"]["health"] = {**each["spec"]["health"], "from": "edge"}
        if each["metadata"]["name"] == "onprem-fra":
            each["spec"]["endpoints"] = [{"address": "127.0.0.1", "port": onprem_port}]
    return [
        *made,
        document("Listener", "us", {"address": "127.0.0.1", "port": us_port, "dataClass": "public"}),
        document("NodeGroup", "edge-us", {"match": {"cluster": "edge-us"}, "region": "us-east", "listeners": ["us"]}),
    ]


async def onprem_by_region(edge: Edge) -> dict[str, int]:
    rows = (await edge.get("/api/v1/weights?policy=chat"))["items"]
    return {row["region"]: row["weights"]["onprem-fra"] for row in rows if row["model"] == MODEL}


async def seen(edge: Edge) -> dict[str, tuple[str, int, int]]:
    """On-prem's state by region, with the votes on its endpoint."""
    clusters = (await edge.get("/api/v1/clusters"))["items"]
    [health] = [one["health"] for one in clusters if one["name"] == "onprem-fra"]
    return {
        one["region"]: (one["state"], one["endpoints"][0]["well"], one["endpoints"][0]["ill"])
        for one in health["regions"]
    }


async def test_a_cluster_out_of_reach_of_one_region_serves_the_other(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(running_edge(tmp_path))
        before = await stack.enter_async_context(gate(edge.clusters["onprem-fra"].port))
        [us_port] = free_ports(1)
        edge.write_policy(documents(edge, before.port, us_port))
        us = EnvoyProcess(render("edge-us-1", "edge-us", "127.0.0.1", edge.xds_port, region="us-east", admin_port=0))
        stack.push_async_callback(asyncio.to_thread, us.stop)
        await asyncio.to_thread(us.start)
        await asyncio.to_thread(us.wait_ready)

        async def all_well() -> bool:
            return await seen(edge) == {"eu-west": ("UP", 1, 0), "us-east": ("UP", 1, 0)}

        await edge.until(all_well, "the Envoys did not vote")
        assert await onprem_by_region(edge) == {"eu-west": 10_000, "us-east": 10_000}

        public = await stack.enter_async_context(traffic(edge, clients=2))
        abroad = await stack.enter_async_context(traffic(edge, clients=2, port=us_port))
        await served(edge, abroad, 20)
        before.block(us.pid)

        async def lost_to_one() -> bool:
            return await onprem_by_region(edge) == {"eu-west": 10_000, "us-east": 0}

        await edge.until(lost_to_one, "on-prem kept its weight where nobody reaches it")

        async def voted_down() -> bool:
            return await seen(edge) == {"eu-west": ("UP", 1, 0), "us-east": ("DOWN", 0, 1)}

        await edge.until(voted_down, "the Envoy in the US did not vote it down")

        async def told() -> bool:
            assert edge.envoy is not None
            here, there = (each.admin("/clusters") for each in (edge.envoy, us))
            mark = f"onprem-fra::127.0.0.1:{before.port}::health_flags::/failed_eds_health"
            return mark in there and mark not in here

        await edge.until(told, "its endpoint is not unhealthy in the US alone")
        onprem, elsewhere = public.served_by["onprem-fra"], abroad.served_by["onprem-fra"]
        await served(edge, public, 20)
        await served(edge, abroad, 20)
        assert public.served_by["onprem-fra"] >= onprem + 20
        assert abroad.served_by["onprem-fra"] == elsewhere
        findings = [one["message"] for one in (await edge.get("/api/v1/status"))["findings"]]
        assert any(one.startswith("Cluster onprem-fra is down from us-east") for one in findings), findings

        before.open()

        async def reached_again() -> bool:
            # How it comes back from there, after a hold and by its ramp, is the engine's tests' business.
            _, well, ill = (await seen(edge))["us-east"]
            return (well, ill) == (1, 0)

        await edge.until(reached_again, "the Envoy in the US did not find on-prem again")
    assert not public.failed
    assert not abroad.failed
    assert set(public.served_by) == {"onprem-fra"}
