"""Thousands of Envoys at once: how long until all are served and have acknowledged, and how much memory that takes.

``STREAMS=5000 python bench/reconnect.py``: first they come with nothing (`cold`), as after a power cut. Then all
connections break, one weight changes, and they come again as an Envoy does, with the names and versions of all they
hold (`warm`): only the route configuration that changed need be sent. Milliseconds from the first connection attempt to
the last acknowledgement; peak memory is what was resident at most, the garbage of earlier waves collected. The last
line is one JSON object.
"""

import argparse
import os
import time
from statistics import median

from bench.fanout_measure import Contender, contenders
from bench.fanout_resources import generate
from bench.report import report

BETWEEN_SECONDS = 2.0
"""For a server to let go of broken streams before the next wave."""

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=int(os.environ.get("STREAMS", "5000")))
    parser.add_argument("--waves", type=int, default=int(os.environ.get("WAVES", "3")))
    given = parser.parse_args()
    result: dict[str, object] = {"bench": "reconnect", "streams": given.streams, "waves": given.waves}
    with contenders(generate()) as both:
        cold = {each.name: wave(each, given.streams, "cold") for each in both}
        warm: dict[str, list[Figures]] = {each.name: [] for each in both}
        for _ in range(given.waves):
            for each in both:
                each.break_connections()
                each.change_unseen()
                time.sleep(BETWEEN_SECONDS)
                warm[each.name].append(wave(each, given.streams, "warm"))
        for each in both:
            name = each.name.replace("-", "_")
            result |= {f"{name}_cold_{key}": value for key, value in cold[each.name].items()}
            for key in warm[each.name][0]:
                result[f"{name}_warm_{key}"] = median(one[key] for one in warm[each.name])
    report(result)


def wave(contender: Contender, streams: int, kind: str) -> Figures:
    """All at once."""
    contender.memory_kb()  # collects garbage
    contender.server.forget_peak()
    used = contender.server.ask("usage")["cpu_us"]
    connected = contender.connect(streams, at_once=streams)
    figures = {
        "ms": round((connected["ended_ns"] - connected["began_ns"]) / 1e6, 1),
        "cpu_us_per_stream": round((contender.server.ask("usage")["cpu_us"] - used) / streams, 1),
        "peak_mb": round(contender.server.peak_kb() / 1000, 1),
        "kb_sent_per_stream": round(connected["bytes"] / streams / 1000, 2),
    }
    print(f"{kind} {contender.name:<17} {figures}", flush=True)
    return figures


if __name__ == "__main__":
    main()
