"""How acts are judged and told, and the processes round them."""

import asyncio
import io
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from rich.console import Console

from penstock.demo import story
from penstock.demo.acts import ACTS, Act, Scene
from penstock.demo.admin_client import AdminClient, AdminError
from penstock.demo.children import Child, ChildFailedError
from penstock.demo.clusters import SimulatedClusters
from penstock.demo.faults import FaultMode
from penstock.demo.fleet import CLOUD_EU, CLUSTERS, ON_PREM
from penstock.demo.gauge import Gauge
from penstock.demo.load import LoadGenerator
from penstock.demo.main import finish_unless
from penstock.demo.rig import free_ports
from penstock.demo.stage import Stage
from penstock.demo.tally import Outcome
from penstock_policies.words import DataClass

Play = Callable[[Scene], Awaitable[tuple[bool, str]]]


def scene(output: io.StringIO) -> Scene:
    load = LoadGenerator([])
    admin = cast("AdminClient", SimpleNamespace())
    return Scene(
        load=load,
        gauge=Gauge(load, admin),
        clusters=cast("SimulatedClusters", SimpleNamespace()),
        admin=admin,
        stage=Stage(Console(file=output, width=200)),
        policies=Path(),
        prices={},
    )


async def judged(play: Play, monkeypatch: pytest.MonkeyPatch, *, may_fail: bool = False) -> tuple[story.Record, str]:
    act = Act("act", "a title", "a promise", play, 1.0, restricted_may_fail=may_fail)
    monkeypatch.setattr(story, "ACTS", (act,))
    output, record = io.StringIO(), story.Record()
    await story.play(scene(output), record, seconds=0.001)
    return record, output.getvalue()


