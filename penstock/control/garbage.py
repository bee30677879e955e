"""How often Python looks for cyclic garbage while Penstock serves."""

import gc
from typing import Final

# With Python's default of 700 the collector walks the state of every stream again and again: a fifth of the time that
# pushes to a thousand Envoys take. What a push, a probe or a decision makes holds no cycles and is freed at once. No
# thread goes on while it walks, so a walk through the young must be short (ten thousand objects take some milliseconds)
# and what has survived two of them must rarely be walked again.
_THRESHOLDS: Final = (10_000, 2, 5_000)


def collect_less_often() -> None:
    """Set the thresholds of the collector for the whole process."""
    gc.set_threshold(*_THRESHOLDS)
