"""A whole control plane whose feed shows a secret: of the operator's directory, and seen by the feed's server alone."""

from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from tests.control.serving_world import POLICY, serve
from tests.signals.simulated_servers import serving

FEED = """
---
apiVersion: penstock/v1
kind: CostFeed
metadata: {{name: market}}
spec: {{type: http, url: "http://127.0.0.1:{prices}/", credentials: {{file: market.token}}}}
"""


async def test_a_feeds_secret_is_of_the_operators_directory_and_told_to_nobody_else(tmp_path: Path) -> None:
    keys, shown = tmp_path / "keys", list[str]()
    keys.mkdir()
    (keys / "market.token").write_text("hunter2-and-some\n")

    async def answer(request: web.Request) -> web.Response:
        shown.append(request.headers["authorization"])
        return web.json_response({"prices": [{"key": "k", "usdPerMillionTokens": 0.5}], "hunter2-and-some": 1})

    async with serving(answer) as port, AsyncExitStack() as stack:
        world, _ = await serve(stack, tmp_path, POLICY + FEED, credentials=keys, prices=port)
        told = [str(await world.ask(f"/api/v1/{part}")) for part in ("status", "clusters", "audit", "inputs")]
        assert "a field of an unknown name" in told[0]
        assert "hunter2" not in "".join([*told, await world.metrics()])
    assert set(shown) == {"Bearer hunter2-and-some"}
