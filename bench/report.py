"""How benchmarks report: a JSON file in ``bench/out`` and the same as the last line printed."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

OUT = Path(__file__).resolve().parent / "out"


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share ``q`` of all values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def report(result: Mapping[str, object]) -> None:
    """Write and print a result; ``result["bench"]`` is its name."""
    OUT.mkdir(exist_ok=True)
    line = json.dumps(result)
    (OUT / f"{result['bench']}.json").write_text(line + "\n")
    print(line)
