"""The engine's answer: weights with reasons, and the memory it needs to give the next one.

A Decision is plain data: it serialises to canonical JSON (:mod:`penstock_policies.serial`), is hashed for its id, and
is handed back to the engine as ``previous``. Nothing else is remembered between two decisions, so replaying the same
inputs gives the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass

TOTAL_WEIGHT = 10_000
"""What the weights of a served row sum to: hundredths of a percent, fine enough for a 1 % canary's tenth."""


class HealthState(StrEnum):
    """A cluster's life. PROBATION is the first, smallest step back; RAMP doubles it until UP."""

    UP = "UP"
    PROBATION = "PROBATION"
    RAMP = "RAMP"
    DOWN = "DOWN"


class Stage(StrEnum):
    """The stages of the pipeline, in order."""

    SANITISE = "sanitise"
    HEALTH = "health"
    CAPACITY = "capacity"
    SOLVE = "solve"
    PROJECT = "project"
    LIMIT = "limit"
    QUANTISE = "quantise"
    VERIFY = "verify"


class Rung(StrEnum):
    """What gave a row its target: the ladder of docs/architecture.md, best first. Each row falls by itself."""

    OPTIMUM = "optimum"
    WATERFALL = "waterfall"
    LAST_GOOD = "last_good"
    STATIC = "static"
    REFUSED = "refused"
    """Nothing above kept every rule: requests get 503. Not for rows that by plan nobody may serve."""


