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

_SMOOTHING = 60.0
"""Time constant in seconds: sizes scatter widely from request to request, and prices need no haste."""
_LEAST_RATE = 0.1
"""Requests a second below which a mean of tokens says little."""
_UNTRUSTED_ERRORS = 0.1
"""Share of failures above which tokens over requests tell of errors, not of sizes."""
_GREATEST = 1e7
"""Tokens no request has."""


def measured_tokens(
    policy: PolicySet, facts: Facts, previous: Decision | None, now: float
) -> dict[str, tuple[float, float]]:
    """Give the smoothed tokens of a request of every cluster where they are, or once were, measured."""
    before = previous.memory.tokens if previous is not None else {}
    elapsed = max(0.0, now - previous.at) if previous is not None else math.inf
    gain = -math.expm1(-elapsed / _SMOOTHING)
    known: dict[str, Tokens] = {}
    for name in sorted(policy.clusters):
        held, seen = before.get(name), _seen(facts, name, now)
        if seen is None:
            if held is not None:
                known[name] = held
        elif held is None:
            known[name] = seen
        else:
            known[name] = (held[0] + gain * (seen[0] - held[0]), held[1] + gain * (seen[1] - held[1]))
    return known


def _seen(facts: Facts, name: str, now: float) -> Tokens | None:
    load = total_load(facts, name, now)
    served = load.request_rate - load.error_rate
    if served < _LEAST_RATE or error_share(load) >= _UNTRUSTED_ERRORS:
        return None
    prompt, output = load.prompt_tokens, load.output_tokens
    engine = facts.engines.get(name)
    if engine is not None and (prompt is None or output is None):
        prompt, output = engine.prompt_tokens, engine.output_tokens
    if prompt is None or output is None:
        return None
    tokens = (prompt / served, output / served)
    return tokens if 0 < sum(tokens) <= _GREATEST else None


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
