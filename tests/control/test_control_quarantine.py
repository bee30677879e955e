"""An Envoy refuses a resource: what the whole control plane does, and what operators and auditors are told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock_envoy.resource import ENDPOINT, LISTENER, ROUTE
from tests.control.model_envoy import model_envoy
from tests.control.serving_world import World, world

GOOD_PORT, BAD_PORT = "port: 10001", "port: 10666"
# The public listener's requests may be as large as this from now on: a change of everything but the vault.
CHAT, CHAT_LARGER = "clusters: [onprem, cloud]}", "clusters: [onprem, cloud], objective: {minimize: latency}}"
PUBLIC_PORT, NEW_PUBLIC_PORT = "port: 10000", "port: 10002"


def refuses_the_bad_port(_type_url: str, _name: str, body: bytes) -> bool:
    return b"\x18\xaa\x53" in body  # SocketAddress.port_value 10666


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - asks over HTTP, where nothing wakes the asker
            await asyncio.sleep(0.02)


async def quarantined(of: World, count: int) -> list[dict[str, Any]]:
    async def there() -> bool:
        return len((await of.ask("/api/v1/quarantine"))["items"]) == count

    await until(there)
    items: list[dict[str, Any]] = (await of.ask("/api/v1/quarantine"))["items"]
    return items


async def audited(of: World, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in (await of.ask("/api/v1/audit"))["items"] if entry["kind"] == kind]


async def test_a_refused_listener_is_told_everywhere_and_the_rest_moves_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with world(tmp_path) as serving, model_envoy(serving.plane.xds_address, refuse=refuses_the_bad_port) as envoy:
        await envoy.until(lambda: {(LISTENER, "vault"), (LISTENER, "public"), (ROUTE, "vault")} <= envoy.holds.keys())
        before = dict(envoy.holds)
        serving.edit((GOOD_PORT, BAD_PORT), (PUBLIC_PORT, NEW_PUBLIC_PORT))
        (item,) = await quarantined(serving, 1)

        assert (item["group"], item["type"], item["name"], item["nodes"]) == ("edge", "LDS", "vault", ["edge-1"])
        assert "cannot bind" in item["message"]
        assert item["servedInstead"] == before[LISTENER, "vault"]
        assert item["held"] == ""
        assert item["origins"] == [f"policy.yaml:{serving.line_of('metadata: {name: vault}')}"]

        # The rest moves on, and goes on to: a drain changes the refusing Envoy's routes.
        await envoy.until(lambda: envoy.name(LISTENER, "public") != before[LISTENER, "public"])
        assert envoy.name(LISTENER, "vault") == before[LISTENER, "vault"]
        routes = envoy.name(ROUTE, "public")
        wish = {"cluster": "cloud", "reason": "test", "owner": "tester", "for": "1h", "force": True}
        async with serving.http.post(f"http://127.0.0.1:{serving.admin_port}/api/v1/drains", json=wish) as answer:
            assert answer.status == 201
        await envoy.until(lambda: envoy.name(ROUTE, "public") != routes)
        assert envoy.sent.count((LISTENER, "vault", item["version"])) == 1

        text = await serving.metrics()
        assert 'penstock_xds_quarantined{group="edge",type="LDS"} 1.0' in text
        assert 'penstock_xds_nack_total{group="edge",type="LDS"} 1.0' in text
        status = await serving.ask("/api/v1/status")
        (finding,) = [each for each in status["findings"] if each["kind"] == "quarantined"]
        for part in ("edge-1", "LDS vault", item["version"], "cannot bind", item["origins"][0]):
            assert part in finding["message"]
        assert (await serving.ask("/readyz"))["details"]["quarantined"] == 1

        async def recorded() -> bool:
            return bool(await audited(serving, "quarantine.added"))

        await until(recorded)
        (entry,) = await audited(serving, "quarantine.added")
        assert entry["detail"]["resource"] == "vault"
        assert (entry["detail"]["version"], entry["detail"]["nodes"]) == (item["version"], ["edge-1"])
        assert entry["detail"]["policy"] == item["origins"]
        (line,) = [r for r in caplog.records if r.getMessage() == "resource quarantined: an envoy refused it"]
        assert vars(line)["policy"] == item["origins"][0]

        stream = (await serving.ask("/api/v1/nodes"))["items"][0]["stream"]
        resources = (await serving.ask(f"/api/v1/nodes/{stream}?type=LDS"))["resources"]
        held = {each["name"]: each["version"] for each in resources}
        assert held == {"public": envoy.name(LISTENER, "public"), "vault": before[LISTENER, "vault"]}

        # A good edit ends it by itself, and that is audited, too.
        serving.edit((BAD_PORT, "port: 10003"))
        await quarantined(serving, 0)
        await envoy.until(lambda: envoy.name(LISTENER, "vault") != before[LISTENER, "vault"])

        async def ended() -> bool:
            return bool(await audited(serving, "quarantine.ended"))

        await until(ended)


async def test_a_release_sends_it_again_and_a_second_refusal_quarantines_it_again(tmp_path: Path) -> None:
    async with world(tmp_path) as serving, model_envoy(serving.plane.xds_address, refuse=refuses_the_bad_port) as envoy:
        await envoy.until(lambda: (LISTENER, "vault") in envoy.holds)
        serving.edit((GOOD_PORT, BAD_PORT))
        (item,) = await quarantined(serving, 1)
        await serving.ask(f"/api/v1/quarantine/{item['id']}?owner=maria&reason=again", "DELETE")
        await envoy.until(lambda: envoy.sent.count((LISTENER, "vault", item["version"])) == 2)
        await quarantined(serving, 1)

        envoy.refuse = lambda *_: False  # the port is free now
        await serving.ask(f"/api/v1/quarantine/{item['id']}?owner=maria&reason=freed", "DELETE")
        await envoy.until(lambda: envoy.name(LISTENER, "vault") == item["version"])
        assert await quarantined(serving, 0) == []
        released = await audited(serving, "quarantine.released")
        assert [(each["actor"], each["detail"]["reason"]) for each in released] == [
            ("maria", "freed"),
            ("maria", "again"),
        ]
        missing = f"http://127.0.0.1:{serving.admin_port}/api/v1/quarantine/{item['id']}"
        async with serving.http.delete(missing) as answer:
            assert answer.status == 404


async def test_a_thousand_refusals_of_one_version_are_one_line_and_one_entry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with world(tmp_path) as serving:
        address = serving.plane.xds_address
        async with (
            model_envoy(address, node="a", refuse=refuses_the_bad_port) as first,
            model_envoy(address, node="b", refuse=refuses_the_bad_port) as second,
        ):
            for envoy in (first, second):
                await envoy.until(lambda envoy=envoy: (LISTENER, "vault") in envoy.holds)  # type: ignore[misc]
            serving.edit((GOOD_PORT, BAD_PORT))
            (item,) = await quarantined(serving, 1)

            async def recorded() -> bool:
                return bool(await audited(serving, "quarantine.added"))

            await until(recorded)
            assert len(await audited(serving, "quarantine.added")) == 1
            told = [r for r in caplog.records if getattr(r, "version", "") == item["version"] and r.levelno >= 30]
            assert len([r for r in told if r.getMessage() == "resource quarantined: an envoy refused it"]) == 1


async def test_a_cluster_that_moves_to_the_cloud_while_routes_still_lead_there_is_refused_as_an_edit(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as serving, model_envoy(serving.plane.xds_address) as envoy:
        await envoy.until(lambda: {(ROUTE, "vault"), (ROUTE, "public"), (ENDPOINT, "onprem")} <= envoy.holds.keys())
        before = dict(envoy.holds)
        records = serving.policy[serving.policy.rindex("---") :]
        serving.edit(
            (records, ""),
            ("site: on_prem\n  region: eu-central", "site: cloud\n  region: eu-central"),
            ("endpoints: [{address: 127.0.0.1", "endpoints: [{address: 127.0.0.2"),
        )

        async def refused() -> bool:
            return bool((await serving.ask("/readyz"))["policy"]["errors"])

        await until(refused)
        (error,) = (await serving.ask("/readyz"))["policy"]["errors"]
        assert "restricted data may not reach onprem" in error
        assert "two edits" in error
        assert envoy.holds == before
