"""Weights move by themselves with price, load and health, and on an operator's word."""

from pathlib import Path

import pytest

from penstock.demo.faults import Fault, FaultMode
from tests.e2e.edge import CLOUDS, Edge, running_edge
from tests.e2e.traffic import served, traffic

pytestmark = pytest.mark.e2e


async def test_a_peak_spills_to_the_nearest_cloud_and_a_price_drop_moves_the_spill(tmp_path: Path) -> None:
    async with running_edge(tmp_path, concurrency=8) as edge, traffic(edge, clients=24, tokens=200) as tally:

        async def spilled() -> bool:
            return (await edge.shares()).get("cloud-eu-west", 0) > 1500

        await edge.until(spilled, "the peak did not spill to the nearest cloud")
        assert (await edge.shares())["cloud-us-east"] == 0
        edge.set_prices(eu=0.90, us=0.40)

        async def moved() -> bool:
            shares = await edge.shares()
            return shares["cloud-us-east"] > 1500 and shares["cloud-eu-west"] == 0

        await edge.until(moved, "the cheaper cloud did not get the spill")
        assert tally.served_by["cloud-eu-west"]

        async def used() -> bool:
            return tally.served_by["cloud-us-east"] > 20

        await edge.until(used, "requests did not follow the weights")
    assert not tally.failed


async def test_on_prem_down_costs_no_public_request_and_sends_no_restricted_byte_to_a_cloud(edge: Edge) -> None:
    restricted_statuses = set()
    async with traffic(edge) as public:
        await served(edge, public, 200)
        await edge.clusters["onprem-fra"].set_fault(Fault(FaultMode.REFUSE, cut_streams=False))
        await served(edge, public, 100)

        async def gone() -> bool:
            status, _, _ = await edge.chat(port=edge.internal_port, headers={"x-demo-class": "restricted"})
            restricted_statuses.add(status)
            return (await edge.shares())["onprem-fra"] == 0

        await edge.until(gone, "on-prem kept its weight")
        status, headers, body = await edge.chat(port=edge.internal_port, headers={"x-demo-class": "restricted"})
        assert (status, headers["content-type"]) == (503, "application/json")
        assert body["error"]["message"]
        await served(edge, public, 100)
        await edge.clusters["onprem-fra"].set_fault(Fault())

        async def back() -> bool:
            status, _, _ = await edge.chat(port=edge.internal_port, headers={"x-demo-class": "restricted"})
            return status == 200 and (await edge.shares())["onprem-fra"] == 10_000

        await edge.until(back, "on-prem did not get its traffic back")
        await served(edge, public, 50)
    assert not public.failed
    assert restricted_statuses <= {200, 503}
    for cloud in CLOUDS:
        assert edge.clusters[cloud].counters()["bytes"]["restricted"] == 0
    assert edge.clusters["onprem-fra"].counters()["requests"]["restricted"] > 0


async def test_drain_and_undrain_under_load_lose_no_request(edge: Edge) -> None:
    async with traffic(edge) as tally:
        await served(edge, tally, 100)
        status, body = await edge.drain("onprem-fra")
        assert status == 409, body
        assert "records" in str(body)
        status, body = await edge.drain("onprem-fra", force=True)
        assert status in {200, 201}, body
        await served(edge, tally, 50)
        before = edge.requests_at("onprem-fra")
        await served(edge, tally, 200)
        assert edge.requests_at("onprem-fra") == before
        await edge.undrain("onprem-fra")

        async def back() -> bool:
            return (await edge.shares()).get("onprem-fra") == 10_000

        await edge.until(back, "on-prem did not get its traffic back")
        await served(edge, tally, 100)
        assert edge.requests_at("onprem-fra") > before
    assert not tally.failed


async def test_a_stream_in_flight_survives_drain_and_removal_of_its_cluster(edge: Edge) -> None:
    body = {"model": "llama-3-70b", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4000, "stream": True}
    url = f"http://127.0.0.1:{edge.public_port}/v1/chat/completions"
    async with edge.http.post(url, json=body) as answer:
        assert answer.headers["x-penstock-cluster"] == "onprem-fra"
        lines = [await answer.content.readline() for _ in range(4)]
        await edge.drain("onprem-fra", force=True)
        documents = edge.policy_documents()
        kept = [d for d in documents if d["metadata"]["name"] not in {"onprem-fra", "records", "default"}]
        for kept_document in kept:
            if kept_document["kind"] == "TrafficPolicy":
                kept_document["spec"]["clusters"] = list(CLOUDS)
        edge.write_policy(kept)

        async def removed() -> bool:
            assert edge.envoy is not None
            return "onprem-fra::" not in edge.envoy.admin("/clusters")

        await edge.until(removed, "Envoy kept the cluster")
        assert not answer.content.at_eof()
        lines += [line async for line in answer.content]
    assert lines[-2].strip() == b"data: [DONE]" or lines[-1].strip() == b"data: [DONE]"
