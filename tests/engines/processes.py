"""Engines as child processes: started in a session of their own, and ended with all that they started.

vLLM and Ray start processes that outlive a killed parent (vLLM's engine core does, seen with 0.32.0), so an end is an
end of the whole session, by process id, until none of it is left.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SERVERS: Final = ROOT / ".venv-engines" / "servers" / "bin" / "python"
CLIENTS: Final = ROOT / ".venv-engines" / "clients" / "bin" / "python"

START_SECONDS: Final = 240.0
"""For an engine to answer: half a minute on two idle cores."""
END_SECONDS: Final = 20.0

_ALL: Final = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "RAY_USAGE_STATS_ENABLED": "0",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    # Ray renews its metrics every ten seconds by itself, which tests would wait for again and again.
    "RAY_metrics_report_interval_ms": "1000",
    # Ray's way to say "this machine alone": its servers are on loopback then, but for the gRPC of Serve's replicas.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def environment(directory: Path, **more: str) -> dict[str, str]:
    """What children see: this environment, nobody to report to, and a home where they may leave files."""
    return {**os.environ, **_ALL, "HOME": str(directory), **more}


class Engine:
    """One engine, which can be killed and started again on its ports."""

    def __init__(
        self, name: str, command: Sequence[str], *, port: int, metrics_port: int, log: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.port = port
        self.metrics_port = metrics_port
        self._command = ["nice", "-n", "10", *command]
        self._log = log
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def metrics(self) -> str:
        """Its metrics page, now."""
        status, text = _get(self.metrics_port, "/metrics")
        assert status == 200, text
        return text

    def ensure(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.name} did not start; its log ends with:\n{self.log_tail()}")
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL, to every process of it."""
        if self._process is None:
            return
        deadline = time.monotonic() + END_SECONDS
        # Until none is left: one may be starting another just now.
        while alive := list(_session(self._process.pid)):
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} has processes that do not end: {alive}")
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self._process.wait(END_SECONDS)
        self._process = None

    @contextlib.contextmanager
    def held_up(self, name: str) -> Iterator[None]:
        """Inside the block, its processes whose names begin so do not run; they do not end either."""
        assert self._process is not None
        pids = [pid for pid in _session(self._process.pid) if Path(f"/proc/{pid}/comm").read_text().startswith(name)]
        assert pids, f"{self.name} has no {name}"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def log_tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-6000:] if self._log.exists() else ""

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return _get(self.port, "/health")[0] == 200
        return False


def _get(port: int, path: str) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _session(leader: int) -> Iterator[int]:
    """The processes of a session that have not ended."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything.
            state, _, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(session) == leader and state not in "ZX":
                yield int(entry.name)
