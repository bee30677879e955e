"""Everything a decision was made of, as one value and as one text, so that it can be made again a year later. Pure."""

import json
from dataclasses import dataclass

from penstock_policies.decision import Decision
from penstock_policies.observations import Observations
from penstock_policies.observations_serial import (
    observations_from_plain,
    observations_to_json,
    overrides_from_plain,
    overrides_to_json,
    parsed,
)
from penstock_policies.overrides import Overrides
from penstock_policies.serial import SerialError, from_json, to_json

_FIELDS = frozenset({"at", "engine", "observations", "overrides", "policyDigest", "previous"})


@dataclass(frozen=True, slots=True)
class DecisionInputs:
    """The arguments of one call of the engine; the policy by its digest, as its text is kept once for all."""

    policy_digest: str
    observations: Observations
    overrides: Overrides
    previous: Decision | None
    now: float
    """Unix seconds."""
    engine: str = ""
    """Which version of the engine decided, for people: another one may rightly answer otherwise."""


def inputs_to_json(inputs: DecisionInputs) -> str:
    """Write inputs as canonical JSON."""
    # Put together from texts that are canonical already: parsing a large fleet's decision again would cost more.
    fields = {
        "at": json.dumps(inputs.now, allow_nan=False),
        "engine": json.dumps(inputs.engine),
        "observations": observations_to_json(inputs.observations),
        "overrides": overrides_to_json(inputs.overrides),
        "policyDigest": json.dumps(inputs.policy_digest),
        "previous": "null" if inputs.previous is None else to_json(inputs.previous),
    }
    return "{" + ",".join(f'"{name}":{fields[name]}' for name in sorted(fields)) + "}"


def inputs_from_json(text: str) -> DecisionInputs:
    """Read what :func:`inputs_to_json` wrote.

    Raises:
        SerialError: ``text`` is not JSON, or not inputs of this version.

    """
    plain = parsed(text)
    if set(plain) != _FIELDS:
        raise SerialError(f"not inputs: fields {', '.join(sorted(plain))}")
    at, engine, digest, previous = plain["at"], plain["engine"], plain["policyDigest"], plain["previous"]
    if not isinstance(at, int | float) or not isinstance(engine, str) or not isinstance(digest, str):
        raise SerialError("not inputs: a field is of another type")
    return DecisionInputs(
        policy_digest=digest,
        observations=observations_from_plain(plain["observations"]),
        overrides=overrides_from_plain(plain["overrides"]),
        previous=None if previous is None else from_json(json.dumps(previous)),
        now=at,
        engine=engine,
    )
