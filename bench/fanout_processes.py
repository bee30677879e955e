"""The processes of the fan-out benchmarks: the servers, the load clients, and building those that are written in Go."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench.report import OUT

BENCH: Final = Path(__file__).resolve().parent
LOAD: Final = BENCH / "load"
PEER: Final = BENCH / "peers" / "go-control-plane"
PATIENCE_SECONDS: Final = 120.0
"""For one command. Far more than any takes on a machine that works."""

Message = dict[str, Any]


class Child:
    """A process that answers each line of JSON with one. Its standard error is ours."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._name = name
        self._process = subprocess.Popen(  # noqa: S603 -- our own programs
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=BENCH.parent
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=0.5 if error else 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def tell(self, do: str, **arguments: object) -> None:
        """Send a command without waiting for its answer; `hear` it before the next."""
        if self._process.stdin is None:
            raise RuntimeError(f"{self._name} has no standard input")
        self._process.stdin.write(json.dumps({"do": do, "patience_seconds": PATIENCE_SECONDS, **arguments}) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Message:
        """The next answer.

        Raises:
            RuntimeError: the process says that it failed, or has ended.
        """
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"{self._name} ended with status {self._process.wait()}")
        answer: Message = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self._name}: {answer['error']}")
        return answer

    def ask(self, do: str, **arguments: object) -> Message:
        """Send a command and wait for its answer."""
        self.tell(do, **arguments)
        return self.hear()

    def peak_kb(self) -> int:
        """The most memory it had resident since `forget_peak`, in kB."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))

    def forget_peak(self) -> None:
        """Let the peak begin at what is resident now (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def resident_kb(self) -> int:
        """Its proportional set size, in kB: what it would free by ending."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def penstock(served: Path) -> Child:
    """Penstock's library, serving these resources."""
    return Child([sys.executable, str(BENCH / "fanout_server.py"), str(served)], "penstock")


def grpc_floor(served: Path) -> Child:
    """The least a server on grpc.aio can do."""
    return Child([sys.executable, str(BENCH / "fanout_floor_server.py"), str(served)], "grpc.aio floor")


def go_control_plane(served: Path) -> Child:
    """The peer, serving these resources."""
    return Child([str(_program(PEER)), str(served)], "go-control-plane")


def load() -> Child:
    """A load client."""
    return Child([str(_program(LOAD))], "load")


def allow_many_files() -> None:
    """Let this process and its children have as many files open as they may at most: a connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def build_all() -> None:
    """Build what is written in Go.

    Raises:
        SystemExit: there is no Go, or a build failed.
    """
    go = shutil.which("go")
    if go is None:
        raise SystemExit(
            "This benchmark needs Go 1.26 or later on the PATH: its load client and the peer it compares with are "
            "written in it. See https://go.dev/dl; the other benchmarks run without."
        )
    for package in (LOAD, PEER):
        command = [go, "build", "-trimpath", "-o", str(_program(package)), "."]
        if subprocess.run(command, cwd=package, check=False).returncode != 0:  # noqa: S603 -- our own programs
            raise SystemExit(f"Building {package} failed.")


def _program(package: Path) -> Path:
    return OUT / "bin" / package.name
