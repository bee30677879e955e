"""How many tokens a request has: measured where edges or engines count them, else as the policy takes it to be.

Measured by cluster, for neither edges nor engines tell rows apart: a row is taken to have the mean of the clusters it
uses, weighted by what it sends them.
"""

import math
from collections.abc import Mapping

from penstock_policies.decision import Decision
from penstock_policies.engine.sanitise import Facts, error_share, total_load
from penstock_policies.policyset import PolicySet, RowKey

Tokens = tuple[float, float]
"""Prompt and generated tokens of a request."""

Counts = tuple[float, float, float]
"""Prompt tokens, generated tokens and the requests that had them, counted with fading memory."""

_MEMORY = 30.0
"""Time constant in seconds: sizes scatter widely from request to request, yet traffic changes its kind within a minute,
and clusters fill while the mean is still of the last one."""
_LONGEST = 5.0
"""Seconds that a report may speak for: what lies between two decisions far apart nobody looked at."""
_LEAST_RATE = 0.1
"""Requests a second below which a mean of tokens says little."""
_LEAST_REQUESTS = 3.0
"""Requests of which a mean says something."""
_UNTRUSTED_ERRORS = 0.1
"""Share of failures above which tokens over requests tell of errors, not of sizes."""
_GREATEST = 1e7
"""Tokens no request has."""


def counted_tokens(policy: PolicySet, facts: Facts, previous: Decision | None, now: float) -> dict[str, Counts]:
    """Count the tokens of every cluster where edges or engines tell them.

    Sums and not means are carried on: engines look back further than edges do, so that a mean of one moment is wrong
    whenever traffic comes or goes, while over a minute both have seen the same requests.
    """
    before = previous.memory.token_counts if previous is not None else {}
    elapsed = max(0.0, now - previous.at) if previous is not None else 1.0
    fading, span = math.exp(-elapsed / _MEMORY), min(_LONGEST, elapsed)
    counted: dict[str, Counts] = {}
    for name in sorted(policy.clusters):
        held, seen = before.get(name), _seen(facts, name, now)
        if seen is not None:
            prompt, output, requests = (fading * one for one in held) if held is not None else (0.0, 0.0, 0.0)
            counted[name] = (prompt + span * seen[0], output + span * seen[1], requests + span * seen[2])
        elif held is not None:
            counted[name] = held
    return counted


def mean_tokens(counted: Mapping[str, Counts]) -> dict[str, Tokens]:
    """Give the tokens of a request of every cluster of which enough were counted."""
    return {
        name: (prompt / requests, output / requests)
        for name, (prompt, output, requests) in counted.items()
        if requests >= _LEAST_REQUESTS and 0 < prompt + output <= _GREATEST * requests
    }


def _seen(facts: Facts, name: str, now: float) -> Counts | None:
    """Give the tokens and the requests a second that a cluster serves; None where nobody tells."""
    load = total_load(facts, name, now)
    served = load.request_rate - load.error_rate
    if served < _LEAST_RATE or error_share(load) >= _UNTRUSTED_ERRORS:
        return None
    prompt, output = load.prompt_tokens, load.output_tokens
    engine = facts.engines.get(name)
    if engine is not None and (prompt is None or output is None):
        prompt, output = engine.prompt_tokens, engine.output_tokens
    if prompt is None or output is None or prompt + output > _GREATEST * served:
        return None
    return prompt, output, served


def row_tokens(
    policy: PolicySet, key: RowKey, measured: Mapping[str, Tokens], clusters: tuple[str, ...], previous: Decision | None
) -> Tokens:
    """Give the tokens a request of a row is taken for, the same at whichever cluster."""
    there = [name for name in clusters if name in measured]
    typical = policy.policies[key.policy].spec.typical_request
    if not there:
        return typical.prompt_tokens, typical.output_tokens
    row = previous.rows.get(key) if previous is not None else None
    weights = [row.weights.get(name, 0) for name in there] if row is not None else []
    if not sum(weights):
        weights = [1] * len(there)
    whole = sum(weights)
    prompt = sum(weight * measured[name][0] for name, weight in zip(there, weights, strict=True)) / whole
    output = sum(weight * measured[name][1] for name, weight in zip(there, weights, strict=True)) / whole
    return prompt, output
