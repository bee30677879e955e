"""Recorded decisions brought back with their policy and their inputs, as far as this version reads them."""

import asyncio
import logging

from penstock.admin.recorded import PastDecision, StoredDecision
from penstock.control.inputs import InputsError, unpack
from penstock.state.records import StoredDecision as DecisionRecord
from penstock.state.store import Store
from penstock_policies.inputs import DecisionInputs
from penstock_policies.loader import load
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)


def as_port(record: DecisionRecord) -> StoredDecision:
    """Return the store's record as the admin side knows it."""
    return StoredDecision(id=record.id, at=record.at, policy_digest=record.policy_digest, json=record.json)


async def past(store: Store, record: DecisionRecord) -> PastDecision:
    """Bring back a recorded decision.

    Raises:
        StoreError: the store did not answer.

    """
    return PastDecision(
        stored=as_port(record),
        until=await store.next_decision_at(record.at),
        policy=await stored_policy(store, record.policy_digest),
        inputs=await _inputs(store, record.id),
    )


async def stored_policy(store: Store, digest: str) -> PolicySet | None:
    """Load a policy by its digest from its stored text; None where there is none, or it is none any more."""
    files = await store.policy(digest)
    if files is None:
        return None
    loaded = await asyncio.to_thread(load, files)
    if loaded.policy_set is None:
        logger.warning("stored policy no longer loads", extra={"digest": digest, "problems": len(loaded.problems)})
    return loaded.policy_set


async def _inputs(store: Store, decision_id: str) -> DecisionInputs | None:
    stored = await store.decision_inputs(decision_id)
    if stored is None:
        return None
    try:
        return await asyncio.to_thread(unpack, stored)
    except InputsError as error:
        logger.warning("stored inputs cannot be read", extra={"decision": decision_id, "error": str(error)})
        return None
