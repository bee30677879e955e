"""A control plane made of plain values: two edge regions, three clusters, a public and a restricted policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from penstock.admin.edge_votes import EdgeProbing
from penstock.admin.notice_errors import UnknownNoticeError
from penstock.admin.notices import Notice, NoticeChange, NoticeEffect, NoticeOutcome, NoticeRequest, StandingNotice
from penstock.admin.ports import (
    AuditEntry,
    DrainOutcome,
    DrainRefusedError,
    DrainRequest,
    FeedStatus,
    HistoryPoint,
    NotDrainedError,
    NotQuarantinedError,
    Readiness,
    StoreUnavailableError,
    UnknownClusterError,
)
from penstock.admin.recorded import PastDecision, StoredDecision, Verification
from penstock.admin.xds_state import (
    CanaryRollout,
    ConnectedEnvoy,
    QuarantinedResource,
    Queue,
    ResourceState,
    SyncStatus,
    TypeState,
)
from penstock.control.notice_intake import ended, intake
from penstock.signals.probing import Probed
from penstock.state.costs import Asked, Found
from penstock_policies.decision import (
    ClusterHealth,
    ClusterView,
    Decision,
    HealthState,
    Note,
    Row,
    Rung,
    Stage,
)
from penstock_policies.inputs import DecisionInputs
from penstock_policies.observations import EndpointProbe, Load, Observations, Price
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import Origin, PolicySet, RowKey
from penstock_policies.problems import Problem
from penstock_policies.schema import Cluster, CostFeed, Listener, NodeGroup, ResidencyRule, TrafficPolicy
from penstock_policies.serial import to_json
from penstock_policies.words import DataClass
from tests.admin.fake_signals import FakeSignals

NOW = 1_800_000_000.0
CHAT_EU = RowKey("chat", "eu-west", "llama-3-70b")
CHAT_US = RowKey("chat", "us-east", "llama-3-70b")
RECORDS_EU = RowKey("records", "eu-west", "llama-3-70b")
RECORDS_US = RowKey("records", "us-east", "llama-3-70b")
TYPE_URLS = (
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "type.googleapis.com/envoy.config.listener.v3.Listener",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
)


def document(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": "penstock/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def cluster(name: str, site: str, region: str, cost: dict[str, object], concurrency: int, *addresses: str) -> Cluster:
    spec: dict[str, object] = {
        "site": site,
        "region": region,
        "engine": "vllm",
        "models": ["llama-3-70b"],
        "endpoints": [{"address": address, "port": 8000} for address in addresses],
        "capacity": {"concurrency": concurrency},
        "cost": cost,
    }
    return Cluster.model_validate(document("Cluster", name, spec))


def policy(name: str, data_class: str, clusters: list[str]) -> TrafficPolicy:
    spec: dict[str, object] = {
        "match": {"path": "/v1/", "models": ["llama-3-70b"]},
        "dataClass": data_class,
        "clusters": clusters,
    }
    return TrafficPolicy.model_validate(document("TrafficPolicy", name, spec))


def example_policy() -> PolicySet:
    clusters = (
        cluster("onprem-fra", "on_prem", "eu-central", {"usdPerMillionTokens": 0.02}, 160, "10.0.1.11", "10.0.1.12"),
        cluster("cloud-eu-west", "cloud", "eu-west", {"feed": "cloud-prices", "key": "eu-west"}, 600, "10.0.2.11"),
        cluster("cloud-us-east", "cloud", "us-east", {"feed": "cloud-prices", "key": "us-east"}, 600, "10.0.3.11"),
    )
    feed = document("CostFeed", "cloud-prices", {"type": "file", "path": "prices.json", "maxAge": "10m"})
    listeners = {
        name: Listener.model_validate(document("Listener", name, {"address": "::", "port": port, "dataClass": name}))
        for name, port in (("public", 10000), ("restricted", 10001))
    }
    groups = {
        name: NodeGroup.model_validate(
            document("NodeGroup", name, {"match": {"cluster": name}, "region": region, "listeners": ["public"]})
        )
        for name, region in (("edge-eu", "eu-west"), ("edge-us", "us-east"))
    }
    rule = document("ResidencyRule", "default", {"dataClass": "restricted", "allow": {"sites": ["on_prem"]}})
    policies = (
        policy("chat", "public", ["onprem-fra", "cloud-eu-west", "cloud-us-east"]),
        policy("records", "restricted", ["onprem-fra"]),
    )
    return PolicySet(
        digest="d1ge57",
        clusters={each.name: each for each in clusters},
        feeds={"cloud-prices": CostFeed.model_validate(feed)},
        listeners=listeners,
        groups=groups,
        residency={"default": ResidencyRule.model_validate(rule)},
        policies={each.name: each for each in policies},
        origins={("TrafficPolicy", each.name): Origin("policy.yaml", 40, 1) for each in policies},
    )


def row(key: RowKey, weights: dict[str, int], reason: str, target: dict[str, float] | None = None) -> Row:
    restricted = key.policy == "records"
    return Row(
        key=key,
        data_class=DataClass.RESTRICTED if restricted else DataClass.PUBLIC,
        weights=weights,
        legs={name: (name, *(other for other in weights if other != name)) for name in weights},
        target=target or {name: weight / 10_000 for name, weight in weights.items()},
        excluded={"cloud-eu-west": "rule default allows restricted data only at on_prem"} if restricted else {},
        reason=reason,
        notes=(Note(Stage.LIMIT, "step limited", {"from": 0.5, "to": 0.6}),),
        changed_at=NOW - 42,
        demand=120.0,
    )


def example_decision(chat_eu: dict[str, int] | None = None, decision_id: str = "dec2", at: float = NOW - 1) -> Decision:
    chat = chat_eu or {"onprem-fra": 6000, "cloud-eu-west": 4000, "cloud-us-east": 0}
    split = {"onprem-fra": 0.55, "cloud-eu-west": 0.45, "cloud-us-east": 0.0}
    rows = (
        row(CHAT_EU, chat, "on-prem is full; the rest goes to the cheapest cloud", split),
        row(CHAT_US, {"onprem-fra": 10_000, "cloud-eu-west": 0, "cloud-us-east": 0}, "on-prem carries it all"),
        row(RECORDS_EU, {"onprem-fra": 10_000}, "restricted data stays on-prem"),
        row(RECORDS_US, {"onprem-fra": 10_000}, "restricted data stays on-prem"),
    )
    return Decision(
        id=decision_id,
        at=at,
        policy_digest="d1ge57",
        rung=Rung.WATERFALL,
        frozen="",
        rows={each.key: each for each in rows},
        health={
            "onprem-fra": ClusterHealth(HealthState.UP, NOW - 3600),
            "cloud-eu-west": ClusterHealth(HealthState.RAMP, NOW - 20, 0.4, (), "recovering"),
            "cloud-us-east": ClusterHealth(HealthState.DOWN, NOW - 90, 0.0, ("10.0.3.11:8000",), "connection refused"),
        },
        clusters={
            "onprem-fra": ClusterView(0.02, "policy", None, 150.0, 136.0),
            "cloud-eu-west": ClusterView(0.9, "feed cloud-prices", 3.0, 80.0, 510.0),
            "cloud-us-east": ClusterView(1.0, "feed cloud-prices (stale)", 900.0, 0.0, 510.0),
        },
        draining={},
        notes=(Note(Stage.SANITISE, "price refused", {"cluster": "cloud-us-east"}),),
    )


def example_observations() -> Observations:
    return Observations(
        probes={"onprem-fra": {"10.0.1.11:8000": EndpointProbe(NOW - 0.5, 20, 0, 0.004)}},
        load={"eu-west": {"onprem-fra": Load(NOW - 1, 150.0, 70.0, 0.5)}},
        prices={"cloud-prices": {"eu-west": Price(NOW - 3, 0.9)}},
    )


def envoy(node: str, group: str, nacked: str = "") -> ConnectedEnvoy:
    states = tuple(TypeState(url, SyncStatus.SYNCED, "v1", "v1", "", 3, 2, 0) for url in TYPE_URLS)
    if nacked:
        refused = TypeState(TYPE_URLS[3], SyncStatus.NACKED, "v2", "v1", nacked, 1, 3, 1)
        states = (*states[:3], refused)
    return ConnectedEnvoy(f"s-{node}", node, group, group, "127.0.0.1:5", "delta", NOW - 600, states)


def quarantined(name: str = "public", *nodes: str, **changes: Any) -> QuarantinedResource:
    refused = QuarantinedResource(
        group="edge-eu",
        type_url=TYPE_URLS[2],
        name=name,
        version="v2",
        nodes=nodes or ("eu-1",),
        message="cannot bind '192.0.2.1:10000'",
        first_at=NOW - 120,
        last_at=NOW - 60,
        served_instead="v1",
        origins=("policy.yaml:12",),
    )
    return replace(refused, **changes)


@dataclass(frozen=True)
class FakeImpact:
    feasible: bool
    sentence: str
    utilisation_after: float = 1.31


def stored(decision: Decision) -> StoredDecision:
    return StoredDecision(decision.id, decision.at, decision.policy_digest, to_json(decision))


class FakeControlPlane:
    """What a test sets is what the admin side sees."""

    def __init__(self) -> None:
        before = example_decision({"onprem-fra": 10_000, "cloud-eu-west": 0, "cloud-us-east": 0}, "dec1", NOW - 60)
        self.clock = NOW
        self.started_at = NOW - 7200
        self.xds_address = "127.0.0.1:18000"
        self.policy_set: PolicySet | None = example_policy()
        self.policy_source = "policies"
        self.policy_problems: tuple[Problem, ...] = ()
        self.policy_loaded_at: float | None = NOW - 3600
        self.policy_rejected_at: float | None = None
        self.decision: Decision | None = example_decision()
        self.overrides = Overrides()
        self.readiness = Readiness(ready=True, details={"groups": 2})
        self.envoys: list[ConnectedEnvoy] = [envoy("eu-1", "edge-eu"), envoy("us-1", "edge-us")]
        self.probing_of: dict[str, Probed] = {}
        self.feed_statuses = [FeedStatus("cloud-prices", NOW - 3)]
        self.decisions = [stored(example_decision()), stored(before)]
        self.points = [
            HistoryPoint(each.at, {key: dict(of.weights) for key, of in each.rows.items()})
            for each in (before, example_decision())
        ]
        self.refusals: list[QuarantinedResource] = []
        self.trials: list[CanaryRollout] = []
        self.queue = Queue()
        self.probing = EdgeProbing()
        self.held = [
            ResourceState(url, f"name-{index}", SyncStatus.SYNCED, "v1") for index, url in enumerate(TYPE_URLS)
        ]
        self.files: dict[str, Mapping[str, str]] = {}
        self.audited: list[AuditEntry] = []
        self.verifications: dict[str, Verification] = {}
        self.past_inputs: DecisionInputs | None = None
        self.past_policy: PolicySet | None = self.policy_set
        self.standing: dict[str, str] = {"dec2": "dec2"}
        self.seen = example_observations()
        self.signals = FakeSignals()
        self.noticed: dict[str, Notice] = {}
        self.infeasible: set[str] = {"onprem-fra"}
        self.asked: list[Asked] = []
        self.found: Found | None = None
        self.store_fails = False
        self.bug: Exception | None = None

    def now(self) -> float:
        return self.clock

    def observations(self) -> Observations:
        return self.seen

    def probed(self, cluster: Cluster) -> Probed:
        return self.probing_of.get(cluster.name, Probed())

    def feeds(self) -> Sequence[FeedStatus]:
        return self.feed_statuses

    def edge_probing(self) -> EdgeProbing:
        return self.probing

    def ready(self) -> Readiness:
        return self.readiness

    def streams(self) -> Sequence[ConnectedEnvoy]:
        if self.bug is not None:
            raise self.bug
        return self.envoys

    def resources(self, stream: str) -> Sequence[ResourceState]:
        return self.held if any(each.stream == stream for each in self.envoys) else ()

    def quarantine(self) -> Sequence[QuarantinedResource]:
        return self.refusals

    def canaries(self) -> Sequence[CanaryRollout]:
        return self.trials

    def first_answers(self) -> Queue:
        return self.queue

    async def release(  # noqa: PLR0917 - the port's signature
        self, group: str, type_url: str, name: str, version: str, actor: str, reason: str
    ) -> QuarantinedResource:
        wanted = (group, type_url, name, version)
        found = [each for each in self.refusals if (each.group, each.type_url, each.name, each.version) == wanted]
        if not found:
            raise NotQuarantinedError(group, type_url, name, version)
        self._reach_store()
        self._audit("quarantine.released", actor, {"resource": name, "reason": reason})
        self.refusals.remove(found[0])
        return found[0]

    def history(self) -> Sequence[HistoryPoint]:
        return self.points

    async def recent_decisions(self, limit: int, before: float | None = None) -> Sequence[StoredDecision]:
        self._reach_store()
        return [each for each in self.decisions if before is None or each.at < before][:limit]

    async def stored_decision(self, decision_id: str) -> StoredDecision | None:
        self._reach_store()
        return next((each for each in self.decisions if each.id == decision_id), None)

    def stands_for(self, decision_id: str) -> str | None:
        return self.standing.get(decision_id)

    async def decision_at(self, at: float) -> PastDecision | None:
        self._reach_store()
        return next((self._past(each) for each in self.decisions if each.at <= at), None)

    async def past_decision(self, decision_id: str) -> PastDecision | None:
        found = await self.stored_decision(decision_id)
        return None if found is None else self._past(found)

    async def verify_decision(self, decision_id: str) -> Verification | None:
        self._reach_store()
        return self.verifications.get(decision_id)

    def _past(self, found: StoredDecision) -> PastDecision:
        later = [each.at for each in self.decisions if each.at > found.at]
        return PastDecision(found, min(later, default=None), self.past_policy, self.past_inputs)

    async def costs(self, asked: Asked) -> Found:
        self._reach_store()
        self.asked.append(asked)
        return self.found if self.found is not None else Found((), ())

    async def policy_files(self, digest: str) -> Mapping[str, str] | None:
        self._reach_store()
        return self.files.get(digest)

    async def drain(self, request: DrainRequest) -> DrainOutcome:
        if self.policy_set is None or request.cluster not in self.policy_set.clusters:
            raise UnknownClusterError(request.cluster, sorted(self.policy_set.clusters if self.policy_set else ()))
        feasible = request.cluster not in self.infeasible
        impact = FakeImpact(feasible, "what remains would run at " + ("64 %" if feasible else "131 %"))
        if not (feasible or request.force or request.dry_run):
            raise DrainRefusedError(request.cluster, impact)
        until = self.clock + request.duration
        wanted = Drain(request.cluster, self.clock, until, request.reason, request.owner, request.ramp)
        replaced = self.overrides.drains.get(request.cluster)
        if request.dry_run:
            return DrainOutcome(wanted, impact, applied=False, replaced=replaced)
        self._reach_store()
        self._audit("drain", request.actor, {"cluster": request.cluster, "reason": request.reason})
        self.overrides = Overrides({**self.overrides.drains, request.cluster: wanted})
        return DrainOutcome(wanted, impact, applied=True, replaced=replaced)

    async def undrain(self, cluster: str, actor: str, reason: str) -> Drain:
        ended = self.overrides.drains.get(cluster)
        if ended is None:
            raise NotDrainedError(cluster)
        self._reach_store()
        self._audit("undrain", actor, {"cluster": cluster, "reason": reason})
        self.overrides = Overrides({name: each for name, each in self.overrides.drains.items() if name != cluster})
        return ended

    def notices(self) -> Sequence[StandingNotice]:
        effects = {True: NoticeEffect.CLUSTER_DRAINED, False: NoticeEffect.ENDED}
        return [StandingNotice(each, effects[each.standing(self.clock)]) for each in self.noticed.values()]

    async def take_notice(self, request: NoticeRequest) -> NoticeOutcome:
        assert self.policy_set is not None
        found = intake(request, self.noticed, self.policy_set, self.clock)
        self._reach_store()
        for notice, what in found.taken:
            if what not in {NoticeChange.OVER, NoticeChange.UNCHANGED}:
                self.noticed[notice.id] = notice
        return NoticeOutcome(found.taken, found.unmatched)

    async def end_notice(self, notice: str, actor: str, reason: str) -> Notice:
        if notice not in self.noticed:
            raise UnknownNoticeError(notice, sorted(self.noticed))
        self._reach_store()
        self._audit("notice.ended", actor, {"notice": notice, "reason": reason})
        self.noticed[notice] = ended(self.noticed[notice], actor, self.clock)
        return self.noticed[notice]

    async def audit(self, limit: int, before: int | None = None, kind: str | None = None) -> Sequence[AuditEntry]:
        self._reach_store()
        newest = [each for each in reversed(self.audited) if kind in {None, each.kind}]
        return [each for each in newest if before is None or each.sequence < before][:limit]

    def freeze(self, why: str) -> None:
        assert self.decision is not None
        self.decision = replace(self.decision, frozen=why)

    def _reach_store(self) -> None:
        if self.store_fails:
            raise StoreUnavailableError("the state store did not answer: database is locked")

    def _audit(self, kind: str, actor: str, detail: dict[str, object]) -> None:
        sequence = len(self.audited) + 1
        self.audited.append(AuditEntry(sequence, self.clock, kind, actor, detail, f"h{sequence}"))
