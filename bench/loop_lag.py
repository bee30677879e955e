"""How long the control plane's event loop is held up while it decides, proves, publishes and records for a large fleet.

``python bench/loop_lag.py``: the program's own Decider, Publisher, Recorder and LedgerKeeper on a made-up fleet
(``ROWS`` x ``CLUSTERS``, 1 000 x 20 unless set), whose load swings so that weights move and are published. Beside them
a heartbeat asks to be woken every two milliseconds: how much later it is woken is the lag that an xDS stream, a probe
or an operator would have seen. Drains are timed as well, each given while a decision is under way: from the word to
what Envoys are sent. The last line is one JSON object.
"""

import argparse
import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, Final

import yaml

from bench.report import quantile, report
from penstock.control.decider import Decider
from penstock.control.garbage import collect_less_often
from penstock.control.history import WeightHistory
from penstock.control.ledger import LedgerKeeper
from penstock.control.publisher import Publisher
from penstock.control.recorder import Recorder
from penstock.control.thread_turns import take_turns_often
from penstock.signals.board import ObservationBoard
from penstock.state.store import Store
from penstock_envoy.compiler import Compiler
from penstock_policies.loader import load
from penstock_policies.observations import EndpointProbe, Load
from penstock_policies.overrides import Drain
from penstock_policies.policyset import PolicySet
from penstock_xds import SnapshotCache

REGIONS: Final = ("eu-central", "eu-west", "us-east", "us-west", "ap-south")
MODELS_OF_A_POLICY: Final = 10
BEAT_SECONDS: Final = 0.002
WARM_UP: Final = 3
DRAINS: Final = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=int(os.environ.get("ROWS", "1000")))
    parser.add_argument("--clusters", type=int, default=int(os.environ.get("CLUSTERS", "20")))
    parser.add_argument("--decisions", type=int, default=int(os.environ.get("DECISIONS", "20")))
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    collect_less_often()
    take_turns_often()
    policy = fleet(arguments.rows, arguments.clusters)
    report(asyncio.run(measure(policy, arguments.decisions)))


def fleet(rows: int, clusters: int) -> PolicySet:
    """Policies of some models each, every one of which may use every cluster, seen from five regions."""
    models = [f"model-{number}" for number in range(max(1, rows // len(REGIONS)))]
    shares = [models[first : first + MODELS_OF_A_POLICY] for first in range(0, len(models), MODELS_OF_A_POLICY)]
    documents = [
        *(_cluster(number, models) for number in range(clusters)),
        _document("Listener", "public", {"address": "127.0.0.1", "port": 10000, "dataClass": "public"}),
        *(
            _document("NodeGroup", region, {"match": {"cluster": region}, "region": region, "listeners": ["public"]})
            for region in REGIONS
        ),
        *(
            _document(
                "TrafficPolicy",
                f"policy-{number}",
                {
                    "match": {"path": "/v1/", "models": share},
                    "dataClass": "public",
                    "clusters": [f"cluster-{each}" for each in range(clusters)],
                },
            )
            for number, share in enumerate(shares)
        ),
        _document("Budget", "all", {"amount": 1e6, "per": "month"}),
    ]
    loaded = load({"fleet.yaml": yaml.safe_dump_all(documents)})
    if loaded.policy_set is None:
        raise ValueError(f"the fleet does not load: {[str(problem) for problem in loaded.problems[:3]]}")
    return loaded.policy_set


def _cluster(number: int, models: list[str]) -> dict[str, Any]:
    spec = {
        "site": "on_prem" if number % 4 == 0 else "cloud",
        "region": REGIONS[number % len(REGIONS)],
        "engine": "vllm",
        "models": models,
        "endpoints": [{"address": f"10.0.{number}.{last}", "port": 8000} for last in range(1, 5)],
        "capacity": {"concurrency": 1000},
        "cost": {"usdPerMillionTokens": 0.1 + number / 10},
    }
    return _document("Cluster", f"cluster-{number}", spec)


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "penstock/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def observe(board: ObservationBoard, policy: PolicySet, turn: int) -> None:
    """Pin facts under which other weights are right than in the turn before."""
    now = time.time()
    for name, cluster in policy.clusters.items():
        for endpoint in cluster.spec.endpoints:
            board.set_probe(name, endpoint.key, EndpointProbe(now, 10, 0, 0.001))
    busy = 600.0 if turn % 2 else 1400.0
    board.set_load(
        {region: {name: Load(now, busy / 5, busy / 5, 0.0) for name in policy.clusters} for region in REGIONS}
    )


@asynccontextmanager
async def heartbeat() -> AsyncIterator[list[float]]:
    """Collect, inside the block, by how many milliseconds each beat came late."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            wanted = time.perf_counter() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            late.append(max(0.0, time.perf_counter() - wanted) * 1e3)

    task = asyncio.create_task(beat())
    try:
        yield late
    finally:
        task.cancel()


async def measure(policy: PolicySet, decisions: int) -> dict[str, object]:
    """Decide so many times, with a heartbeat beside."""
    published: list[str] = []
    seconds: list[float] = []
    board = ObservationBoard()
    async with await Store.open("sqlite://", time.time) as store:
        recorder, ledger = Recorder(store), LedgerKeeper(store, time.time)
        decider = Decider(
            board=board,
            publisher=Publisher(SnapshotCache(), Compiler()),
            recorder=recorder,
            history=WeightHistory(),
            ledger=ledger,
            clock=time.time,
            published=lambda decision: published.append(decision.id),
            decided=lambda _, took: seconds.append(took),
        )
        board.apply(policy)
        await ledger.apply(policy)
        writing = asyncio.create_task(recorder.run())
        try:
            async with heartbeat() as adopting:
                await decider.adopt(policy)
            for turn in range(WARM_UP):
                observe(board, policy, turn)
                await decider.decide_now()
            async with heartbeat() as idle:
                await asyncio.sleep(0.5)
            published.clear()
            seconds.clear()
            whole = []
            async with heartbeat() as deciding:
                for turn in range(decisions):
                    observe(board, policy, turn)
                    began = time.perf_counter()
                    await decider.decide_now()
                    whole.append((time.perf_counter() - began) * 1e3)
                await ledger.flush()
                await recorder.drained(60.0)
            drained = [await drain(decider, name) for name in sorted(policy.clusters)[:DRAINS]]
        finally:
            writing.cancel()
            decider.close()
    return {
        "bench": "loop_lag",
        "rows": len(policy.rows()),
        "clusters": len(policy.clusters),
        "decisions": decisions,
        "published": len(published),
        "decide_ms": round(median(seconds) * 1e3, 1),
        "decide_to_published_ms": round(median(whole), 1),
        "drain_to_published_ms": round(median(drained), 1),
        "lag_idle_ms_max": round(max(idle), 1),
        "lag_ms_p50": round(quantile(deciding, 0.5), 1),
        "lag_ms_p99": round(quantile(deciding, 0.99), 1),
        "lag_ms_max": round(max(deciding), 1),
        "lag_adopting_ms_max": round(max(adopting), 1),
    }


async def drain(decider: Decider, cluster: str) -> float:
    """Drain a cluster while a decision is under way; milliseconds until the one without it is published."""
    under_way = asyncio.create_task(decider.decide_now())
    await asyncio.sleep(0)
    now = time.time()
    began = time.perf_counter()
    decider.set_drains({cluster: Drain(cluster, now, now + 3600, "bench", "bench")})
    await decider.decide_now()
    took = (time.perf_counter() - began) * 1e3
    await under_way
    return took


if __name__ == "__main__":
    main()
