"""The documents an SRE writes, as typed immutable models. Owns what each field means, its unit, range and default.

Every model refuses unknown fields and is frozen: a loaded policy never changes under the engine. References between
documents are checked elsewhere (:mod:`penstock_policies.references`); here a document is judged on its own.
"""

from typing import Annotated, Literal

from pydantic import Field

from penstock_policies.feeds import CostFeedSpec
from penstock_policies.machines import Capacity, Power
from penstock_policies.model import Dollars, HttpPath, Model, ModelName, Name, Region
from penstock_policies.probing import Health
from penstock_policies.quantities import Fraction, Port, Seconds
from penstock_policies.steering import (
    Affinity,
    Objective,
    Schedule,
    ShareRule,
    Tier,
    TimeZone,
    TypicalRequest,
    VersionRule,
)
from penstock_policies.words import DataClass, Engine, Site, Survive


class Metadata(Model):
    """Who a document is."""

    name: Name
    """Unique within its kind."""
    labels: dict[str, str] = Field(default_factory=dict)
    """For people and tools; Penstock does not read them."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """For people and tools. No decision depends on them; ``instance-ids`` tells notices which machine an endpoint is,
    ``replay-share`` a replay how much of a trace is of a policy or group."""


class Tls(Model):
    """TLS from Envoy to an endpoint. The server's certificate must carry ``sni`` as a subject alternative name."""

    sni: Annotated[str, Field(min_length=1, max_length=253)]
    """The server's name, the same for all endpoints of a cluster."""
    ca_file: str = "/etc/ssl/certs/ca-certificates.crt"
    """Trusted roots, a path on the Envoy host (Envoy has no built-in roots)."""


class Endpoint(Model):
    """One server of a cluster, by IP address or DNS name."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,252})$|^::1?$")]
    """IP addresses or DNS names, not both in one cluster."""
    port: Port
    tls: Tls | None = None
    """Omitted: plain text."""

    @property
    def key(self) -> str:
        """``address:port``: the endpoint's name in observations, load reports and messages."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Cost(Model):
    """What a token costs at a cluster: a declared price, or a key in a feed with an optional price to fall back on."""

    usd_per_million_tokens: Dollars | None = None
    """The price of a generated token, or with a feed the price until the feed has answered."""
    prompt_price_ratio: Fraction = 1.0
    """What a prompt token costs, as a share of what a generated one does. Omitted: what the feed tells of it, or for a
    price of machines' time what their token rates tell; else 100 %."""
    egress_usd_per_million_tokens: Dollars = 0.0
    """What it costs to send prompts there and answers back, by token, on top of the price."""
    amortized_usd_per_hour: Dollars | None = None
    """What it costs an hour, used or not, all in: hardware, power, space, people, commitments. For reports only, where
    it takes the place of the price of tokens; the engine steers on the marginal price."""
    feed: Name | None = None
    """The CostFeed to take the price from."""
    key: Annotated[str, Field(min_length=1)] | None = None
    """The price's key in the feed."""

    @property
    def declared_prompt_ratio(self) -> float | None:
        """The share that a prompt token costs, where the policy says; None where it leaves that to others."""
        return self.prompt_price_ratio if "prompt_price_ratio" in self.model_fields_set else None


class Carbon(Model):
    """What a token costs the climate at a cluster: a declared figure, or a key in a feed that measures carbon."""

    grams_per_million_tokens: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)] | None = None
    """Grams of CO2 equivalent; with a feed, until the feed has answered."""
    feed: Name | None = None
    """The CostFeed, with ``measures: carbon``, to take the figure from."""
    key: Annotated[str, Field(min_length=1)] | None = None
    """The figure's key in the feed."""


class Latency(Model):
    """How fast a cluster answers when it is not full; what load adds is worked out from its concurrency."""

    ttft_p95: Seconds | None = None
    """Time to the first token of an idle cluster, which 95 of 100 requests stay under. Omitted: not known, so that the
    cluster is taken to keep every target until it is full."""
    round_trip: dict[Region, Seconds] = Field(default_factory=dict)
    """Edge region to network round trip. Omitted: 2 ms in the same region, 20 ms in the same area, 100 ms elsewhere."""


class Spot(Model):
    """That a cluster may be taken away at short notice."""

    confidence: Fraction = 0.7
    """The share of its capacity that plans count on."""


