"""The control plane as operators see it: :class:`penstock.admin.ports.ControlPlane`, answered from the parts.

Reads answer from memory. The commands, drain, undrain, release and notices, are serialised by a lock: record first, so
that a drain survives whatever comes next, then decide and publish before the caller is answered.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from penstock.admin.edge_votes import EdgeProbing
from penstock.admin.notices import Notice, NoticeOutcome, NoticeRequest, StandingNotice
from penstock.admin.ports import (
    AuditEntry,
    DrainOutcome,
    DrainRefusedError,
    DrainRequest,
    FeedStatus,
    HistoryPoint,
    NoPolicyError,
    NotDrainedError,
    NotQuarantinedError,
    Readiness,
    StoreUnavailableError,
    UnknownClusterError,
)
from penstock.admin.recorded import PastDecision, StoredDecision, Verification
from penstock.admin.xds_state import CanaryRollout, ConnectedEnvoy, QuarantinedResource, Queue, ResourceState
from penstock.control.decider import Decider
from penstock.control.drains import Drains
from penstock.control.envoys import canary_rollout, quarantined
from penstock.control.history import WeightHistory
from penstock.control.notice_desk import NoticeDesk
from penstock.control.notices import Notices
from penstock.control.past import as_port, past
from penstock.control.policies import PolicyKeeper
from penstock.control.publisher import Publisher
from penstock.control.signal_views import SignalViews
from penstock.control.verification import verify_decision
from penstock.signals.board import ObservationBoard
from penstock.signals.probing import Probed
from penstock.state.costs import Asked, Found
from penstock.state.errors import StoreError
from penstock.state.store import Store
from penstock_policies.decision import Decision
from penstock_policies.engine.drain_check import drain_impact
from penstock_policies.observations import Observations
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.problems import Problem
from penstock_policies.schema import Cluster
from penstock_xds import SnapshotCache

logger = logging.getLogger(__name__)


class Plane:
    """Answers and obeys operators."""

    def __init__(
        self,
        *,
        decider: Decider,
        drains: Drains,
        notices: Notices,
        publisher: Publisher,
        keeper: PolicyKeeper,
        board: ObservationBoard,
        history: WeightHistory,
        store: Store,
        clock: Callable[[], float],
        feeds: Callable[[], Sequence[FeedStatus]],
        probed: Callable[[Cluster], Probed],
        signals: SignalViews,
        cache: SnapshotCache,
        streams: Callable[[], Sequence[ConnectedEnvoy]],
        resources: Callable[[str], Sequence[ResourceState]],
        first_answers: Callable[[], Queue],
        edge_probing: Callable[[], EdgeProbing],
        xds_address: str,
    ) -> None:
        self._decider = decider
        self._drains = drains
        self._publisher = publisher
        self._keeper = keeper
        self._board = board
        self._history = history
        self._store = store
        self._clock = clock
        self._feeds = feeds
        self._probed = probed
        self.signals: Final = signals
        self._cache = cache
        self._streams = streams
        self._resources = resources
        self._first_answers = first_answers
        self._edge_probing = edge_probing
        self.xds_address: Final = xds_address
        self._commands = asyncio.Lock()
        self._notices = NoticeDesk(
            notices=notices, drains=drains, decider=decider, board=board, clock=clock, commands=self._commands
        )
        self.started_at: Final = clock()

    @property
    def policy_set(self) -> PolicySet | None:
        """The policy in force."""
        return self._decider.policy

    @property
    def policy_source(self) -> str:
        """The policy directory."""
        return str(self._keeper.directory.path)

    @property
    def policy_problems(self) -> tuple[Problem, ...]:
        """Of the last reading."""
        return self._keeper.problems

    @property
    def policy_loaded_at(self) -> float | None:
        """When the policy in force was loaded."""
        return self._keeper.loaded_at

    @property
    def policy_rejected_at(self) -> float | None:
        """When the latest reading was refused, if it was."""
        return self._keeper.rejected_at

    @property
    def decision(self) -> Decision | None:
        """The decision in force."""
        return self._decider.decision if self._decider.policy is not None else None

    @property
    def overrides(self) -> Overrides:
        """Drains in force now."""
        now = self._clock()
        return Overrides({name: d for name, d in self._decider.overrides.drains.items() if d.active(now)})

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    def observations(self) -> Observations:
        """What is known about the world."""
        return self._board.snapshot(self._clock())

    def probed(self, cluster: Cluster) -> Probed:
        """What probing a cluster found."""
        return self._probed(cluster)

    def feeds(self) -> Sequence[FeedStatus]:
        """The cost feeds."""
        return self._feeds()

    def streams(self) -> Sequence[ConnectedEnvoy]:
        """The xDS streams."""
        return self._streams()

    def resources(self, stream: str) -> Sequence[ResourceState]:
        """What one of them holds, awaits and refuses."""
        return self._resources(stream)

    def quarantine(self) -> Sequence[QuarantinedResource]:
        """What Envoys refused and is not sent any more."""
        return [quarantined(refusal, self._decider.policy) for refusal in self._cache.refusals()]

    def canaries(self) -> Sequence[CanaryRollout]:
        """Trials under way."""
        return [canary_rollout(run) for run in self._cache.rollouts()]

    def edge_probing(self) -> EdgeProbing:
        """How probing from the edge goes."""
        return self._edge_probing()

    def first_answers(self) -> Queue:
        """The queue of streams that want their first configuration."""
        return self._first_answers()

    def history(self) -> Sequence[HistoryPoint]:
        """Recent changes of weights."""
        return self._history.points()

    def ready(self) -> Readiness:
        """Ready when every node group of a policy in force has a complete snapshot to be served."""
        policy = self._decider.policy
        details: dict[str, str | int | float | bool | None] = {
            "decisionWithheld": self._decider.withheld or None,
            "envoys": len(self._streams()),
            "quarantined": len(self._cache.refusals()),
        }
        if policy is None:
            return Readiness(ready=False, details={"reason": "no policy is in force yet", **details})
        if not self._publisher.complete(policy):
            return Readiness(ready=False, details={"reason": "not every node group has a snapshot yet", **details})
        return Readiness(ready=True, details=details)

    async def recent_decisions(self, limit: int, before: float | None = None) -> Sequence[StoredDecision]:
        """From the store, newest first."""
        try:
            found = await self._store.decisions(limit, before)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
        return [as_port(decision) for decision in found]

    async def stored_decision(self, decision_id: str) -> StoredDecision | None:
        """From the store, by id."""
        try:
            found = await self._store.decision(decision_id)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
        return None if found is None else as_port(found)

    def stands_for(self, decision_id: str) -> str | None:
        """From memory: the recorded decision that says the same but for figures."""
        return self._decider.stands_for(decision_id)

    async def decision_at(self, at: float) -> PastDecision | None:
        """From the store, by time."""
        try:
            found = await self._store.decision_at(at)
            return None if found is None else await past(self._store, found)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def past_decision(self, decision_id: str) -> PastDecision | None:
        """From the store, by id."""
        try:
            found = await self._store.decision(decision_id)
            return None if found is None else await past(self._store, found)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def verify_decision(self, decision_id: str) -> Verification | None:
        """Made again from the store's record of it."""
        try:
            return await verify_decision(self._store, decision_id)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def costs(self, asked: Asked) -> Found:
        """From the store's ledger."""
        try:
            return await self._store.ledger.report(asked)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def policy_files(self, digest: str) -> Mapping[str, str] | None:
        """From the store, by digest."""
        try:
            return await self._store.policy(digest)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def audit(self, limit: int, before: int | None = None, kind: str | None = None) -> Sequence[AuditEntry]:
        """From the store, newest first."""
        try:
            found = await self._store.audit(limit, before, kind)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
        return [
            AuditEntry(sequence=e.sequence, at=e.at, kind=e.kind, actor=e.actor, detail=e.detail, digest=e.digest)
            for e in found
        ]

    async def drain(self, request: DrainRequest) -> DrainOutcome:
        """See :meth:`penstock.admin.ports.ControlPlane.drain`."""
        async with self._commands:
            policy, decision = self._decider.policy, self._decider.decision
            if policy is None or decision is None:
                raise NoPolicyError
            if request.cluster not in policy.clusters:
                raise UnknownClusterError(request.cluster, sorted(policy.clusters))
            now = self._clock()
            impact = await self._decider.aside(
                drain_impact, policy, self._board.snapshot(now), self.overrides, decision, request.cluster, now
            )
            drain = Drain(
                cluster=request.cluster,
                since=now,
                until=now + request.duration,
                reason=request.reason,
                owner=request.owner,
                ramp=request.ramp,
            )
            before = self._drains.by_operator(request.cluster)
            if request.dry_run:
                return DrainOutcome(drain=drain, impact=impact, applied=False, replaced=before)
            if not impact.feasible and not request.force:
                logger.warning("drain refused", extra={"cluster": request.cluster, "arithmetic": impact.sentence})
                raise DrainRefusedError(request.cluster, impact)
            try:
                facts = {"forced": request.force, "arithmetic": impact.sentence}
                await self._store.add_drain(drain, request.actor or request.owner, facts)
            except StoreError as error:
                raise StoreUnavailableError(str(error)) from error
            self._drains.set({**self._drains.operators, request.cluster: drain})
            await self._decider.decide_now()
            return DrainOutcome(drain=drain, impact=impact, applied=True, replaced=before)

    async def undrain(self, cluster: str, actor: str, reason: str) -> Drain:
        """See :meth:`penstock.admin.ports.ControlPlane.undrain`."""
        async with self._commands:
            drain = self._drains.by_operator(cluster)
            if drain is None:
                noticed = self.overrides.drains.get(cluster)
                raise NotDrainedError(cluster, "" if noticed is None else noticed.owner.removeprefix("notice "))
            try:
                await self._store.remove_drain(cluster, actor, reason)
            except StoreError as error:
                raise StoreUnavailableError(str(error)) from error
            self._drains.set({n: d for n, d in self._drains.operators.items() if n != cluster})
            await self._decider.decide_now()
            return drain

    def notices(self) -> Sequence[StandingNotice]:
        """From memory, with what comes of each now."""
        return self._notices.listed()

    async def take_notice(self, request: NoticeRequest) -> NoticeOutcome:
        """See :meth:`penstock.admin.ports.ControlPlane.take_notice`."""
        return await self._notices.take(request)

    async def end_notice(self, notice: str, actor: str, reason: str) -> Notice:
        """See :meth:`penstock.admin.ports.ControlPlane.end_notice`."""
        return await self._notices.end(notice, actor, reason)

    async def follow_notices(self) -> None:
        """Heed the time. Called about once a second."""
        await self._notices.follow()

    async def release(  # noqa: PLR0917 - the port's signature
        self, group: str, type_url: str, name: str, version: str, actor: str, reason: str
    ) -> QuarantinedResource:
        """See :meth:`penstock.admin.ports.ControlPlane.release`."""
        async with self._commands:
            wanted = (type_url, name, version)
            found = [r for r in self._cache.refusals(group) if (r.type_url, r.name, r.version) == wanted]
            if not found:
                raise NotQuarantinedError(group, *wanted)
            lifted = quarantined(found[0], self._decider.policy)
            facts = {
                "group": group,
                "type": type_url,
                "resource": name,
                "version": version,
                "message": lifted.message,
                "reason": reason,
            }
            try:
                await self._store.append_audit("quarantine.released", actor, facts)
            except StoreError as error:
                raise StoreUnavailableError(str(error)) from error
            # It may have ended by itself while that was written: then what was asked for is so.
            self._cache.release(group, type_url, name, version)
            told = {key: value for key, value in facts.items() if key != "message"}
            logger.info("quarantine released", extra={**told, "actor": actor})
            return lifted

    async def expire_drains(self) -> None:
        """Forget drains whose time is over, with an audit entry each. Called about once a second."""
        now = self._clock()
        if all(drain.active(now) for drain in self._drains.operators.values()):
            return
        async with self._commands:
            try:
                expired = await self._store.expire_drains(now)
            except StoreError as error:
                # The engine ignores them by their time already; only the audit entry waits for the store.
                logger.warning("expired drains not recorded", extra={"error": str(error)})
                return
            self._drains.set({n: d for n, d in self._drains.operators.items() if d.active(now)})
            for drain in expired:
                logger.info("drain expired", extra={"cluster": drain.cluster, "owner": drain.owner})
