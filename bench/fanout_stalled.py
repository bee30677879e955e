"""What one client that never reads costs the others: nothing, if the server is any good.

``STREAMS=1000 python bench/fanout_stalled.py``: blocks of pushes without and with a stalled client alternate. It is
served and acknowledges everything when it connects, and then stops reading, with a flow-control window smaller than one
response. The figures are those of the other streams: time from commit until 99 % of them had acknowledged. ``ratio``
is with over without, 1 where the stalled client has no effect.
"""

import argparse
import os
from statistics import median

from bench.fanout_measure import Contender, contenders
from bench.fanout_resources import generate
from bench.report import quantile, report

PUSHES_A_BLOCK = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=int(os.environ.get("STREAMS", "1000")))
    parser.add_argument("--blocks", type=int, default=int(os.environ.get("BLOCKS", "6")), help="of each kind")
    given = parser.parse_args()
    result: dict[str, object] = {"bench": "fanout_stalled", "streams": given.streams, "blocks": given.blocks}
    with contenders(generate()) as both:
        for each in both:
            each.connect(given.streams)
            each.push()
            name = each.name.replace("-", "_")
            result |= {f"{name}_{key}": value for key, value in measure(each, given.blocks).items()}
    report(result)


def measure(contender: Contender, blocks: int) -> dict[str, float]:
    """Alternate; the 99th percentile over the streams, the median over the pushes."""
    p99: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(blocks):
        for stalled in (False, True):
            if stalled:
                contender.connect(1, stalled=True)
            # The first response after it stopped reading is the one that fills its window.
            contender.push()
            p99[stalled] += [quantile(contender.push().acks_ms, 0.99) for _ in range(PUSHES_A_BLOCK)]
            if stalled:
                contender.client.ask("disconnect", stalled=True)
            print(
                f"{contender.name} {'with' if stalled else 'without'} a stalled client: "
                f"p99 {median(p99[stalled][-PUSHES_A_BLOCK:]):.1f} ms",
                flush=True,
            )
    without, with_one = median(p99[False]), median(p99[True])
    return {
        "p99_ms_without": round(without, 2),
        "p99_ms_with": round(with_one, 2),
        "ratio": round(with_one / without, 3),
    }


if __name__ == "__main__":
    main()
