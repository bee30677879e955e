"""A recorded decision told as what it changed: rows whose weights moved, clusters whose health or drain turned.

A decision never changes once recorded, so each summary is worked out once and remembered, in bounded memory.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator

from penstock.admin.recorded import StoredDecision
from penstock.admin.wire import timestamp
from penstock_policies.decision import Decision
from penstock_policies.serial import from_json

logger = logging.getLogger(__name__)

REMEMBERED = 512
"""A few pages of the longest listing; a summary is about 1 KiB."""


def _row_changes(new: Decision, old: Decision | None) -> Iterator[dict[str, object]]:
    before = {} if old is None else old.rows
    for key in sorted(new.rows):
        row, earlier = new.rows[key], before.get(key)
        if earlier is None or dict(earlier.weights) != dict(row.weights):
            yield {
                "policy": key.policy,
                "region": key.region,
                "model": key.model,
                "from": None if earlier is None else earlier.weights,
                "to": row.weights,
                "rung": row.rung,
                "reason": row.reason,
            }
    for key in sorted(before.keys() - new.rows.keys()):
        yield {
            "policy": key.policy,
            "region": key.region,
            "model": key.model,
            "from": before[key].weights,
            "to": None,
            "reason": "the policy no longer has this row",
        }


def _health_changes(new: Decision, old: Decision | None) -> Iterator[dict[str, object]]:
    before = {} if old is None else old.health
    for cluster in sorted(new.health):
        health, earlier = new.health[cluster], before.get(cluster)
        if earlier is not None and earlier.state is not health.state:
            yield {"cluster": cluster, "from": earlier.state, "to": health.state, "reason": health.reason}
    for region, by in sorted(new.edge_health.items()):
        held = {} if old is None else old.edge_health.get(region, {})
        for cluster, health in sorted(by.items()):
            earlier = held.get(cluster)
            if earlier is not None and earlier.state is not health.state:
                turn = {"cluster": cluster, "from": earlier.state, "to": health.state, "reason": health.reason}
                yield {**turn, "region": region}


def summarise(new: Decision, old: Decision | None) -> dict[str, object]:
    """Tell what ``new`` changed against the decision before it."""
    draining, drained_before = set(new.draining), set() if old is None else set(old.draining)
    return {
        "id": new.id,
        "at": timestamp(new.at),
        "policyDigest": new.policy_digest,
        "policyChanged": old is not None and old.policy_digest != new.policy_digest,
        "rung": new.rung,
        "rungs": dict(sorted(Counter(row.rung for row in new.rows.values()).items())),
        "frozen": new.frozen,
        "frozenRegions": new.frozen_regions,
        "rows": list(_row_changes(new, old)),
        "health": list(_health_changes(new, old)),
        "drained": sorted(draining - drained_before),
        "undrained": sorted(drained_before - draining),
    }


def _parse(stored: StoredDecision) -> Decision | None:
    try:
        return from_json(stored.json)
    except (ValueError, KeyError, TypeError):
        logger.warning("recorded decision is unreadable", extra={"decision": stored.id}, exc_info=True)
        return None


class DecisionSummaries:
    """Summaries by decision and predecessor, least recently used forgotten first."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._known: OrderedDict[tuple[str, str | None], dict[str, object]] = OrderedDict()

    def of(self, stored: StoredDecision, before: StoredDecision | None) -> dict[str, object]:
        """Return the summary of a recorded decision against the one recorded before it.

        A record this version cannot read (written by a newer one, say) is told by its id and time alone.
        """
        key = (stored.id, None if before is None else before.id)
        known = self._known.get(key)
        if known is None:
            known = self._work_out(stored, before)
            self._known[key] = known
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known

    def _work_out(self, stored: StoredDecision, before: StoredDecision | None) -> dict[str, object]:
        new = _parse(stored)
        if new is None:
            return {
                "id": stored.id,
                "at": timestamp(stored.at),
                "policyDigest": stored.policy_digest,
                "readable": False,
            }
        return summarise(new, None if before is None else _parse(before))
