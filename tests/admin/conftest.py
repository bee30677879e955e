"""The admin application on a fake control plane, asked over real HTTP on loopback."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from penstock.admin.app import AdminServer
from penstock.admin.metrics import Metrics
from tests.admin.fake_control import FakeControlPlane


@dataclass
class Asked:
    """An answer that was read to its end."""

    status: int
    headers: Any
    text: str
    json: Any


@dataclass
class Api:
    """A client of the application under test."""

    http: aiohttp.ClientSession
    port: int

    async def ask(self, method: str, path: str, **kwargs: Any) -> Asked:
        async with self.http.request(method, f"http://127.0.0.1:{self.port}{path}", **kwargs) as response:
            text = await response.text()
            is_json = "json" in response.content_type
            return Asked(
                response.status, response.headers, text, await response.json(content_type=None) if is_json else None
            )

    async def get(self, path: str, **kwargs: Any) -> Asked:
        return await self.ask("GET", path, **kwargs)


@pytest.fixture
def control() -> FakeControlPlane:
    return FakeControlPlane()


@pytest.fixture
def metrics(control: FakeControlPlane) -> Metrics:
    made = Metrics()
    made.watch(control)
    return made


@pytest.fixture
async def api(control: FakeControlPlane, metrics: Metrics) -> AsyncIterator[Api]:
    server = AdminServer(control, metrics)
    _, port = await server.start("127.0.0.1:0")
    try:
        async with aiohttp.ClientSession() as http:
            yield Api(http, port)
    finally:
        await server.stop()
