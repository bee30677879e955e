"""What operators and clouds do to notices, one thing at a time: record it, put it in force, say what it leads to.

A notice is a fact and no wish, so it is never refused for what remains: where that would be overloaded, an alarm says
so.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from penstock.admin.notice_errors import TooManyNoticesError, UnknownNoticeError
from penstock.admin.notices import Notice, NoticeChange, NoticeOutcome, NoticeRequest, StandingNotice
from penstock.admin.ports import NoPolicyError, StoreUnavailableError
from penstock.control.decider import Decider
from penstock.control.drains import Drains
from penstock.control.notice_intake import Taken, ended, intake
from penstock.control.notices import Notices
from penstock.signals.board import ObservationBoard
from penstock.state.errors import StoreError
from penstock_policies.engine.drain_check import drain_impact

logger = logging.getLogger(__name__)

_COMING: Final = frozenset({NoticeChange.ADDED, NoticeChange.CHANGED})
_RECORDED: Final = _COMING | {NoticeChange.ENDED}
MOST_NOTICES: Final = 2000
"""All are looked through at every decision. A fleet of so many machines that all go at once has other worries."""


class NoticeDesk:
    """Takes notices in, and ends them."""

    def __init__(
        self,
        *,
        notices: Notices,
        drains: Drains,
        decider: Decider,
        board: ObservationBoard,
        clock: Callable[[], float],
        commands: asyncio.Lock,
    ) -> None:
        """``commands`` is the lock under which everything an operator asks for is done."""
        self._notices = notices
        self._drains = drains
        self._decider = decider
        self._board = board
        self._clock = clock
        self._commands = commands

    def listed(self) -> Sequence[StandingNotice]:
        """See :meth:`penstock.admin.ports.ControlPlane.notices`."""
        by_operators = frozenset(name for name in self._drains.operators if self._drains.by_operator(name))
        return self._notices.listed(by_operators, self._clock())

    async def take(self, request: NoticeRequest) -> NoticeOutcome:
        """See :meth:`penstock.admin.ports.ControlPlane.take_notice`."""
        async with self._commands:
            policy = self._decider.policy
            if policy is None:
                raise NoPolicyError
            found = intake(request, self._notices.kept, policy, self._clock())
            recorded = [change for change in found.taken if change[1] in _RECORDED]
            if not recorded:
                return NoticeOutcome(found.taken, found.unmatched)
            if len(self._notices.kept.keys() | {notice.id for notice, _ in recorded}) > MOST_NOTICES:
                raise TooManyNoticesError(MOST_NOTICES)
            arithmetic = await self._arithmetic([notice for notice, what in recorded if what in _COMING])
            taken: list[Taken] = []
            try:
                for notice, what in found.taken:
                    sentence = arithmetic.get(notice.cluster, "")
                    told = replace(notice, overload=sentence) if what in _COMING else notice
                    if what in _RECORDED:
                        await self._notices.take((told, what), told.source)
                    taken.append((told, what))
            except StoreError as error:
                raise StoreUnavailableError(str(error)) from error
            finally:
                await self._heed()
            for cluster, sentence in sorted(arithmetic.items()):
                logger.warning("notice overloads the rest", extra={"cluster": cluster, "arithmetic": sentence})
            return NoticeOutcome(tuple(taken), found.unmatched)

    async def end(self, notice: str, actor: str, reason: str) -> Notice:
        """See :meth:`penstock.admin.ports.ControlPlane.end_notice`."""
        async with self._commands:
            now = self._clock()
            standing = {each.id: each for each in self._notices.kept.values() if each.standing(now)}
            if notice not in standing:
                raise UnknownNoticeError(notice, sorted(standing))
            done = ended(standing[notice], actor, now)
            try:
                await self._notices.take((done, NoticeChange.ENDED), actor, reason)
            except StoreError as error:
                raise StoreUnavailableError(str(error)) from error
            await self._heed()
            return done

    async def follow(self) -> None:
        """Let notices begin, hand over and end by their times. Called about once a second."""
        if not self._notices.kept:
            return
        async with self._commands:
            try:
                await self._notices.expire(self._clock())
            except StoreError as error:
                # Their times are heeded all the same; only the audit entry waits for the store.
                logger.warning("notices that are over not recorded", extra={"error": str(error)})
            self._drains.refresh()

    async def _heed(self) -> None:
        self._drains.refresh()
        await self._decider.decide_now()

    async def _arithmetic(self, coming: Sequence[Notice]) -> dict[str, str]:
        """Give the arithmetic of every cluster that would be drained and that the rest could not carry."""
        now, policy, decision = self._clock(), self._decider.policy, self._decider.decision
        if policy is None or decision is None:
            return {}
        found: dict[str, str] = {}
        drained = self._notices.effects(now, coming).drains
        for cluster in sorted({notice.cluster for notice in coming} & drained.keys()):
            impact = await self._decider.aside(
                drain_impact, policy, self._board.snapshot(now), self._decider.overrides, decision, cluster, now
            )
            if not impact.feasible:
                found[cluster] = impact.sentence
        return found
