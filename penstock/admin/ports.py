"""What the admin side needs of the control plane: a Protocol, and the plain data that crosses it.

The composition root implements :class:`ControlPlane`; the HTTP API, the dashboard and the metrics are written against
it alone, and their tests run on a fake. All members are called on the event loop's thread. Properties and plain
methods answer from memory, at once and without raising; coroutines may touch the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from penstock.admin.edge_votes import EdgeProbing
from penstock.admin.notices import Notice, NoticeOutcome, NoticeRequest, StandingNotice
from penstock.admin.recorded import PastDecision, StoredDecision, Verification
from penstock.admin.signals import Signals
from penstock.admin.xds_state import CanaryRollout, ConnectedEnvoy, QuarantinedResource, Queue, ResourceState
from penstock.signals.probing import Probed
from penstock.state.costs import Asked, Found
from penstock_policies.decision import Decision
from penstock_policies.observations import Observations
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.problems import Problem
from penstock_policies.schema import Cluster


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every Envoy that connects now is given a complete configuration, and why if not."""

    ready: bool
    details: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """Facts for people and probes; a key ``reason`` says in one sentence why it is not ready."""


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How a cost feed is doing."""

    name: str
    refreshed_at: float | None = None
    """Unix time of the last good read; None when there was none yet."""
    error: str = ""
    """Why the last read failed; empty when it did not."""


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """The weights in force from a moment on."""

    at: float
    weights: Mapping[RowKey, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit log; ``digest`` chains it to the one before."""

    sequence: int
    at: float
    kind: str
    actor: str
    detail: Mapping[str, object]
    digest: str


@dataclass(frozen=True, slots=True)
class DrainRequest:
    """An operator's wish to take a cluster out of service."""

    cluster: str
    reason: str
    owner: str
    duration: float
    """Seconds until the drain ends by itself."""
    ramp: float = 0.0
    """Seconds over which the share sinks to nothing."""
    dry_run: bool = False
    """Work out the impact and change nothing. Never raises :class:`DrainRefused`."""
    force: bool = False
    """Drain even when what remains could not carry the load."""
    actor: str = ""
    """Who asked, for the audit log, where it is not the owner."""


class DrainImpact(Protocol):
    """The arithmetic of a drain: a :class:`penstock_policies.engine.drain_check.DrainImpact` is one."""

    @property
    def feasible(self) -> bool:
        """Whether what remains can carry the load."""
        ...

    @property
    def sentence(self) -> str:
        """The arithmetic in one sentence."""
        ...


@dataclass(frozen=True, slots=True)
class DrainOutcome:
    """What became of a :class:`DrainRequest`."""

    drain: Drain
    impact: DrainImpact
    applied: bool
    """False for a dry run."""
    replaced: Drain | None = None
    """The drain of this cluster that was in force before, if any."""


class ControlPlaneError(Exception):
    """Why the control plane did not do what it was asked."""


class UnknownClusterError(ControlPlaneError):
    """The policy in force has no such cluster."""

    def __init__(self, cluster: str, known: Sequence[str]) -> None:
        super().__init__(f"no cluster {cluster!r} in the policy in force")
        self.cluster = cluster
        self.known = tuple(known)


class NotDrainedError(ControlPlaneError):
    """There is no drain to end."""

    def __init__(self, cluster: str, notice: str = "") -> None:
        by_notice = f" by an operator; notice {notice!r} has it drained, and is ended by its id" if notice else ""
        super().__init__(f"cluster {cluster!r} is not drained{by_notice}")
        self.cluster = cluster


class DrainRefusedError(ControlPlaneError):
    """What would remain could not carry the load, and the request did not force it."""

    def __init__(self, cluster: str, impact: DrainImpact) -> None:
        super().__init__(impact.sentence)
        self.cluster = cluster
        self.impact = impact


class NotQuarantinedError(ControlPlaneError):
    """There is no such quarantine to lift."""

    def __init__(self, group: str, type_url: str, name: str, version: str) -> None:
        super().__init__(f"version {version} of {name!r} ({type_url}) is not quarantined in group {group!r}")


class NoPolicyError(ControlPlaneError):
    """No policy was ever loaded, so there is nothing to act on."""

    def __init__(self) -> None:
        super().__init__("no policy is in force yet")


class StoreUnavailableError(ControlPlaneError):
    """The state store failed, so the wish is neither recorded nor in force, or cannot be read back."""


