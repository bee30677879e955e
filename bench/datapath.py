"""What Penstock's generated configuration costs on the data path, against a bare weighted route.

``python bench/datapath.py``: one Envoy with one worker serves both, on a core of its own where there are two; backends
(an Envoy that answers by itself), the load client and a sink of access logs share the other. Token counts are read
from every answer of Penstock's route and each request is logged, as users have it; ``--unmetered`` leaves both out.

Rounds alternate between the two listeners, so that whatever else the machine does befalls both alike. Medians over the
rounds; the last line is one JSON object: ``{"bench", "bare_rps", "penstock_rps", "ratio", "added_p50_us",
"added_p99_us", ...}``. CPU per request is Envoy's own user and system time: the figure that does not depend on the
client.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

from bench.datapath_config import BARE_LISTENER, PUBLIC_LISTENER, backends, edge
from bench.fanout_processes import Child
from bench.report import report
from penstock_envoy.process import EnvoyProcess

CLIENT: Final = Path(__file__).with_name("http_load.py")
BACKENDS: Final = {"onprem-fra": ("onprem-1", "onprem-2"), "cloud-eu-west": ("cloud-1",)}
SATURATING: Final = 48
"""Connections for throughput: enough to keep the Envoy under test busy all the time."""

UNLOADED: Final = 2
"""Connections for latency: what a request costs when it need not wait for others."""

WARM_UP_SECONDS: Final = 0.5

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "21")))
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each measurement")
    parser.add_argument("--unmetered", action="store_true", help="read no token counts and log no request")
    given = parser.parse_args()
    names = tuple(name for group in BACKENDS.values() for name in group)
    with EnvoyProcess(backends(names)) as answering:
        ports = {cluster: tuple(map(answering.listener_port, group)) for cluster, group in BACKENDS.items()}
        with Child([sys.executable, "-m", "bench.als_sink"], "the access log sink") as logs:
            with EnvoyProcess(edge(ports, logs.hear()["port"], metering=not given.unmetered)) as measured:
                _separate(measured.pid, answering.pid, logs.pid)
                listeners = {"bare": BARE_LISTENER, "penstock": PUBLIC_LISTENER}
                result = _measure(
                    measured, {kind: measured.listener_port(name) for kind, name in listeners.items()}, given
                )
            result["logged_bytes"] = logs.ask("taken")["bytes"]
    report(result)


def _measure(envoy: EnvoyProcess, ports: dict[str, int], given: argparse.Namespace) -> dict[str, object]:
    throughput: dict[str, list[Figures]] = {kind: [] for kind in ports}
    latency: dict[str, list[Figures]] = {kind: [] for kind in ports}
    for port in ports.values():
        _load(port, SATURATING, WARM_UP_SECONDS)
    for number in range(given.rounds):
        # Who goes first alternates too.
        for kind in sorted(ports, reverse=number % 2 == 1):
            before = _cpu_seconds(envoy.pid)
            figures = _load(ports[kind], SATURATING, given.seconds)
            used = _cpu_seconds(envoy.pid) - before
            figures |= {"cpu_us": used / figures["requests"] * 1e6, "busy": used / figures["seconds"]}
            throughput[kind].append(figures)
            latency[kind].append(_load(ports[kind], UNLOADED, given.seconds / 2))
            print(
                f"round {number + 1} {kind:<9} {figures['rps']:8.0f} req/s  {figures['cpu_us']:6.1f} us CPU/request  "
                f"p50 {latency[kind][-1]['p50_us']:6.0f} us  p99 {latency[kind][-1]['p99_us']:6.0f} us",
                flush=True,
            )
    rps = {kind: median(each["rps"] for each in throughput[kind]) for kind in ports}
    cpu = {kind: median(each["cpu_us"] for each in throughput[kind]) for kind in ports}
    p50 = {kind: median(each["p50_us"] for each in latency[kind]) for kind in ports}
    p99 = {kind: median(each["p99_us"] for each in latency[kind]) for kind in ports}
    # Of neighbours in time, so that a slow minute of the machine does not decide.
    ratios = [p["rps"] / b["rps"] for p, b in zip(throughput["penstock"], throughput["bare"], strict=True)]
    return {
        "bench": "datapath",
        "bare_rps": round(rps["bare"]),
        "penstock_rps": round(rps["penstock"]),
        "ratio": round(median(ratios), 3),
        "added_p50_us": round(p50["penstock"] - p50["bare"], 1),
        "added_p99_us": round(p99["penstock"] - p99["bare"], 1),
        "bare_cpu_us": round(cpu["bare"], 1),
        "penstock_cpu_us": round(cpu["penstock"], 1),
        # Near 1: Envoy was the bottleneck, and the ratio means what it says.
        "envoy_busy": round(min(median(each["busy"] for each in throughput[kind]) for kind in ports), 2),
        "failed": int(sum(each["failed"] for kind in ports for each in (*throughput[kind], *latency[kind]))),
        "rounds": given.rounds,
    }


def _load(port: int, connections: int, seconds: float) -> Figures:
    command = [sys.executable, str(CLIENT), "--port", str(port)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own client
    if done.returncode != 0:
        raise RuntimeError(f"the load client failed: {done.stderr.strip()}")
    figures: Figures = json.loads(done.stdout)
    return figures


def _separate(measured: int, *others: int) -> None:
    """Give the Envoy under test a core of its own, and everything else the others."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return
    os.sched_setaffinity(0, cores[1:])  # inherited by the clients
    for pid, allowed in ((measured, cores[:1]), *((other, cores[1:]) for other in others)):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), allowed)


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    # After the name, which may hold anything, fields 14 and 15 of stat(5) are the 12th and 13th.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
