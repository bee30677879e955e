"""Making a recorded decision again, and telling whether the record, the audit log and the engine agree on it.

Reads the store and changes nothing. The engine runs in a thread: an auditor's question must not delay a push.
"""

import asyncio
import json
from collections.abc import Iterator
from itertools import islice
from typing import Final

from penstock.admin.recorded import Check, Difference, Verification
from penstock.control.engine_version import engine_version
from penstock.control.inputs import InputsError, OtherVersionError, unpack
from penstock.state.recorded import RECORDED, digest_of
from penstock.state.records import StoredDecision, StoredInputs
from penstock.state.store import Store
from penstock_policies.engine import decide
from penstock_policies.inputs import DecisionInputs
from penstock_policies.loader import load
from penstock_policies.policyset import PolicySet
from penstock_policies.serial import SerialError, from_json, material_digest, to_json

_SHOWN: Final = 20
"""Differences told of one decision: the first few tell what kind of thing is different."""


async def verify_decision(store: Store, decision_id: str) -> Verification | None:
    """Make a recorded decision again from what it was made of; None when no such decision is recorded.

    Raises:
        StoreError: the store did not answer.

    """
    stored = await store.decision(decision_id)
    if stored is None:
        return None
    recorded = await store.decision_inputs(decision_id)
    if recorded is None:
        missing = Check("inputs", ok=False, detail="what it was made of was not recorded with it")
        return _verification(stored, "", [missing])
    checks = await _against_the_log(store, stored, recorded)
    try:
        inputs = await asyncio.to_thread(unpack, recorded)
    except OtherVersionError as error:
        checks.append(Check("inputs", ok=False, detail=str(error), of_code=True))
        return _verification(stored, error.engine, checks)
    except InputsError as error:
        checks.append(Check("inputs", ok=False, detail=str(error)))
        return _verification(stored, "", checks)
    return await _made_again(store, stored, inputs, checks)


async def _made_again(
    store: Store, stored: StoredDecision, inputs: DecisionInputs, checks: list[Check]
) -> Verification:
    files = await store.policy(stored.policy_digest)
    if files is None:
        checks.append(Check("policy", ok=False, detail=f"no text of policy {stored.policy_digest} is stored"))
        return _verification(stored, inputs.engine, checks)
    policy = await asyncio.to_thread(lambda: load(files).policy_set)
    checks.append(_policy_check(policy, stored, inputs))
    if policy is None:
        return _verification(stored, inputs.engine, checks)
    differences = await asyncio.to_thread(_decided_otherwise, policy, inputs, stored.json)
    same = differences is None
    detail = "the engine gives the same bytes again" if same else f"the engine gives another decision{_by(inputs)}"
    checks.append(Check("decision", ok=same, detail=detail, of_code=True))
    return _verification(stored, inputs.engine, checks, differences or ())


async def _against_the_log(store: Store, stored: StoredDecision, inputs: StoredInputs) -> list[Check]:
    if stored.figures_alone:
        return await _by_the_one_before(store, stored)
    entry = await store.audit_entry(inputs.entry)
    checks = [await _chained(store, inputs.entry)]
    if entry is None or entry.kind != RECORDED or entry.detail.get("id") != stored.id:
        checks.append(Check("record", ok=False, detail=f"entry {inputs.entry} of the audit log is not about it"))
        return checks
    as_written = {
        "decision": await asyncio.to_thread(digest_of, stored.json),
        "inputs": inputs.digest,
        "policy": stored.policy_digest,
    }
    for name, digest in as_written.items():
        same = entry.detail.get(name) == digest
        told = "is what" if same else "is not what"
        checks.append(
            Check(f"record of {name}", ok=same, detail=f"{told} entry {entry.sequence} of the audit log says")
        )
    return checks


async def _chained(store: Store, entry: int) -> Check:
    broken = await store.verify_audit()
    detail = "unbroken" if broken is None else f"broken from entry {broken} on"
    sound = broken is None or broken > entry
    return Check("audit", ok=sound, detail=f"the chain of the audit log is {detail}")


