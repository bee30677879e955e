"""How long one decision takes: ``decide()`` whole, from observations to canonical bytes hashed.

``python bench/decide.py``: fleets of 60 rows with 8 clusters and 1000 rows with 20, every row different and every
cluster open to every row, driven second by second with traffic and prices that never rest. Each decision is checked to
come from the optimum. The last line is one JSON object.
"""

import argparse
import gc
import os
import time
from typing import Final

from bench.decide_fleet import START, Traffic, policy_set
from bench.report import quantile, report
from penstock.control.garbage import collect_less_often
from penstock_policies.decision import Decision, Rung
from penstock_policies.engine import decide
from penstock_policies.overrides import Overrides

SIZES: Final = ((15, 4, 8), (100, 10, 20))
"""Policies, regions, clusters; rows are the first two multiplied."""
WARM_UP: Final = 5
"""Decisions until demand is known and the weights have come near the optimum."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=int(os.environ.get("DECISIONS", "30")))
    # As the program does: what it collects less often, it collects less often here.
    collect_less_often()
    report({"bench": "decide", "sizes": [_measure(*size, parser.parse_args().decisions) for size in SIZES]})


def _measure(policies: int, regions: int, clusters: int, decisions: int) -> dict[str, object]:
    policy = policy_set(policies, regions, clusters)
    traffic = Traffic(policy)
    previous: Decision | None = None
    times: list[float] = []
    now = START
    for number in range(WARM_UP + decisions):
        now += 1.0
        observations = traffic.observe(previous, now)
        gc.collect()
        begun = time.perf_counter()
        previous = decide(policy, observations, Overrides({}), previous, now)
        elapsed = time.perf_counter() - begun
        if previous.rung is not Rung.OPTIMUM:
            raise SystemExit(f"decided by {previous.rung}: {[note for note in previous.notes if 'why' in note.fields]}")
        if number >= WARM_UP:
            times.append(elapsed * 1000)
    result: dict[str, object] = {
        "rows": policies * regions,
        "clusters": clusters,
        "decisions": decisions,
        "median_ms": round(quantile(times, 0.5), 2),
        "p95_ms": round(quantile(times, 0.95), 2),
    }
    print(
        f"{policies * regions} rows x {clusters} clusters: median {result['median_ms']} ms, p95 {result['p95_ms']} ms"
    )
    return result


if __name__ == "__main__":
    main()
