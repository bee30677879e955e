"""Running an Envoy as a child process: for the demo, the tests and the benchmarks.

One :class:`EnvoyProcess` is one Envoy. All calls block and may be made from one thread at a time; an asyncio caller
wraps them in ``asyncio.to_thread``. The child gets its own process group, so that a Ctrl-C in the terminal reaches the
owner alone, who then stops its Envoys in an order of its choosing.
"""

import http.client
import json
import logging
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from penstock_envoy import binary

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.02
_LOG_TAIL: Final = 4000
"""Characters of Envoy's log that an error carries: enough for the reason, short enough for a terminal."""


class EnvoyFailedError(Exception):
    """An Envoy exited, or was not ready in time. Carries the end of its log."""

    def __init__(self, what: str, exit_code: int | None, log_tail: str) -> None:
        state = "still running" if exit_code is None else f"exit code {exit_code}"
        super().__init__(f"{what} ({state}); its log ends with:\n{log_tail}")
        self.exit_code = exit_code
        self.log_tail = log_tail


class EnvoyProcess:
    """One Envoy, from a bootstrap in YAML to its end.

    As a context manager it is started and ready inside the block, and stopped after it. Use :meth:`start` without
    :meth:`wait_ready` for an Envoy that is meant to wait for its control plane.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        binary_path: str | None = None,
        concurrency: int = 1,
        log_level: str = "warning",
        ready_seconds: float = 30.0,
        drain_seconds: int = 1,
    ) -> None:
        """Describe the Envoy; nothing runs yet.

        Args:
            bootstrap: its configuration; the admin port may be 0.
            binary_path: the Envoy to run; None: see :func:`penstock_envoy.binary.find`.
            concurrency: worker threads.
            log_level: of Envoy's own log, which goes to a file (:meth:`log`).
            ready_seconds: how long starting and becoming ready may take.
            drain_seconds: how long Envoy drains connections of removed listeners.
        """
        self._bootstrap = bootstrap
        self._binary_path = binary_path
        self._concurrency = concurrency
        self._log_level = log_level
        self._ready_seconds = ready_seconds
        self._drain_seconds = drain_seconds
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the running Envoy."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the child exists and has not exited."""
        return self._process is not None and self._process.poll() is None

    @property
    def admin_address(self) -> tuple[str, int]:
        """Host and port of the admin page.

        Raises:
            RuntimeError: the Envoy was not started.
        """
        if self._admin is None:
            raise RuntimeError("this Envoy is not started")
        return self._admin

    def start(self) -> None:
        """Start Envoy and wait until its admin page has an address.

        Raises:
            EnvoyNotFound: there is no binary to run.
            EnvoyFailedError: it exited (a refused bootstrap, a taken port) or took too long.
            RuntimeError: it is running already.
        """
        if self.running:
            raise RuntimeError("this Envoy is already running")
        executable = binary.find(self._binary_path)
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="penstock-envoy-"))
        config = self._directory / "bootstrap.yaml"
        config.write_text(self._bootstrap, encoding="utf-8")
        admin_file = self._directory / "admin-address"
        admin_file.unlink(missing_ok=True)
        with self._log_path().open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- the binary is chosen by the operator, no shell is involved
                [
                    str(executable),
                    "--config-path",
                    str(config),
                    "--use-dynamic-base-id",
                    "--concurrency",
                    str(self._concurrency),
                    "--admin-address-path",
                    str(admin_file),
                    "--log-level",
                    self._log_level,
                    "--drain-time-s",
                    str(self._drain_seconds),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        logger.info("envoy started", extra={"pid": self._process.pid, "binary": str(executable)})
        deadline = time.monotonic() + self._ready_seconds
        while self._admin is None:
            if admin_file.exists() and (text := admin_file.read_text(encoding="ascii").strip()):
                host, _, port = text.rpartition(":")
                self._admin = (host.strip("[]"), int(port))
            else:
                self._wait_a_little(deadline, "Envoy did not open its admin page")

    def wait_ready(self, seconds: float | None = None) -> None:
        """Wait until Envoy is LIVE: it has its first complete configuration and serves.

        Raises:
            EnvoyFailedError: it exited, or was not ready within ``seconds`` (default: ``ready_seconds``).
        """
        deadline = time.monotonic() + (self._ready_seconds if seconds is None else seconds)
        while not self.ready():
            self._wait_a_little(deadline, "Envoy did not become ready")

    def ready(self) -> bool:
        """Whether Envoy says now that it is LIVE."""
        if self._admin is None:
            return False
        try:
            status, _ = self._get("/ready")
        except (OSError, http.client.HTTPException):
            return False
        return status == http.client.OK

    def admin(self, path: str) -> str:
        """The body of an admin page, such as ``/clusters`` or ``/config_dump``.

        Raises:
            OSError: Envoy does not answer.
            EnvoyFailedError: it answered with an error.
        """
        status, body = self._get(path)
        if status != http.client.OK:
            raise EnvoyFailedError(f"admin page {path} answered {status}: {body}", None, self._log_tail())
        return body

    def listener_port(self, name: str) -> int:
        """The TCP port a listener is bound to (which the kernel chose, if the listener asked for port 0).

        Raises:
            KeyError: Envoy has no such listener.
        """
        for status in json.loads(self.admin("/listeners?format=json")).get("listener_statuses", []):
            if status["name"] == name:
                return int(status["local_address"]["socket_address"]["port_value"])
        raise KeyError(name)

    def log(self) -> str:
        """All that Envoy has logged; empty after :meth:`stop`."""
        path = self._log_path() if self._directory is not None else None
        return path.read_text(encoding="utf-8", errors="replace") if path is not None and path.exists() else ""

    def kill(self) -> None:
        """End Envoy at once (SIGKILL); it may be started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._admin = None

    def stop(self, grace: float = 5.0) -> None:
        """End Envoy (SIGTERM, after ``grace`` seconds SIGKILL) and remove its files. Safe to call at any time."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                logger.warning("envoy did not stop in time; killing it", extra={"pid": self._process.pid})
                self._process.kill()
                self._process.wait()
        if self._process is not None:
            logger.info("envoy stopped", extra={"pid": self._process.pid, "exit_code": self._process.returncode})
        self._process = None
        self._admin = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this Envoy is not started")
        return self._process

    def _get(self, path: str) -> tuple[int, str]:
        host, port = self.admin_address
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def _wait_a_little(self, deadline: float, complaint: str) -> None:
        code = self._running().poll()
        if code is not None or time.monotonic() > deadline:
            raise EnvoyFailedError(complaint, code, self._log_tail())
        time.sleep(_POLL_SECONDS)

    def _log_path(self) -> Path:
        if self._directory is None:
            raise RuntimeError("this Envoy is not started")
        return self._directory / "envoy.log"

    def _log_tail(self) -> str:
        return self.log()[-_LOG_TAIL:]


def validate(bootstrap: str, *, binary_path: str | None = None, seconds: float = 30.0) -> None:
    """Ask Envoy itself whether a configuration is good (``--mode validate``); nothing is served.

    Raises:
        EnvoyNotFound: there is no binary to ask.
        EnvoyFailedError: the configuration is refused, or judging it took longer than ``seconds``.
    """
    executable = binary.find(binary_path)
    with tempfile.TemporaryDirectory(prefix="penstock-envoy-") as directory:
        config = Path(directory) / "bootstrap.yaml"
        config.write_text(bootstrap, encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 -- the binary is chosen by the operator, no shell is involved
                [str(executable), "--mode", "validate", "--config-path", str(config), "--log-level", "warning"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            log = (error.stdout or b"").decode("utf-8", "replace")
            raise EnvoyFailedError("Envoy took too long to validate", None, log[-_LOG_TAIL:]) from error
    if done.returncode != 0:
        log = done.stdout.decode("utf-8", "replace")
        raise EnvoyFailedError("Envoy refuses the configuration", done.returncode, log[-_LOG_TAIL:])