class Move(StrEnum):
    """Why weights move in steps. The reason sets how long they dwell between two steps."""

    NONE = "none"
    LOAD = "load"
    RECOVERY = "recovery"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Note:
    """What one stage did and why, for people and machines: ``message`` is constant, ``fields`` carry the facts."""

    stage: Stage
    message: str
    fields: Mapping[str, str | float | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """What the engine holds of a cluster's health."""

    state: HealthState
    since: float
    ceiling: float = 1.0
    """The greatest share of a row's traffic the cluster may get (0 when DOWN, growing in PROBATION and RAMP)."""
    unhealthy_endpoints: tuple[str, ...] = ()
    reason: str = ""
    hold: float = 0.0
    """Seconds it stays DOWN at least, this time or the next; doubles with each fall soon after the last."""
    fell_at: float = 0.0
    """When it last went DOWN; 0 for never."""
    erring_since: float = 0.0
    """Since when most of its requests have failed without a break; 0 while they do not."""
    late_since: float = 0.0
    """Since when its first tokens have been far too late without a break, though it has little to do; 0 while not."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What the engine used for a cluster: shown to people, needed by nothing."""

    price: float
    price_source: str
    """``policy`` or ``feed NAME``, with ``(stale)`` where the last good price is used after its age. Where the feed
    tells a price of machines' time or of electricity, that and the throughput it was turned into tokens by."""
    price_age: float | None
    in_flight: float
    capacity: float
    """Requests in flight the engine plans up to: healthy share of the declared concurrency, less what limits it."""
    limited_by: str = ""
    """What keeps the planned capacity below the declared one, in words: headroom, an SLO, spot, unhealthy endpoints."""
    trim: float = 1.0
    """The learnt part of the declared capacity, 0 to 1: what overload has taught."""
    planned: float = 0.0
    """Requests in flight by the solver's plan."""
    slot_price: float = 0.0
    """What room for one more request in flight would save, USD an hour: the dual of its capacity."""
    carbon: float = 0.0
    """Grams of CO2 equivalent for a million tokens."""
    carbon_source: str = "policy"
    tokens: tuple[float, float] = (0.0, 0.0)
    """Prompt and generated tokens a request there is taken for."""
    prompt_price_ratio: float | None = None
    """What a prompt token costs of ``price``, where something else than the policy tells."""
    usd_per_hour: float | None = None
    """What the whole cluster costs an hour, used or not, where a feed tells a price of machines' time: for reports."""


@dataclass(frozen=True, slots=True)
class BudgetView:
    """How a budget stands."""

    amount: float
    """USD a period."""
    spent: float
    """USD in this period so far."""
    period_start: float
    period_end: float
    burn: float
    """USD an hour being spent now, smoothed."""
    forecast: float
    """USD spent by the end of the period if that goes on."""
    limit: float | None = None
    """USD an hour it allows from here on; None while the forecast is well within the amount."""
    price: float = 0.0
    """What one more dollar would save, in dollars: the dual of the limit."""
    exhausted: bool = False


@dataclass(frozen=True, slots=True)
class Turns:
    """How often the share of a cluster in a row has turned from rising to falling or back."""

    direction: int
    """1 when it last rose, -1 when it last fell."""
    at: tuple[float, ...] = ()
    """When it turned, within the window that counts."""
    held_until: float = 0.0
    """Until when it may not turn again for reasons that can wait."""
    hold: float = 0.0
    """How long the last such hold was; the next is twice as long."""


@dataclass(frozen=True, slots=True)
class Row:
    """The weights of one row, and why."""

    key: RowKey
    data_class: DataClass
    weights: Mapping[str, int]
    """Cluster to weight, for every eligible cluster; sums to :data:`TOTAL_WEIGHT`, or is empty: refuse (503)."""
    legs: Mapping[str, tuple[str, ...]]
    """Eligible cluster to the ordered list Envoy tries within one request: itself, then its stand-ins."""
    target: Mapping[str, float]
    """The shares the solver wanted before limits."""
    excluded: Mapping[str, str]
    """Cluster the policy names to why it may get nothing."""
    reason: str
    """In one sentence, why the weights are what they are."""
    notes: tuple[Note, ...] = ()
    changed_at: float = 0.0
    """When these weights were last changed."""
    moved_at: float = 0.0
    """When a step limit last let them move: the dwell counts from here."""
    cost_moved_at: float = 0.0
    """The same for moves to save cost, which dwell longer and must not be put off by the others for ever."""
    demand: float = 0.0
    """Requests per second the engine believes this row carries."""
    move: Move = Move.NONE
    """Why the weights are on their way to the target; :attr:`Move.NONE` once they are there."""
    gaps: Mapping[str, float] = field(default_factory=dict)
    """Cluster the plan does not use to how much cheaper it would have to be to be used, USD a million tokens; only
    where cost is the objective."""
    tokens: tuple[float, float] = (0.0, 0.0)
    """Prompt and generated tokens a request of this row is taken for."""
    turns: Mapping[str, Turns] = field(default_factory=dict)
    """Cluster to the turns of its share, for the reversal budget."""
    refusal: str = ""
    """For a row without weights: the code clients are told, such as ``budget_exhausted``."""
    rung: Rung = Rung.OPTIMUM
    """What gave it its target; below the optimum the notes tell why."""


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What the engine carries from one decision to the next besides the rows."""

    prices: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Feed, key to (price, time): the last good ones. The key of a price of something else than tokens ends in what it
    is of: a figure in another unit is another figure."""
    demand: Mapping[str, float] = field(default_factory=dict)
    """Row (``policy/region/model``) to its smoothed request rate."""
    service_time: Mapping[str, float] = field(default_factory=dict)
    """Cluster to smoothed seconds a request is in flight."""
    flow: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Cluster to smoothed (requests per second, requests in flight): their ratio is the service time."""
    doubts: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Feed, key to (price, first seen): prices too far from the last good one to be believed at once."""
    carbon: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Feed, key to (grams, time): the last good carbon intensities."""
    trim: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Cluster to (learnt part of its capacity, when it last changed)."""
    token_counts: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Cluster to (prompt tokens, generated tokens, requests that had them), counted with fading memory."""
    speed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Cluster to the sums by which it is known how much faster it is when it is not full."""
    burn: Mapping[str, float] = field(default_factory=dict)
    """Budget to smoothed USD a second."""
    mixed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Row to the shares of its clusters (those that had any) as the newest load reports mix them, old and new."""
    recent: Mapping[str, float] = field(default_factory=dict)
    """Edge region to its request rate averaged over the last seconds, which tells a surge from a single burst."""
    slots: Mapping[str, float] = field(default_factory=dict)
    """Cluster some of whose endpoints are coming back to the slots counted on so far."""
    outcomes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Cluster to (requests, failed ones), counted with fading memory."""
    edge_outcomes: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Edge region, cluster probed from the edge to the same, of that region's requests alone."""
    prompt_ratios: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Feed, key to what a prompt token costs of the last good price, where the feed tells."""
    paces: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Cluster priced by time to the sums by which it is known how much slower than declared it is."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Weights for every row of a policy set, at one moment, with reasons."""

    id: str
    """A hash of all below: equal ids are equal decisions."""
    at: float
    policy_digest: str
    rung: Rung
    """The lowest that any row is on."""
    frozen: str
    """Why the engine distrusts its inputs and holds the weights; empty when it does not."""
    rows: Mapping[RowKey, Row]
    health: Mapping[str, ClusterHealth]
    """Of a cluster probed from the edge: as it is where it is best, which is what its capacity goes by."""
    clusters: Mapping[str, ClusterView]
    draining: Mapping[str, float]
    """Cluster under an active drain to the factor left of its share (0: out of every list)."""
    notes: tuple[Note, ...] = ()
    memory: EngineMemory = EngineMemory()
    budgets: Mapping[str, BudgetView] = field(default_factory=dict)
    edge_health: Mapping[str, Mapping[str, ClusterHealth]] = field(default_factory=dict)
    """Edge region, cluster probed from the edge to its health as seen from there."""
    frozen_regions: Mapping[str, str] = field(default_factory=dict)
    """Edge region to why what is seen from there is distrusted and its weights are held."""

    def health_in(self, region: str, cluster: str) -> ClusterHealth | None:
        """Give the health of a cluster that the rows of a region go by; None of one it does not know."""
        return self.edge_health.get(region, {}).get(cluster) or self.health.get(cluster)

    def distrusted(self, region: str, cluster: str) -> bool:
        """Tell whether what a region's rows would know of a cluster's endpoints is not believed now."""
        if cluster in self.edge_health.get(region, {}):
            return region in self.frozen_regions
        return bool(self.frozen)
