"""Penstock's own decisions as traffic: requests drawn at random from the demand they hold.

A decision says how many requests a second each row carried and how long they were on average, no more. So arrivals are
drawn as a Poisson process and sizes from an exponential distribution, which has the mean and is the least that can be
assumed beyond it. A decision is recorded only when it changes something, so what one holds is taken to hold until the
next.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from penstock.replay.errors import ReplayError
from penstock_policies.decision import Decision
from penstock_policies.policyset import RowKey
from penstock_policies.serial import SerialError, from_json

_LAST: Final = 60.0
"""Seconds that the last decision is taken to tell of: nothing says for how long it held."""
_LONG: Final = 300.0
"""Seconds between two decisions above which a reader is told: the demand within is a guess."""


def requests_of_decisions(
    file: str, lines: list[str], seed: int, told: Callable[[str], None]
) -> Iterator[tuple[float, int, int, RowKey | None]]:
    """Draw (Unix time, prompt tokens, output tokens, row) from decisions, one a line.

    Lines are decisions in canonical JSON, or what ``GET /api/v1/decisions/{id}`` answers. Their order does not matter,
    and one that stands there twice counts once. ``told`` is told what is worth a warning.

    Raises:
        ReplayError: a line is no decision.
    """
    found: dict[str, Decision] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            decision = _decision(file, number, line)
            found[decision.id] = decision
    decisions = sorted(found.values(), key=lambda decision: decision.at)
    _warn(decisions, told)
    source = random.Random(seed)  # noqa: S311 - a repeatable draw, no secret
    ends = [later.at for _, later in pairwise(decisions)]
    for decision, end in zip(decisions, [*ends, decisions[-1].at + _LAST], strict=True):
        for key, row in sorted(decision.rows.items()):
            at = decision.at
            while row.demand > 0 and (at := at + source.expovariate(row.demand)) < end:
                prompt, output = (int(source.expovariate(1 / mean)) + 1 if mean > 0 else 1 for mean in row.tokens)
                yield at, prompt, output, key


def _warn(decisions: Sequence[Decision], told: Callable[[str], None]) -> None:
    gaps = [(later.at - earlier.at, earlier.at) for earlier, later in pairwise(decisions)]
    long = [gap for gap in gaps if gap[0] > _LONG]
    if long:
        seconds, since = max(long)
        when = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M:%S")
        count = "once" if len(long) == 1 else f"{len(long)} times"
        told(
            f"no decision was recorded for more than {_LONG / 60:.0f} min {count}, the longest {seconds / 60:.0f} min "
            f"from {when} UTC: the demand of the last one before is taken to have held all the while"
        )


def _decision(file: str, number: int, line: str) -> Decision:
    try:
        record = json.loads(line)
        wrapped = isinstance(record, dict) and isinstance(record.get("decision"), dict)
        return from_json(json.dumps(record["decision"]) if wrapped else line)
    except SerialError as error:
        raise ReplayError(file, number, f"is no decision: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ReplayError(file, number, f"is not JSON: {error}") from error