async def test_an_act_that_keeps_its_promise_is_told_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(_: Scene) -> tuple[bool, str]:
        return True, "all is well"

    record, output = await judged(play, monkeypatch)
    assert record.held
    assert record.acts[0]["detail"] == "all is well"
    assert "Act 1: a title" in output
    assert "held after" in output


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("eu/public", DataClass.PUBLIC, 502, failure="status 502"),
        Outcome("eu/restricted", DataClass.RESTRICTED, 503, failure="status 503"),
    ],
)
async def test_an_act_in_which_a_request_failed_has_broken_its_promise(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(scene: Scene) -> tuple[bool, str]:
        scene.load.tally.add(outcome)
        return True, "all is well"

    record, output = await judged(play, monkeypatch)
    assert not record.held
    assert "BROKEN" in output


async def test_restricted_requests_may_be_told_503_only_where_the_act_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(scene: Scene) -> tuple[bool, str]:
        scene.load.tally.add(Outcome("r", DataClass.RESTRICTED, 503, failure="status 503"))
        return True, ""

    assert (await judged(play, monkeypatch, may_fail=True))[0].held


async def test_an_act_that_the_admin_api_cut_short_is_broken_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(_: Scene) -> tuple[bool, str]:
        raise AdminError("POST /api/v1/drains", 500, "out of order")

    record, _ = await judged(play, monkeypatch)
    assert not record.held
    assert "out of order" in record.acts[0]["detail"]


async def test_a_condition_that_is_never_seen_ends_with_its_bound() -> None:
    assert not await scene(io.StringIO()).until(lambda: False, seconds=0.01)


async def test_the_summary_has_what_a_machine_wants_to_know() -> None:
    played = scene(io.StringIO())
    played.load.tally.add(Outcome("eu/public", DataClass.PUBLIC, 200, ON_PREM, tokens=10, cost_usd=0.5))
    line = story.summary(played, story.Record(), restricted_to_cloud=0)
    assert (line["requests"], line["failed"], line["restricted"], line["restricted_to_cloud"]) == (1, 0, 0, 0)
    assert line["share"] == {ON_PREM: 1.0}
    assert line["cost_usd"] == 0.5


def test_every_act_has_a_promise_and_a_part_of_the_time() -> None:
    assert len({act.name for act in ACTS}) == len(ACTS)
    assert all(act.promise and act.title and act.weight > 0 for act in ACTS)


@pytest.fixture
async def admin() -> AsyncIterator[tuple[AdminClient, list[object]]]:
    calls: list[object] = []

    async def weights(_: web.Request) -> web.Response:
        row = {"policy": "chat", "region": "eu-west", "model": "m", "weights": {"a": 10000}, "reason": "r", "more": 1}
        return web.json_response({"items": [row]})

    async def drain(request: web.Request) -> web.Response:
        body = await request.json()
        calls.append(body)
        return web.json_response({"title": "no"}, status=409 if body["cluster"] == ON_PREM else 201)

    async def undrain(request: web.Request) -> web.Response:
        calls.append(request.match_info["cluster"])
        return web.json_response({})

    async with AsyncExitStack() as stack:
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/v1/weights", weights),
                web.post("/api/v1/drains", drain),
                web.delete("/api/v1/drains/{cluster}", undrain),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = await stack.enter_async_context(AdminClient(f"http://127.0.0.1:{runner.addresses[0][1]}"))
        yield client, calls


async def test_the_admin_client_reads_weights_drains_and_undrains(admin: tuple[AdminClient, list[object]]) -> None:
    client, calls = admin
    assert [row.weights for row in await client.weights()] == [{"a": 10000}]
    await client.drain(CLOUD_EU, seconds=600, reason="maintenance")
    await client.undrain(CLOUD_EU)
    assert calls == [
        {"cluster": CLOUD_EU, "for": "600s", "reason": "maintenance", "owner": "demo", "dryRun": False},
        CLOUD_EU,
    ]
    with pytest.raises(AdminError, match="409") as refused:
        await client.drain(ON_PREM, seconds=1, reason="no")
    assert refused.value.status == 409
    assert not await client.ready()


async def test_an_unreachable_admin_api_is_not_ready_and_says_so() -> None:
    async with AdminClient("http://127.0.0.1:1") as client:
        assert not await client.ready()
        with pytest.raises(AdminError, match="unreachable"):
            await client.weights()


async def test_a_child_that_does_not_announce_itself_shows_the_end_of_its_log(tmp_path: Path) -> None:
    child = await Child.start("broken", [sys.executable, "-c", "raise SystemExit('no luck')"], tmp_path, announces=True)
    with pytest.raises(ChildFailedError, match="no luck"):
        await child.announcement(20)
    await child.stop()


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.demo.children.STOP_SECONDS", 0.05)
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);print('{}', flush=True); time.sleep(1000)"
    )
    child = await Child.start("stubborn", [sys.executable, "-c", stubborn], tmp_path, announces=True)
    assert await child.announcement(20) == {}
    await child.stop()
    assert not child.running
    await child.stop()


async def test_the_simulated_clusters_come_up_fail_on_demand_and_hold_the_evidence(tmp_path: Path) -> None:
    clusters = await SimulatedClusters.start(tmp_path)
    try:
        assert set(clusters.ports) == set(CLUSTERS)
        for mode in (FaultMode.REFUSE, FaultMode.NONE):
            await clusters.set_fault(CLOUD_EU, mode)
        assert await clusters.restricted_at_clouds() == (0, 0)
    finally:
        await clusters.stop()


async def test_work_is_cancelled_when_told_to_stop_and_returned_when_it_ends_first() -> None:
    stop = asyncio.Event()
    cleaned: list[bool] = []

    async def endless() -> int:
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)
        return 1

    async def quick() -> int:
        return 7

    assert await finish_unless(asyncio.Event(), quick()) == 7
    assert await finish_unless(stop, endless()) is None
    assert cleaned == [True]


def test_the_ports_of_the_demo_are_all_different() -> None:
    ports = free_ports()
    used = [ports.xds, ports.admin, *(port for edge in ports.edges for port in (edge.public_port, edge.internal_port))]
    assert len(set(used)) == len(used)


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_demo_that_is_told_to_stop_while_starting_leaves_nothing_behind() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock.demo"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()
    assert process.returncode == 130, output.decode()