class ControlPlane(Protocol):
    """The control plane as operators see it."""

    @property
    def started_at(self) -> float:
        """When this process began to serve, Unix time."""
        ...

    @property
    def xds_address(self) -> str:
        """``host:port`` where Envoys connect."""
        ...

    @property
    def policy_set(self) -> PolicySet | None:
        """The policy in force; None before the first good load."""
        ...

    @property
    def policy_source(self) -> str:
        """Where policies are read from, for people."""
        ...

    @property
    def policy_problems(self) -> tuple[Problem, ...]:
        """Errors and warnings of the last load, in force or refused."""
        ...

    @property
    def policy_loaded_at(self) -> float | None:
        """When the policy in force was loaded."""
        ...

    @property
    def policy_rejected_at(self) -> float | None:
        """When the latest load was refused; None when the policy in force is the latest."""
        ...

    @property
    def decision(self) -> Decision | None:
        """The decision in force."""
        ...

    @property
    def overrides(self) -> Overrides:
        """What operators have asked for and is in force."""
        ...

    def now(self) -> float:
        """Return the time all ages are counted to: Unix seconds, of the same clock as the observations."""
        ...

    def observations(self) -> Observations:
        """Tell what is known about the world."""
        ...

    def probed(self, cluster: Cluster) -> Probed:
        """Tell what probing a cluster found, and what it costs."""
        ...

    @property
    def signals(self) -> Signals:
        """What engines and edges tell beyond what is decided by."""
        ...

    def feeds(self) -> Sequence[FeedStatus]:
        """Return the cost feeds of the policy in force."""
        ...

    def edge_probing(self) -> EdgeProbing:
        """Return how probing from the edge goes, and how the votes stand."""
        ...

    def ready(self) -> Readiness:
        """Whether Envoys get a complete configuration."""
        ...

    def streams(self) -> Sequence[ConnectedEnvoy]:
        """Every xDS stream open now."""
        ...

    def resources(self, stream: str) -> Sequence[ResourceState]:
        """Return every resource the Envoy of a stream asks for; none when there is no such stream any more."""

    def quarantine(self) -> Sequence[QuarantinedResource]:
        """Return what Envoys have refused and is not sent any more, as long as it is what would be served."""
        ...

    def canaries(self) -> Sequence[CanaryRollout]:
        """Return the trials under way."""
        ...

    def first_answers(self) -> Queue:
        """How many streams are being sent their first configuration."""
        ...

    async def release(  # noqa: PLR0917 - what a quarantine is known by, then who lifts it and why
        self, group: str, type_url: str, name: str, version: str, actor: str, reason: str
    ) -> QuarantinedResource:
        """Lift a quarantine: the version is sent again, and quarantined again if it is refused again.

        Returns the quarantine as it was.

        Raises:
            NotQuarantinedError: there is none.
            StoreUnavailableError: it could not be recorded, so it was not done.

        """
        ...

    def history(self) -> Sequence[HistoryPoint]:
        """Return the latest changes of weights, oldest first, from a bounded memory."""

    async def recent_decisions(self, limit: int, before: float | None = None) -> Sequence[StoredDecision]:
        """Return recorded decisions, newest first, older than ``before`` (Unix time).

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...

    async def stored_decision(self, decision_id: str) -> StoredDecision | None:
        """One recorded decision.

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...

    def stands_for(self, decision_id: str) -> str | None:
        """Name the recorded decision that says the same as one made lately, but for its figures.

        Itself, for one that is recorded; None for one that is not remembered, or was never made.
        """
        ...

    async def decision_at(self, at: float) -> PastDecision | None:
        """Return the decision in force at a time (Unix time): the last one recorded by then.

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...

    async def past_decision(self, decision_id: str) -> PastDecision | None:
        """Return a recorded decision with what it was made of.

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...

    async def verify_decision(self, decision_id: str) -> Verification | None:
        """Make a recorded decision again and compare; None when no such decision is recorded.

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...

    async def costs(self, asked: Asked) -> Found:
        """Report what traffic came to in some hours.

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...

    async def policy_files(self, digest: str) -> Mapping[str, str] | None:
        """Return the text of a policy set that is or was in force, by file; None where it is not recorded.

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...

    async def drain(self, request: DrainRequest) -> DrainOutcome:
        """Drain a cluster, or replace its drain; returns once the decision without it is on its way to the Envoys.

        Raises:
            NoPolicyError: there is no policy yet.
            UnknownClusterError: the policy has no such cluster.
            DrainRefusedError: not feasible, neither forced nor a dry run.
            StoreUnavailableError: it could not be recorded, so it was not done.

        """
        ...

    async def undrain(self, cluster: str, actor: str, reason: str) -> Drain:
        """End a drain before its time; returns the drain that was in force.

        Raises:
            NotDrainedError: there is none.
            StoreUnavailableError: it could not be recorded, so it was not done.

        """
        ...

    def notices(self) -> Sequence[StandingNotice]:
        """Every notice that is not over, with what comes of it, the next deadline first."""
        ...

    async def take_notice(self, request: NoticeRequest) -> NoticeOutcome:
        """Take in what is announced; returns once the decision that follows is on its way to the Envoys.

        Raises:
            NoPolicyError: there is no policy yet.
            ControlPlaneError: it leads to no cluster or endpoint of the policy (:mod:`penstock.admin.notice_errors`).
            StoreUnavailableError: it could not be recorded, so it was not taken.

        """
        ...

    async def end_notice(self, notice: str, actor: str, reason: str) -> Notice:
        """End a notice before its time, by its id.

        Raises:
            UnknownNoticeError: none such stands.
            StoreUnavailableError: it could not be recorded, so it was not done.

        """
        ...

    async def audit(self, limit: int, before: int | None = None, kind: str | None = None) -> Sequence[AuditEntry]:
        """Audit entries, newest first, with a sequence number below ``before``.

        Those of one ``kind``, or of every kind but the entries about recorded decisions, which have their own listing.

        Raises:
            StoreUnavailableError: the store did not answer.

        """
        ...