async def _by_the_one_before(store: Store, stored: StoredDecision) -> list[Check]:
    """Hold a decision that was recorded for its figures alone against the recorded one that stands for it."""
    before = await store.material_decision_at(stored.at)
    inputs = None if before is None else await store.decision_inputs(before.id)
    if before is None or inputs is None:
        return [Check("record", ok=False, detail="no recorded decision stands for it")]
    checks = [await _chained(store, inputs.entry)]
    entry = await store.audit_entry(inputs.entry)
    about = entry is not None and entry.kind == RECORDED and entry.detail.get("id") == before.id
    vouched = about and entry is not None and entry.detail.get("decision") == digest_of(before.json)
    same = await asyncio.to_thread(_says_the_same, stored.json, before.json)
    if same is None:
        unread = f"it, or decision {before.id} that stands for it, is nothing this version can read"
        return [*checks, Check("record", ok=False, detail=unread, of_code=vouched)]
    told = (
        f"but for its figures it {'says' if same else 'does not say'} what decision {before.id} says, which "
        f"{'is' if vouched else 'is not'} what entry {inputs.entry} of the audit log says; nothing else vouches for "
        "its figures"
    )
    return [*checks, Check("record", ok=vouched and same, detail=told)]


def _says_the_same(one: str, other: str) -> bool | None:
    """Whether two decisions differ in figures alone; None where one cannot be read."""
    try:
        return material_digest(from_json(one)) == material_digest(from_json(other))
    except SerialError:
        return None


def _policy_check(policy: PolicySet | None, stored: StoredDecision, inputs: DecisionInputs) -> Check:
    if policy is None:
        return Check("policy", ok=False, detail=f"its stored text no longer loads{_by(inputs)}", of_code=True)
    if policy.digest != stored.policy_digest:
        detail = f"its stored text loads as another policy, {policy.digest}{_by(inputs)}"
        return Check("policy", ok=False, detail=detail, of_code=True)
    return Check("policy", ok=True, detail=f"loaded from its stored text, digest {policy.digest}")


def _by(inputs: DecisionInputs) -> str:
    """Where the versions differ, say so: that is the likeliest cause, and no sign of tampering."""
    here = engine_version()
    return "" if inputs.engine == here else " (other code decided)"


def _decided_otherwise(policy: PolicySet, inputs: DecisionInputs, recorded: str) -> tuple[Difference, ...] | None:
    """Decide again; None when the bytes are those recorded, otherwise the first few places that differ."""
    again = to_json(decide(policy, inputs.observations, inputs.overrides, inputs.previous, inputs.now))
    if again == recorded:
        return None
    try:
        before = json.loads(recorded)
    except ValueError:
        return (Difference(path="", recorded="no JSON", again=_shown(json.loads(again)["id"])),)
    return tuple(islice(_differences(before, json.loads(again)), _SHOWN))


def _verification(
    stored: StoredDecision, engine: str, checks: list[Check], differences: tuple[Difference, ...] = ()
) -> Verification:
    return Verification(
        decision=stored.id,
        at=stored.at,
        checks=tuple(checks),
        differences=differences,
        engine=engine,
        engine_here=engine_version(),
        vouched=not stored.figures_alone,
    )


def _differences(recorded: object, again: object, path: str = "") -> Iterator[Difference]:
    """Walk two JSON documents and tell every place in which they differ, by its path."""
    if isinstance(recorded, dict) and isinstance(again, dict):
        for name in sorted(recorded.keys() | again.keys()):
            yield from _differences(recorded.get(name), again.get(name), f"{path}.{name}" if path else name)
    elif isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        for index, (one, other) in enumerate(zip(recorded, again, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif recorded != again:
        yield Difference(path=path, recorded=_shown(recorded), again=_shown(again))


def _shown(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 200 else f"{text[:200]}..."
