"""A whole control plane whose sources lie, fall silent or freeze: what operators see, and what traffic does then."""

import asyncio
import json
from pathlib import Path

import grpc.aio
import pytest

from penstock.demo.faults import Fault, FaultMode
from tests.control.lying_world import GOOD, lies
from tests.signals.log_entries import message

ALS = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"

CLOUD = {"cloud": 10_000, "onprem": 0}
HOME = {"cloud": 0, "onprem": 10_000}

WELL = {
    "cloud": {"total_requests_in_progress": 2, "total_issued_requests": 20, "total_successful_requests": 20},
    "onprem": {"total_requests_in_progress": 1, "total_issued_requests": 10, "total_successful_requests": 10},
}


GARBAGE = {
    "nan": '{"prices": [{"key": "cloud", "usdPerMillionTokens": NaN}]}',
    "infinite": '{"prices": [{"key": "cloud", "usdPerMillionTokens": 1e999}]}',
    "negative": '{"prices": [{"key": "cloud", "usdPerMillionTokens": -3}]}',
    "free": '{"prices": [{"key": "cloud", "usdPerMillionTokens": 0}]}',
    "per thousand for per million": '{"prices": [{"key": "cloud", "usdPerMillionTokens": 500}]}',
    "text": '{"prices": [{"key": "cloud", "usdPerMillionTokens": "2,50 EUR"}]}',
    "none": '{"prices": []}',
    "truncated": GOOD[:20],
    "html": "<html>the proxy is down</html>",
    "nested": "[" * 100_000,
    "huge": json.dumps({"prices": "x" * (2 << 20)}),
}


async def test_a_feed_that_turns_to_garbage_moves_nothing_and_is_told(tmp_path: Path) -> None:
    async with lies(tmp_path) as it:

        async def told() -> bool:
            status = await it.feed_status()
            return bool(status["error"] or status["refused"])

        async def well() -> bool:
            return not await told()

        for kind, body in GARBAGE.items():
            it.feed.body = body
            await it.until(told)
            await it.decisions(1)
            assert await it.chat() == CLOUD, kind
            price = (await it.cluster("cloud"))["price"]
            assert (price["usdPerMillionTokens"], price["source"]) == (0.5, "feed prices"), kind
            it.feed.body = GOOD
            await it.until(well)


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_feed_that_falls_silent_is_believed_until_its_age_and_then_the_declared_price_counts(
    tmp_path: Path, status: int
) -> None:
    async with lies(tmp_path) as it:
        it.feed.status = status

        async def told() -> bool:
            return f"HTTP {status}" in (await it.feed_status())["error"]

        await it.until(told)
        await it.decisions(2)
        assert await it.chat() == CLOUD
        it.clock.ahead = 3700.0

        async def home() -> bool:
            return await it.chat() == HOME

        await it.until(home)
        assert (await it.cluster("cloud"))["price"]["source"] == "policy"
        assert (await it.feed_status())["stale"]


async def test_a_figure_that_never_changes_again_is_frozen_however_often_it_is_read(tmp_path: Path) -> None:
    async with lies(tmp_path) as it:
        # Two jumps, each within the feed's age: it is read all the time, and always says the same.
        for ahead in (3000.0, 6000.0, 9000.0, 12_000.0):
            it.clock.ahead, asked = ahead, it.feed.asked

            async def read(asked: int = asked) -> bool:
                return it.feed.asked > asked + 1

            await it.until(read)

        async def home() -> bool:
            return await it.chat() == HOME

        await it.until(home)
        assert "frozen" in json.dumps(await it.world.ask("/api/v1/status"))


async def test_probes_that_all_fail_together_are_distrusted_and_nobody_is_refused(tmp_path: Path) -> None:
    async with lies(tmp_path) as it:
        for engine in it.engines.values():
            await engine.set_fault(Fault(FaultMode.ERROR_503))

        async def frozen() -> bool:
            return "failed together" in (await it.world.ask("/api/v1/status"))["engine"]["frozen"]

        await it.until(frozen)
        # The first to fail may have been believed: a moment earlier it was the only one. From here on nothing moves.
        held = await it.weights()
        assert sum(held["chat/m"].values()) == 10_000
        assert held["records/m"] == {"onprem": 10_000}
        await it.decisions(3)
        assert await it.weights() == held
        assert "frozen" in await it.findings()


async def test_requests_that_succeed_outrank_a_probe_that_fails(tmp_path: Path) -> None:
    async with lies(tmp_path) as it, it.edge() as edge:
        edge.clusters = WELL
        await it.engines["cloud"].set_fault(Fault(FaultMode.ERROR_503))

        async def failing() -> bool:
            endpoints = (await it.cluster("cloud"))["health"]["endpoints"]
            return bool(endpoints[0]["consecutiveFailed"] >= 2)

        await it.until(failing)
        await it.decisions(2)
        assert (await it.cluster("cloud"))["health"]["state"] == "UP"
        assert await it.chat() == CLOUD
        # The requests stop to prove anything: now the probe counts.
        edge.clusters = {"cloud": {"total_requests_in_progress": 2}, "onprem": WELL["onprem"]}

        async def down() -> bool:
            return (await it.cluster("cloud"))["health"]["state"] == "DOWN" and await it.chat() == HOME

        await it.until(down)


