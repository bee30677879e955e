"""What the ledger costs: beside a decision, for a second's counted requests, to write, to keep and to read.

``python bench/ledger.py``: fleets of 60 rows with 8 clusters and 1000 rows with 20. Counted requests come for every row
at every cluster, which is the worst there is. ``DAYS`` of it are then read back. All times are of the CPU, since all of
it happens beside the event loop. The last line is one JSON object.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from bench.decide_fleet import START, Traffic, policy_set
from bench.report import quantile, report
from penstock.control.entries import Batch, Span, added_up, rates, valued
from penstock.signals.usage import Usage, UsageKey
from penstock.state.costs import Asked
from penstock.state.ledger import HOUR_SECONDS, Entries
from penstock.state.store import Store
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet

SIZES: Final = ((15, 4, 8), (100, 10, 20))
"""Policies, regions, clusters; rows are the first two multiplied."""
_ROUNDS: Final = 20
_WARM_UP: Final = 3
"""Decisions until demand is known."""
_DAY: Final = 86400

R = TypeVar("R")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=int(os.environ.get("DAYS", "3")))
    arguments = parser.parse_args()
    report({"bench": "ledger", "sizes": [asyncio.run(_measure(*size, arguments.days)) for size in SIZES]})


async def _measure(policies: int, regions: int, clusters: int, days: int) -> dict[str, object]:
    policy = policy_set(policies, regions, clusters)
    usage = _usage(policy)
    now, traffic = START, Traffic(policy)
    decision: Decision | None = None
    for _ in range(_WARM_UP):
        now += 1.0
        decision = decide(policy, traffic.observe(decision, now), Overrides(), decision, now)
    if decision is None:
        raise AssertionError("nothing was decided")
    known = rates(policy, decision, {})
    beside = _median(lambda: rates(policy, decision, {}, known))
    pricing = _median(lambda: valued(0, usage, [known.tariff]))
    batch = valued(int(now // HOUR_SECONDS) * HOUR_SECONDS, usage, [known.tariff])
    empty = Entries({}, {})
    spans = [Span(batch.bucket, 1.0, replace(known), frozenset(known.flows)) for _ in range(10)]
    estimating = _median(lambda: added_up(empty, spans, []))
    adding = _median(lambda: added_up(empty, [], [batch] * 10))
    result: dict[str, object] = {
        "rows": policies * regions,
        "clusters": clusters,
        "keys": len(usage),
        "rates_ms": round(beside, 2),
        "price_a_second_ms": round(pricing, 2),
        "estimate_ten_seconds_ms": round(estimating, 2),
        "add_up_ten_seconds_ms": round(adding, 2),
    }
    # A large fleet's days would take minutes to make up.
    result |= await _stored(batch, days if len(usage) < 1000 else 0)
    print(", ".join(f"{name} {value}" for name, value in result.items()))
    return result


async def _stored(batch: Batch, days: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        async with await Store.open(f"sqlite:///{path}", lambda: START) as store:
            writes: list[float] = []
            for hour in range(max(1, days * 24)):
                moved = {key._replace(bucket=key.bucket + hour * HOUR_SECONDS): of for key, of in batch.amounts.items()}
                begun = time.process_time()
                await store.ledger.add(Entries(moved, {}))
                writes.append((time.process_time() - begun) * 1000)
            told: dict[str, object] = {"write_ms": round(quantile(writes, 0.5), 2)}
            if not days:
                return told
            end = batch.bucket + days * _DAY
            for name, since in (("read_a_day_ms", end - _DAY), ("read_all_ms", batch.bucket)):
                asked = Asked(since, end, ("cluster", "policy"), hourly=False, most=5000)
                begun = time.process_time()
                await store.ledger.report(asked)
                told[name] = round((time.process_time() - begun) * 1000, 1)
        rows = len(batch.amounts) * days * 24
        # In the field each row is written four times, once a quarter of an hour, and has four small ones beside it.
        return {**told, "stored_rows": rows, "bytes_a_row": round(path.stat().st_size / rows)}


def _usage(policy: PolicySet) -> dict[UsageKey, Usage]:
    each = Usage(requests=3, prompt_tokens=3000, output_tokens=600, seconds=4.0)
    return {
        UsageKey(row.region, row.policy, policy.policies[row.policy].spec.data_class.value, row.model, cluster): each
        for row in policy.rows()
        for cluster in policy.policies[row.policy].spec.clusters
    }


def _median(work: Callable[[], R]) -> float:
    """Milliseconds of CPU."""
    times: list[float] = []
    for _ in range(_ROUNDS):
        begun = time.process_time()
        work()
        times.append((time.process_time() - begun) * 1000)
    return quantile(times, 0.5)


if __name__ == "__main__":
    main()
