"""From the commit of one changed weight to the last acknowledgement: Penstock's xDS server beside go-control-plane's.

``STREAMS=1000 python bench/fanout.py``: each server has so many Delta ADS streams, each on a connection of its own, and
serves what Penstock generates for a group of Envoys; a push changes one weight in a route configuration of 50 routes.
Pushes alternate between the two, both stay up, the load client is the same program. Medians over the pushes; the last
line is one JSON object. ``ratio`` is ``penstock_ms / go_control_plane_ms``: below 1, Penstock is faster.
"""

import argparse
import os
from statistics import median

from bench.fanout_measure import Contender, Push, contenders
from bench.fanout_resources import CHANGED, generate
from bench.report import report
from penstock_xds import types


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=int(os.environ.get("STREAMS", "1000")))
    parser.add_argument("--pushes", type=int, default=int(os.environ.get("PUSHES", "15")))
    parser.add_argument("--routes", type=int, default=int(os.environ.get("ROUTES", "50")))
    given = parser.parse_args()
    report({"bench": "fanout", **compare(given.streams, given.pushes, given.routes)})


def compare(streams: int, pushes: int, routes: int) -> dict[str, object]:
    """Measure both."""
    served = generate(routes)
    with contenders(served) as both:
        for each in both:
            each.connect_and_weigh(streams)
        measured = alternate(both, pushes)
    ours, theirs = (measured[each.name] for each in both)
    return {
        "streams": streams,
        "penstock_ms": round(_ms(ours), 2),
        "go_control_plane_ms": round(_ms(theirs), 2),
        # Of neighbours in time, so that a slow minute of the machine does not decide.
        "ratio": round(median(p.ms / g.ms for p, g in zip(ours, theirs, strict=True)), 3),
        "penstock_cpu_us_per_push": round(median(p.cpu_us for p in ours), 1),
        "penstock_kb_per_stream": round(both[0].kb_per_stream, 1),
        "go_control_plane_cpu_us_per_push": round(median(p.cpu_us for p in theirs), 1),
        "go_control_plane_kb_per_stream": round(both[1].kb_per_stream, 1),
        "client_cpu_us_per_push": round(median(p.client_cpu_us for p in (*ours, *theirs)), 1),
        "route_table_bytes": served.size(types.ROUTE, CHANGED),
        "pushes": pushes,
    }


def alternate(contenders: list[Contender], pushes: int) -> dict[str, list[Push]]:
    """One push each, in turn; the first of each is for warming up."""
    measured: dict[str, list[Push]] = {each.name: [] for each in contenders}
    for number in range(pushes + 1):
        for each in contenders:
            push = each.push()
            if number == 0:
                continue
            measured[each.name].append(push)
            print(
                f"push {number} {each.name:<17} {push.ms:8.1f} ms  (client {push.client_ms:8.1f} ms)  "
                f"{push.cpu_us:6.1f} us CPU/stream, client {push.client_cpu_us:5.1f} us",
                flush=True,
            )
    return measured


def _ms(pushes: list[Push]) -> float:
    return median(p.ms for p in pushes)


if __name__ == "__main__":
    main()
