"""How often Python looks for cyclic garbage while Penstock serves."""

import gc
from typing import Final

# With Python's default of 700 the collector walks the state of every stream again and again: a fifth of the time that
# pushes to a thousand Envoys take. What a push, a probe or a decision makes holds no cycles and is freed at once.
_THRESHOLDS: Final = (50_000, 20, 100)


def collect_less_often() -> None:
    """Set the thresholds of the collector for the whole process."""
    gc.set_threshold(*_THRESHOLDS)
