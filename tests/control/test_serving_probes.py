"""A whole control plane whose probes meet servers of every mind: what operators and auditors see of it."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from penstock.demo.faults import Fault, FaultMode
from tests.control.serving_world import POLICY, World, serve

HEALTH = "  health: {interval: 100ms, timeout: 5s, models: true, credential: {file: eu.key}}\n"


async def until(of: World, path: str, true: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(30):
        while True:
            answer = await of.ask(path)
            if true(answer):
                return answer
            await asyncio.sleep(0.02)


def kinds(status: Any) -> set[str]:
    return {each["kind"] for each in status["findings"]}


def of_cluster(clusters: Any, name: str) -> Any:
    return next(item for item in clusters["items"] if item["name"] == name)


async def test_a_key_that_cannot_be_had_or_is_refused_is_told_to_operators_and_auditors_and_moves_nothing(
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    async with AsyncExitStack() as stack:
        serving, engines = await serve(stack, tmp_path, POLICY, credentials=keys)
        port = engines["cloud"].port
        serving.edit((f"port: {port}}}]\n", f"port: {port}}}]\n{HEALTH}"))
        status = await until(serving, "/api/v1/status", lambda status: "credential-refused" in kinds(status))
        (message,) = [each["message"] for each in status["findings"] if each["kind"] == "credential-refused"]
        assert "file eu.key cannot be read: No such file or directory" in message
        (keys / "eu.key").write_text("sk-very-secret\n")
        await until(serving, "/api/v1/status", lambda status: "credential-refused" not in kinds(status))

        before = (await serving.ask("/api/v1/weights?policy=chat"))["items"][0]["weights"]
        await engines["cloud"].set_fault(Fault(FaultMode.ERROR_401))
        serving.edit(("timeout: 5s", "timeout: 6s"))
        await until(
            serving,
            "/api/v1/clusters",
            lambda clusters: "HTTP 401" in of_cluster(clusters, "cloud")["health"]["probing"]["credential"],
        )
        cloud = of_cluster(await serving.ask("/api/v1/clusters"), "cloud")["health"]
        assert cloud["state"] == "UP"
        assert cloud["endpoints"][0]["probing"]["failedAt"] is None
        assert (await serving.ask("/api/v1/weights?policy=chat"))["items"][0]["weights"] == before
        audited = [entry["kind"] for entry in (await serving.ask("/api/v1/audit"))["items"]]
        assert audited.count("probe.credential-refused") == audited.count("probe.credential-accepted") == 1
        shown = [str(await serving.ask(f"/api/v1/{part}")) for part in ("status", "clusters", "audit", "inputs")]
        assert "sk-very" not in "".join([*shown, await serving.metrics()])


async def test_a_server_of_another_model_is_taken_out_before_anybody_asks_it(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        serving, engines = await serve(stack, tmp_path, POLICY)
        port = engines["cloud"].port
        health = "  health: {interval: 100ms, timeout: 5s, models: true}\n"
        serving.edit(
            (f"port: {port}}}]\n", f"port: {port}}}]\n{health}"),
            (
                "  region: eu-west\n  engine: vllm\n  models: [m]",
                "  region: eu-west\n  engine: vllm\n  models: [other]",
            ),
        )
        clusters = await until(
            serving, "/api/v1/clusters", lambda clusters: of_cluster(clusters, "cloud")["health"]["state"] == "DOWN"
        )
        health_of = of_cluster(clusters, "cloud")["health"]
        assert "models: does not list other" in health_of["reason"]
        assert health_of["probing"]["missingModels"] == ["other"]
        assert 'penstock_probe_missing_models{cluster="cloud"} 1.0' in await serving.metrics()
