"""The fan-out comparison at several numbers of streams, and with a short and a long route table.

``STREAMS="1 100 1000 5000" python bench/fanout_scale.py``: see ``bench/fanout.py`` for what is measured. The last line
is one JSON object with a row for each.
"""

import argparse
import os

from bench.fanout import compare
from bench.report import report

LONG, SHORT = 50, 11
"""Routes. The short table is the example policies' own."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", default=os.environ.get("STREAMS", "1 100 1000 5000"), help="numbers, by spaces")
    parser.add_argument("--pushes", type=int, default=int(os.environ.get("PUSHES", "10")))
    given = parser.parse_args()
    rows = []
    for routes in (LONG, SHORT):
        for streams in map(int, given.streams.split()):
            print(f"{streams} streams, {routes} routes", flush=True)
            rows.append({"routes": routes, **compare(streams, given.pushes, routes)})
    report({"bench": "fanout_scale", "rows": rows})


if __name__ == "__main__":
    main()