async def test_requests_that_fail_outrank_a_probe_that_succeeds(tmp_path: Path) -> None:
    async with lies(tmp_path) as it, it.edge() as edge:
        failing = {"total_issued_requests": 20, "total_error_requests": 19, "total_successful_requests": 1}
        edge.clusters = WELL | {"cloud": failing}

        async def down() -> bool:
            return (await it.cluster("cloud"))["health"]["state"] == "DOWN" and await it.chat() == HOME

        await it.until(down)
        assert "requests fail though probes succeed" in (await it.cluster("cloud"))["health"]["reason"]


@pytest.mark.parametrize(
    "absurd",
    [
        pytest.param({"total_requests_in_progress": 2**64 - 1}, id="a gauge below zero"),
        pytest.param({"total_issued_requests": 2**63}, id="an overflowed counter"),
    ],
)
async def test_absurd_load_reports_are_refused_and_move_nothing(tmp_path: Path, absurd: dict[str, int]) -> None:
    async with lies(tmp_path) as it, it.edge() as edge:
        edge.clusters = WELL

        async def heard() -> bool:
            return bool((await it.cluster("cloud"))["load"]["requestRate"] == 20.0)

        await it.until(heard)
        edge.clusters = WELL | {"cloud": absurd}

        async def unknown() -> bool:
            return bool((await it.cluster("cloud"))["load"]["requestRate"] != 20.0)

        await it.until(unknown)
        await it.decisions(2)
        assert await it.chat() == CLOUD
        assert (await it.cluster("onprem"))["load"]["requestRate"] == 10.0


async def test_an_edge_that_falls_silent_is_unknown_and_not_idle(tmp_path: Path) -> None:
    async with lies(tmp_path) as it, it.edge() as edge:
        edge.clusters = WELL

        async def heard() -> bool:
            return bool((await it.cluster("cloud"))["load"]["requestRate"] == 20.0)

        await it.until(heard)
        edge.clusters = {}

        async def unknown() -> bool:
            return (await it.cluster("cloud"))["load"]["requestRate"] is None

        await it.until(unknown)
        await it.decisions(2)
        assert await it.chat() == CLOUD


async def test_an_engine_that_no_longer_serves_metrics_is_unknown_and_moves_nothing(tmp_path: Path) -> None:
    async with lies(tmp_path) as it:

        async def known() -> bool:
            return set(it.world.plane.observations().engines) == {"cloud", "onprem"}

        await it.until(known)
        await it.engines["cloud"].set_fault(Fault(FaultMode.ERROR_503))

        async def unknown() -> bool:
            return set(it.world.plane.observations().engines) == {"onprem"}

        await it.until(unknown)


@pytest.mark.parametrize("step", [1800.0, -1800.0])
async def test_a_clock_that_is_stepped_moves_no_traffic(tmp_path: Path, step: float) -> None:
    async with lies(tmp_path) as it, it.edge() as edge:
        edge.clusters = WELL
        await it.decisions(2)
        it.clock.ahead += step
        seen = set()
        for _ in range(3):
            await it.decisions(1)
            seen.add(json.dumps(await it.chat()))
            await asyncio.sleep(0)
        assert seen == {json.dumps(CLOUD)}


def _as_it_is(message: bytes) -> bytes:
    return message


async def test_absurd_access_logs_are_refused_and_honest_ones_beside_them_are_counted(tmp_path: Path) -> None:
    honest = {"cluster": "cloud", "route": "public/chat/m", "model": "m", "prompt": 100.0, "output": 20.0}
    liars = (
        honest | {"output": 1e15},
        honest | {"prompt": -5.0},
        honest | {"output": float("nan")},
        honest | {"output": float("inf")},
        honest | {"cluster": "nowhere"},
        honest | {"route": "public/made-up/m"},
    )
    async with lies(tmp_path) as it:
        async with grpc.aio.insecure_channel(it.world.plane.xds_address) as channel:
            call = channel.stream_unary(ALS, _as_it_is, _as_it_is)(None)
            await call.write(message(honest, *liars, honest, node_id="edge-1", node_cluster="edge"))

            async def heard() -> bool:
                text = await it.world.metrics()
                # Entries are counted as they are read, tokens once a second.
                return 'outcome="counted"} 6.0' in text and "penstock_metered_tokens_total{" in text

            await it.until(heard)
            call.cancel()
        metrics = await it.world.metrics()
        # A request whose figures are absurd is a request all the same; one of unknown names is nobody's.
        assert "penstock_access_log_refused_figures_total 4.0" in metrics
        assert 'penstock_access_log_entries_total{outcome="unknown"} 2.0' in metrics
        assert 'penstock_metered_tokens_total{cluster="cloud",kind="prompt",policy="chat"} 200.0' in metrics
        assert 'penstock_metered_tokens_total{cluster="cloud",kind="output",policy="chat"} 40.0' in metrics
        await it.decisions(2)
        assert await it.chat() == CLOUD