class Metrics(Model):
    """Where the endpoints of a cluster serve their engine's metrics, on their own addresses."""

    port: Port | None = None
    """Omitted: the port the engine usually has them on. Any port but an endpoint's own is asked in plain text."""
    path: HttpPath | None = None
    """Omitted: the engine's usual path."""


class OutlierDetection(Model):
    """Envoy's own passive ejection, in Envoy's words."""

    # Named outright: the alias generator would make it `consecutive5Xx`.
    consecutive5xx: Annotated[int, Field(ge=1, le=1000, strict=True, alias="consecutive5xx")] = 5
    """Server errors in a row that eject an endpoint."""
    interval: Annotated[Seconds, Field(ge=0.1, le=3600)] = 10.0
    """How often Envoy looks for endpoints to eject or to take back."""
    base_ejection_time: Annotated[Seconds, Field(ge=0.1, le=86400)] = 30.0
    """How long an endpoint stays out, times how often it was ejected already."""


class ClusterSpec(Model):
    """A set of interchangeable LLM servers at one place."""

    site: Site
    region: Region
    """Where it is; regions with the same part before the first hyphen are one area."""
    engine: Engine
    models: Annotated[tuple[ModelName, ...], Field(min_length=1)]
    """The models that every endpoint serves, by the names clients use."""
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1)]
    capacity: Capacity
    cost: Cost = Cost(usd_per_million_tokens=0.0)
    """Omitted: free."""
    carbon: Carbon = Carbon(grams_per_million_tokens=0.0)
    """Omitted: none."""
    power: Power | None = None
    """What makes the price of electricity one of tokens."""
    latency: Latency = Latency()
    spot: Spot | None = None
    """Omitted: the capacity is there to stay."""
    model_versions: dict[ModelName, Annotated[str, Field(min_length=1, max_length=128)]] = Field(default_factory=dict)
    """Model to the version served of it. Omitted: not known, and never served where a policy asks for a version."""
    health: Health = Health()
    metrics: Metrics = Metrics()
    outlier_detection: OutlierDetection = OutlierDetection()
    connect_timeout: Annotated[Seconds, Field(ge=0.01, le=60)] = 0.5
    """From Envoy to an endpoint."""


class ListenerSpec(Model):
    """A port of the edge Envoys, and the class of data that comes in by it."""

    address: str
    """The IP address to listen on; ``0.0.0.0`` for every interface."""
    port: Port
    data_class: DataClass
    """The class of a request that comes in here; a client may only make it stricter."""
    max_request_bytes: Annotated[int, Field(ge=1024, le=1 << 30, strict=True)] = 16 * 1024 * 1024
    """Prompts larger than this get 413. Envoy holds a body in memory to read the model's name and to retry it."""
    metering: bool = True
    """Whether Envoy reads token counts from answers and reports each request's to Penstock. Off: costs are estimated.
    Envoys with a bootstrap of your own need the cluster ``penstock/xds`` for it."""


class NodeMatch(Model):
    """Which Envoys belong to a group: ``node.cluster`` of their bootstrap."""

    cluster: Annotated[str, Field(min_length=1)]
    """As given by ``penstock bootstrap --group``."""


class NodeGroupSpec(Model):
    """Envoys that share one configuration."""

    match: NodeMatch
    region: Region
    """Where these Envoys are."""
    listeners: Annotated[tuple[Name, ...], Field(min_length=1)]
    """The Listeners these Envoys open."""


class Allow(Model):
    """What a residency rule allows; an omitted field allows any value."""

    sites: tuple[Site, ...] | None = None
    regions: tuple[Region, ...] | None = None
    clusters: tuple[Name, ...] | None = None


class ResidencyRuleSpec(Model):
    """Fleet-wide: data of this class may reach only clusters that every rule for the class allows."""

    data_class: DataClass
    allow: Allow


class PolicyMatch(Model):
    """Which requests a policy is for."""

    path: HttpPath = "/"
    """A path prefix."""
    models: tuple[ModelName, ...] | None = None
    """Names of models; omitted: every model its clusters serve."""


class Slo(Model):
    """Targets in users' terms."""

    ttft_p95: Seconds | None = None
    """Time to the first token, which 95 of 100 requests shall stay under."""


