"""Prices over time as a CSV: ``seconds,key,usdPerMillionTokens``, each valid until the key's next line."""

import csv
import math
from pathlib import Path

from penstock.replay.errors import ReplayError
from penstock.replay.fault_file import GREATEST_PRICE, price_keys
from penstock.replay.faults import PriceMove
from penstock_policies.policyset import PolicySet
from penstock_policies.suggestions import closest


def read_prices(path: Path, policy: PolicySet) -> tuple[PriceMove, ...]:
    """Read the moves of prices, in order of time. Seconds count from the start of the trace.

    Raises:
        ReplayError: it cannot be read, or a line is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReplayError(str(path), 0, f"cannot be read: {error}") from error
    keys = price_keys(policy)
    reader = csv.reader(lines)
    moves: dict[tuple[float, str], PriceMove] = {}
    for row in reader:
        if not row or row[0].strip().casefold() == "seconds":
            continue
        try:
            at, key, price = float(row[0]), row[1].strip(), float(row[2])
        except (IndexError, ValueError):
            raise ReplayError(str(path), reader.line_num, "expected seconds,key,usdPerMillionTokens") from None
        if key not in keys:
            meant = closest(key, keys)
            hint = f"; did you mean {meant}?" if meant else ""
            known = f"known are {', '.join(keys)}"
            raise ReplayError(str(path), reader.line_num, f"no price key or cluster {key!r}{hint}; {known}")
        if not (math.isfinite(at) and at >= 0 and 0 <= price <= GREATEST_PRICE):
            expected = f"expected seconds of 0 or more and a price from 0 to {GREATEST_PRICE:.0f}"
            raise ReplayError(str(path), reader.line_num, expected)
        if (at, key) in moves:
            raise ReplayError(str(path), reader.line_num, f"a second price of {key} at {at:g} s; expected one")
        moves[at, key] = PriceMove(key, at, math.inf, price)
    return tuple(moves[place] for place in sorted(moves))
