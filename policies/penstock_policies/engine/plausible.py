"""What a figure of a feed can be, by what it is a price of: bounds, and jumps that no market makes between readings.

Electricity has guards of its own: it is sold below nothing, crosses zero, and moves twentyfold within a day; but it has
known caps, and a mix-up of EUR/MWh and EUR/kWh is far beyond them.
"""

import math
from typing import Final

from penstock_policies.feeds import Basis

_GREATEST: Final = {Basis.TOKENS: 1e6, Basis.GPU_HOUR: 1e4, Basis.HOUR: 1e7, Basis.KWH: 30.0}
"""USD. Of a million tokens: a dollar a token, a thousand times the dearest model ever sold. Of a GPU-hour: a hundred
times the dearest. Of an hour: a hundred thousand machines. Of a kilowatt hour: above the highest market cap."""
_LEAST_KWH: Final = -2.0
"""USD: below the lowest market floor there is."""
_GREATEST_JUMP: Final = 10.0
"""A factor no market moves by between two readings; per-thousand for per-million mix-ups are beyond it."""
_GREATEST_KWH_JUMP: Final = 1.0
"""USD a kilowatt hour: electricity crosses zero, so a factor says nothing of it."""
_LEAST_DOUBT: Final = 60.0
"""Seconds an implausible price must at least persist: a feed with a tiny ``maxAge`` is not believed faster."""
_MARKET_STEP: Final = 900.0
"""Seconds that a price of electricity stands; a spike that is doubted for longer is over before it is believed."""


def fault(basis: Basis, figure: float, *, may_be_free: bool) -> str:
    """Tell why a figure cannot be true whatever was before; empty where it can."""
    if not math.isfinite(figure):
        return "not a finite number"
    if basis is Basis.KWH:
        return "" if _LEAST_KWH <= figure <= _GREATEST[basis] else "beyond any market's bounds"
    if figure < 0:
        return "negative"
    if figure == 0 and not may_be_free:
        return "zero, and no policy declares it free"
    return "larger than any price" if figure > _GREATEST[basis] else ""


def jumps(basis: Basis, before: float, after: float) -> bool:
    """Whether two figures lie too far apart to follow one another unconfirmed."""
    if basis is Basis.KWH:
        return abs(after - before) > _GREATEST_KWH_JUMP
    return before > 0 and after > 0 and max(before, after) > _GREATEST_JUMP * min(before, after)


def patience(basis: Basis, max_age: float) -> float:
    """Give the seconds that a figure must stand before a jump is believed."""
    return max(_LEAST_DOUBT, min(max_age, _MARKET_STEP) if basis is Basis.KWH else max_age)
