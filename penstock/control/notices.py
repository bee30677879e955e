"""The notices there are: kept in memory for every decision, and in the store for the next start.

Each change is recorded before it is in force. What an ended notice was stays known until it would have been over by
itself, so that a script that goes on telling of it does not bring it back. Used on the event loop's thread alone.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from penstock.admin.notices import Notice, NoticeChange, NoticeEffect, StandingNotice
from penstock.control.notice_drains import Effects, effects, seen
from penstock.control.notice_intake import Taken
from penstock.signals.notices import NoticeKind
from penstock.state.notices import NoticeRecord
from penstock.state.store import Store
from penstock_policies.observations import Observations
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)

_SELF: Final = "penstock"


class Notices:
    """What was announced and is not over."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._endpoints: Mapping[str, tuple[str, ...]] = {}
        self.kept: dict[str, Notice] = {}
        """By id, ended ones too."""

    async def restore(self, now: float) -> None:
        """Begin from what was in force before a restart.

        Raises:
            StoreError: it cannot be read.

        """
        for notice_id, text in (await self._store.notices()).items():
            try:
                read = json.loads(text)
                notice = Notice(**{**read, "kind": NoticeKind(read["kind"])})
            except (ValueError, TypeError, KeyError) as error:
                logger.warning("notice cannot be read, left out", extra={"notice": notice_id, "error": str(error)})
                continue
            if now < notice.until:
                self.kept[notice.id] = notice

    def apply(self, policy: PolicySet) -> None:
        """Learn which endpoints there are."""
        self._endpoints = {
            name: tuple(endpoint.key for endpoint in cluster.spec.endpoints)
            for name, cluster in policy.clusters.items()
        }

    def effects(self, now: float, also: Sequence[Notice] = ()) -> Effects:
        """Work out what is asked for now, or would be with notices that are not kept yet."""
        notices = {**self.kept, **{notice.id: notice for notice in also}}
        return effects([notices[key] for key in sorted(notices)], self._endpoints, now)

    def seen(self, observations: Observations, now: float) -> Observations:
        """Return the observations with endpoints that are about to go as failing."""
        return seen(observations, self.effects(now).out, now) if self.kept else observations

    def listed(self, drained_by_operators: frozenset[str], now: float) -> list[StandingNotice]:
        """Return every notice that is not over, the next deadline first."""
        found = sorted((n for n in self.kept.values() if now < n.until), key=lambda n: (n.deadline, n.id))
        asked = self.effects(now)
        return [StandingNotice(notice, self._effect(notice, asked, drained_by_operators, now)) for notice in found]

    def _effect(self, notice: Notice, asked: Effects, by_operators: frozenset[str], now: float) -> NoticeEffect:
        endpoints = self._endpoints.get(notice.cluster)
        if notice.ended_at is not None:
            return NoticeEffect.ENDED
        if endpoints is None or (notice.endpoint and notice.endpoint not in endpoints):
            return NoticeEffect.UNKNOWN
        if not notice.active(now):
            return NoticeEffect.PENDING
        if notice.endpoint in asked.out.get(notice.cluster, {}):
            return NoticeEffect.ENDPOINT_OUT
        return NoticeEffect.YIELDS if notice.cluster in by_operators else NoticeEffect.CLUSTER_DRAINED

    async def take(self, change: Taken, actor: str, reason: str = "") -> None:
        """Record a change, then keep it.

        Raises:
            StoreError: it could not be recorded, so it is not kept.

        """
        notice, what = change
        facts: dict[str, object] = {"notice": _told(notice)}
        before = self.kept.get(notice.id)
        if before is not None and what is NoticeChange.CHANGED:
            facts["replaced"] = _told(before)
        if reason:
            facts["reason"] = reason
        await self._store.put_notice(
            NoticeRecord(notice.id, json.dumps(asdict(notice), sort_keys=True)), f"notice.{what}", actor, facts
        )
        self.kept[notice.id] = notice

    async def expire(self, now: float) -> None:
        """Forget what is over.

        Raises:
            StoreError: it could not be recorded; nothing depends on it.

        """
        for notice in [notice for notice in self.kept.values() if notice.until <= now]:
            await self._store.put_notice(
                NoticeRecord(notice.id, None), "notice.expired", _SELF, {"notice": _told(notice)}
            )
            del self.kept[notice.id]
            logger.info("notice is over", extra={"notice": notice.id, "cluster": notice.cluster})


def _told(notice: Notice) -> dict[str, object]:
    """Give what the audit log says of a notice: what was read out of a payload, never the payload."""
    told = asdict(notice)
    return {name: told[name] for name in _AUDITED if told[name] not in {"", None}}


_AUDITED: Final = (
    "id",
    "source",
    "event",
    "kind",
    "cluster",
    "endpoint",
    "reason",
    "deadline",
    "since",
    "gone_at",
    "until",
    "overload",
    "ended_by",
)
