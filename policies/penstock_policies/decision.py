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
    """Which solver gave the target: the ladder of DESIGN.md, best first."""

    WATERFALL = "waterfall"
    LAST_GOOD = "last_good"
    STATIC = "static"


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


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What the engine used for a cluster: shown to people, needed by nothing."""

    price: float
    price_source: str
    """``policy`` or ``feed NAME``, with ``(stale)`` where the last good price is used after its age."""
    price_age: float | None
    in_flight: float
    capacity: float
    """Requests in flight the engine plans up to: healthy share of the declared concurrency, less headroom."""


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


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What the engine carries from one decision to the next besides the rows."""

    prices: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Feed, key to (price, time): the last good ones."""
    demand: Mapping[str, float] = field(default_factory=dict)
    """Row (``policy/region/model``) to its smoothed request rate."""
    service_time: Mapping[str, float] = field(default_factory=dict)
    """Cluster to smoothed seconds a request is in flight."""
    flow: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Cluster to smoothed (requests per second, requests in flight): their ratio is the service time."""
    doubts: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """Feed, key to (price, first seen): prices too far from the last good one to be believed at once."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Weights for every row of a policy set, at one moment, with reasons."""

    id: str
    """A hash of all below: equal ids are equal decisions."""
    at: float
    policy_digest: str
    rung: Rung
    frozen: str
    """Why the engine distrusts its inputs and holds the weights; empty when it does not."""
    rows: Mapping[RowKey, Row]
    health: Mapping[str, ClusterHealth]
    clusters: Mapping[str, ClusterView]
    draining: Mapping[str, float]
    """Cluster under an active drain to the factor left of its share (0: out of every list)."""
    notes: tuple[Note, ...] = ()
    memory: EngineMemory = EngineMemory()
