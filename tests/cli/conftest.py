"""The command line as a user calls it, against a live admin server in a thread of its own."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from penstock.admin.app import AdminServer
from penstock.admin.metrics import Metrics
from penstock.cli.main import main
from tests.admin.fake_control import FakeControlPlane


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("PENSTOCK_SERVER", raising=False)

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def control() -> FakeControlPlane:
    return FakeControlPlane()


@pytest.fixture
def server(control: FakeControlPlane, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A live admin server; ``PENSTOCK_SERVER`` names it."""
    started = threading.Event()
    port = 0
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        nonlocal port
        admin = AdminServer(control, Metrics())
        _, port = await admin.start("127.0.0.1:0")
        started.set()
        await stop.wait()
        await admin.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("PENSTOCK_SERVER", url)
    yield url
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()
