"""The inputs a plan is made on: what a running control plane knows, as ``GET /api/v1/inputs`` tells it, or nothing.

Pure: text in, values out, and the other way round for the server. The same document can feed replays, so it holds
everything :func:`penstock_policies.engine.decide` takes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from penstock_policies.decision import Decision
from penstock_policies.inputs import DecisionInputs, inputs_from_json, inputs_to_json
from penstock_policies.loader import load
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet

FORMAT: Final = 1
"""Of the document; a reader refuses another."""

_CREDENTIALS: Final = re.compile(r"(?<=://)[^@/\s]+(?=@)")


class InputsError(Exception):
    """What was given as inputs cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Envoys:
    """The Envoys connected under one ``node.cluster``."""

    connected: int = 0
    refusing: int = 0
    """How many of them refuse some of their configuration now."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything but the policy that decisions are made on."""

    source: str = ""
    """Where they are from, for people; empty for no observations at all."""
    at: float = 0.0
    """Unix time decisions are made for."""
    observations: Observations = field(default_factory=Observations)
    overrides: Overrides = field(default_factory=Overrides)
    decision: Decision | None = None
    """The decision in force."""
    policy: PolicySet | None = None
    """The policy in force; None where its text is not known."""
    policy_digest: str = ""
    """Its digest; empty where nothing is in force."""
    envoys: Mapping[str, Envoys] | None = None
    """``node.cluster`` to its Envoys; None where nobody was asked."""


def parse_inputs(text: str, source: str) -> Inputs:
    """Read the document of ``GET /api/v1/inputs``, as saved in a file.

    Raises:
        InputsError: it is another document, or of a version this program cannot read.

    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputsError(f"{source} holds no JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputsError(f"{source} holds no inputs")
    return read_inputs(document, source)


def read_inputs(document: Mapping[str, Any], source: str) -> Inputs:
    """Make sense of the document of ``GET /api/v1/inputs``. ``source`` says where it is from.

    Raises:
        InputsError: it is another document, or of a version this program cannot read.

    """
    if document.get("format") != FORMAT:
        raise InputsError(f"{source} holds no inputs of format {FORMAT}")
    try:
        return _inputs(document, source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputsError(f"{source} cannot be read by this version: {type(error).__name__}: {error}") from error


def inputs_document(inputs: DecisionInputs, files: Mapping[str, str] | None, envoys: Mapping[str, Envoys]) -> str:
    """Write the document, as canonical JSON: equal inputs are equal bytes.

    Args:
        inputs: what the next decision is made on; ``previous`` is the one in force.
        files: the text of the policy in force, where it is known. Credentials in URLs are left out.
        envoys: ``node.cluster`` to its Envoys.

    """
    members = {
        "envoys": _json({name: asdict(counts) for name, counts in envoys.items()}),
        "files": _json(None if files is None else without_credentials(files)),
        "format": _json(FORMAT),
        "inputs": inputs_to_json(inputs),
    }
    return f"{{{','.join(f'{_json(name)}:{text}' for name, text in members.items())}}}\n"


def without_credentials(files: Mapping[str, str]) -> dict[str, str]:
    """Policy files with ``***`` in place of the user and password of every URL; nothing moves from its line."""
    return {name: masked(text) for name, text in files.items()}


def masked(text: str) -> str:
    """``text`` with ``***`` in place of the user and password of every URL."""
    return _CREDENTIALS.sub("***", text)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _inputs(document: Mapping[str, Any], source: str) -> Inputs:
    given = inputs_from_json(json.dumps(document["inputs"]))
    files = document["files"]
    return Inputs(
        source=source,
        at=given.now,
        observations=given.observations,
        overrides=given.overrides,
        decision=given.previous,
        policy=None if files is None else _policy(files, source),
        policy_digest=given.policy_digest,
        envoys={
            str(name): Envoys(int(counts["connected"]), int(counts["refusing"]))
            for name, counts in document["envoys"].items()
        },
    )


def _policy(files: Mapping[str, str], source: str) -> PolicySet:
    loaded = load(files)
    if loaded.policy_set is None:
        first = next(iter(loaded.errors), "no reason given")
        raise InputsError(f"the policy in force at {source} cannot be read by this version: {first}")
    return loaded.policy_set
