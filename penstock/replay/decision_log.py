"""Penstock's own decisions as traffic: requests drawn at random from the demand they hold.

A decision says how many requests a second each row carried and how long they were on average, no more. So arrivals are
drawn as a Poisson process and sizes from an exponential distribution, which has the mean and is the least that can be
assumed beyond it.
"""

import random
from collections.abc import Iterator
from itertools import pairwise

from penstock.replay.errors import ReplayError
from penstock_policies.decision import Decision
from penstock_policies.policyset import RowKey
from penstock_policies.serial import SerialError, from_json

_LONGEST = 60.0
"""Seconds that a decision is taken to tell of, where the next one came later or never."""


def requests_of_decisions(file: str, lines: list[str], seed: int) -> Iterator[tuple[float, int, int, RowKey | None]]:
    """Draw (Unix time, prompt tokens, output tokens, row) from decisions, one a line in canonical JSON.

    Raises:
        ReplayError: a line is not a decision, or is out of order.
    """
    decisions = [_decision(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    source = random.Random(seed)  # noqa: S311 - a repeatable draw, no secret
    for (number, decision), (_, following) in pairwise([*decisions, (0, None)]):
        if decision is None:
            continue
        span = _LONGEST if following is None else min(_LONGEST, following.at - decision.at)
        if span < 0:
            raise ReplayError(file, number, "the next decision is older: expected them in order of time")
        for key, row in sorted(decision.rows.items()):
            at = decision.at
            while row.demand > 0 and (at := at + source.expovariate(row.demand)) < decision.at + span:
                prompt, output = (int(source.expovariate(1 / mean)) + 1 if mean > 0 else 1 for mean in row.tokens)
                yield at, prompt, output, key


def _decision(file: str, number: int, line: str) -> tuple[int, Decision | None]:
    try:
        return number, from_json(line)
    except SerialError as error:
        raise ReplayError(file, number, f"is no decision: {error}") from error