class Limits(Model):
    """How fast weights may move for reasons that can wait."""

    max_step: Fraction = 0.1
    """Greatest share of a policy's traffic moved at once, to save cost or for any other merit."""
    min_dwell: Seconds = 30.0
    """Least time between two such moves."""
    load_step: Fraction = 1.0
    """Greatest share moved at once to match load or to relieve an overloaded cluster."""
    dead_band: Fraction = 0.01
    """A difference not worth a push."""
    reversals: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """How often within ten minutes a cluster's share may turn from rising to falling or back for reasons that can
    wait, before it is held for a time that doubles with each further turn."""


class TrafficPolicySpec(Model):
    """Which clusters may serve which requests, and to what end."""

    match: PolicyMatch = PolicyMatch()
    """The requests it is for."""
    data_class: DataClass
    """The class of data it is for; no other class ever comes by it."""
    clusters: Annotated[tuple[Name, ...], Field(min_length=1)]
    """The Clusters that may serve; residency rules must allow every one for the class."""
    objective: Objective = Objective()
    """What is optimised."""
    prefer: tuple[Tier, ...] = ()
    """Tiers filled one after the other, whatever the objective says; within a tier the objective decides. Clusters in
    no tier come last. Omitted: the objective decides among all."""
    shares: tuple[ShareRule, ...] = ()
    """Floors, ceilings and pins. They bow where else requests would go unserved."""
    schedules: tuple[Schedule, ...] = ()
    """What is different at certain hours."""
    versions: dict[ModelName, VersionRule] = Field(default_factory=dict)
    """Model to the versions of it that may serve. Omitted: any."""
    survive: Survive = Survive.SPOT
    """Which loss of a cluster the others must be able to carry by plan."""
    affinity: Affinity | None = None
    """What keeps the requests of a conversation together. Omitted: nothing."""
    typical_request: TypicalRequest = TypicalRequest()
    """What a request is taken for until tokens are measured."""
    slo: Slo = Slo()
    """Targets that plans keep."""
    limits: Limits = Limits()
    """How fast weights may move."""


class BudgetScope(Model):
    """What a budget is for; every field given must fit, none given is the whole fleet."""

    policy: Name | None = None
    """What this TrafficPolicy's traffic costs."""
    cluster: Name | None = None
    """What is spent at this Cluster."""
    site: Site | None = None
    """What is spent at all clusters of this site."""


class BudgetSpec(Model):
    """Money that may be spent in a period. Traffic leaves what costs most as the forecast nears the amount."""

    scope: BudgetScope = BudgetScope()
    """What it is for."""
    amount: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """USD a period, at marginal prices, by the ledger: as measured where access logs arrive, else as estimated."""
    per: Literal["day", "month"]
    """A calendar day or month of ``timeZone``."""
    time_zone: TimeZone = "UTC"
    """Whose midnight begins a day or month."""
    on_exhausted: Literal["shift", "reject"] = "shift"
    """At 100 %: ``shift`` sends nothing more by choice (floor, pin, tier) to what it pays for, but still what nobody
    else can serve within SLO; ``reject`` sends nothing there, and refuses (503, ``budget_exhausted``) what is left.
    Restricted traffic is exempt from both, though what it costs counts."""


class Document(Model):
    """What all documents begin with."""

    api_version: Literal["penstock/v1"]
    metadata: Metadata

    @property
    def name(self) -> str:
        """The document's name, unique within its kind."""
        return self.metadata.name


class Cluster(Document):
    """A cluster of LLM servers."""

    kind: Literal["Cluster"]
    spec: ClusterSpec


class CostFeed(Document):
    """A source of prices."""

    kind: Literal["CostFeed"]
    spec: CostFeedSpec


class Listener(Document):
    """A port of the edge."""

    kind: Literal["Listener"]
    spec: ListenerSpec


class NodeGroup(Document):
    """A group of Envoys."""

    kind: Literal["NodeGroup"]
    spec: NodeGroupSpec


class ResidencyRule(Document):
    """A rule on where data may go."""

    kind: Literal["ResidencyRule"]
    spec: ResidencyRuleSpec


class TrafficPolicy(Document):
    """A policy for a kind of traffic."""

    kind: Literal["TrafficPolicy"]
    spec: TrafficPolicySpec


class Budget(Document):
    """A limit on spending."""

    kind: Literal["Budget"]
    spec: BudgetSpec


AnyDocument = Budget | Cluster | CostFeed | Listener | NodeGroup | ResidencyRule | TrafficPolicy
KINDS: dict[str, type[AnyDocument]] = {
    kind.__name__: kind for kind in (Budget, Cluster, CostFeed, Listener, NodeGroup, ResidencyRule, TrafficPolicy)
}
