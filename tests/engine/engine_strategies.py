"""Random fleets, histories, journeys and garbage, for the engine's property tests.

A *history* is a few decisions over observations that need not agree with one another: hostile. A *journey* is many
decisions in a world that answers to them, where now and then something happens: likely. Journeys take few draws, and
drawing is what takes time here, not deciding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import EndpointProbe, EngineLoad, Intensity, Load, Observations, Price, Rate, Spend
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Budget, Cluster, CostFeed, TrafficPolicy
from tests.engine.edge_world import from_edge
from tests.engine.engine_world import (
    CLASSES,
    MODEL,
    START,
    World,
    budget,
    carbon_feed,
    cluster,
    feed,
    fleet,
    residency,
    traffic,
)

NAMES = ("a", "b", "c", "d")
REGIONS = ("eu-west", "us-east")
_CI_EXAMPLES = 100
"""What Hypothesis runs where nothing else is asked for, and so in the profile ``ci``."""

_Test = TypeVar("_Test", bound=Callable[..., None])

sane = st.floats(0, 500)
garbage = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-300, 1e300, 5e-324, 1e9, START * 1000]),
)


def examples(count: int) -> Callable[[_Test], _Test]:
    """Run ``count`` examples in the profile ``ci`` and as many times more as the profile in force asks for."""
    # Without shrinking: a whole history of fleets takes minutes to shrink and is read as well as it is.
    phases = (Phase.explicit, Phase.generate)
    chosen = settings(max_examples=max(1, count * settings().max_examples // _CI_EXAMPLES), phases=phases)
    # A fleet is long to read, and the complaint about that would hide what failed.
    readable = pytest.mark.filterwarnings("ignore:Generating overly large repr")

    def decorate(test: _Test) -> _Test:
        return readable(chosen(test))  # type: ignore[no-any-return] # a mark gives back what it marks

    return decorate


POWER: dict[str, Any] = {"power": {"idleKw": 1.0, "loadedKw": 5.0, "pue": 1.2}}
HOURS = CostFeed.model_validate(
    {
        "apiVersion": "penstock/v1",
        "kind": "CostFeed",
        "metadata": {"name": "hours"},
        "spec": {
            "type": "file",
            "path": "hours.json",
            "maxAge": "10m",
            "map": [
                {"pointer": f"/{name}", "key": name, "unit": unit}
                for name, unit in zip(NAMES, cycle(("usdPerGpuHour", "usdPerHour", "usdPerKwh")), strict=False)
            ],
        },
    }
)
"""Prices of machines' time and of electricity, by the names of clusters."""


@st.composite
def clusters(draw: st.DrawFn) -> list[Cluster]:
    return [draw(_cluster(name)) for name in NAMES[: draw(st.integers(1, 4))]]


@st.composite
def _cluster(draw: st.DrawFn, name: str) -> Cluster:
    latency: dict[str, Any] = {}
    if draw(st.booleans()):
        latency = {"ttftP95": draw(st.sampled_from(["50ms", "300ms", "2s"]))}
    capacity: dict[str, Any] = {"concurrency": draw(st.integers(1, 200))}
    if draw(st.booleans()):
        capacity |= {"tokensPerSecond": draw(st.sampled_from([10.0, 2000.0])), "promptTokensPerSecond": 20_000.0}
    # Some priced by time lack what would make that a price of tokens: the loader's business, and the engine stands it.
    capacity |= draw(st.sampled_from([{}, {"gpus": 8}]))
    more: dict[str, Any] = {"capacity": capacity, "latency": latency, **draw(st.sampled_from([{}, POWER]))}
    if draw(st.integers(0, 3)) == 0:
        more["spot"] = {"confidence": draw(st.sampled_from(["10%", "70%", "100%"]))}
    if draw(st.booleans()):
        more["carbon"] = {"gramsPerMillionTokens": draw(st.sampled_from([0.0, 40.0])), "feed": "grid", "key": name}
    models = draw(st.sampled_from([(MODEL,), (MODEL, "m2"), ("m2",)]))
    made = cluster(
        name,
        site=draw(st.sampled_from(["on_prem", "cloud", "edge"])),
        region=draw(st.sampled_from(["eu-west", "eu-central", "us-east"])),
        price=draw(st.one_of(st.none(), st.just(0.0), st.floats(1e-3, 10))),
        feed=draw(st.sampled_from([None, "cloud-prices", "other-prices", "hours"])),
        endpoints=draw(st.integers(1, 3)),
        models=models,
        versions=draw(st.dictionaries(st.sampled_from(models), st.sampled_from(["v1", "v2", "v3"]))),
        more=more,
    )
    return from_edge(made) if draw(st.integers(0, 2)) == 0 else made


@st.composite
def policies(draw: st.DrawFn, name: str, names: list[str]) -> TrafficPolicy:
    more: dict[str, Any] = {"survive": draw(st.sampled_from(["none", "spot", "any"]))}
    more["objective"] = draw(
        st.sampled_from(
            [
                {"minimize": "cost"},
                {"minimize": "cost", "distancePenalty": "0%"},
                {"minimize": "latency"},
                {"minimize": "carbon"},
                {"minimize": "locality"},
                {"minimize": "spread"},
                {"mix": {"cost": "50%", "latency": "30%", "spread": "20%"}},
            ]
        )
    )
    if draw(st.integers(0, 2)) == 0:
        more["prefer"] = [draw(st.sampled_from([{"sites": ["on_prem"]}, {"clusters": [names[-1]]}]))]
    if draw(st.integers(0, 2)) == 0:
        more["slo"] = {"ttftP95": draw(st.sampled_from(["100ms", "1s"]))}
    named = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    if draw(st.integers(0, 2)) == 0:
        bounds = draw(st.sampled_from([{"minShare": "20%"}, {"maxShare": "30%"}, {"pin": "25%"}]))
        more["shares"] = [{"cluster": named[0], **bounds}]
    if draw(st.integers(0, 2)) == 0:
        only = draw(st.sampled_from([{"sites": ["on_prem"]}, {"clusters": [named[-1]]}, {"regions": ["us-east"]}]))
        cron = draw(st.sampled_from(["* * * * *", "0 22 * * *", "*/2 * * * *"]))
        more["schedules"] = [{"name": "hours", "cron": cron, "duration": "1m", "only": only}]
    if draw(st.integers(0, 2)) == 0:
        more["versions"] = {MODEL: draw(st.sampled_from([{"stable": "v1"}, {"stable": "v1", "canary": "v2"}]))}
    return traffic(
        name,
        clusters=named,
        path=f"/{name}/",
        data_class=draw(st.sampled_from(CLASSES)),
        models=draw(st.sampled_from([None, (MODEL,), ("m2", MODEL)])),
        max_step=draw(st.sampled_from(["0%", "5%", "10%", "25%", "100%"])),
        load_step=draw(st.sampled_from([None, "10%", "50%"])),
        min_dwell=draw(st.sampled_from(["0s", "1s", "30s"])),
        more=more,
    )


@st.composite
def budgets(draw: st.DrawFn, names: list[str]) -> list[Budget]:
    scopes: list[Mapping[str, str]] = [{}, {"policy": "p0"}, {"cluster": names[0]}, {"site": "cloud"}]
    return [
        budget(
            f"b{index}",
            draw(st.sampled_from(scopes)),
            amount=draw(st.sampled_from([0.01, 10.0, 1e6])),
            on_exhausted=draw(st.sampled_from(["shift", "reject"])),
        )
        for index in range(draw(st.integers(0, 2)))
    ]


@st.composite
def fleets(draw: st.DrawFn) -> PolicySet:
    """Fleets that use every word of the policy language; now and then one without a cluster, and so no policy."""
    if draw(st.integers(0, 19)) == 0:
        return fleet(clusters=(), policies=(), rules=[residency()], regions=REGIONS[: draw(st.integers(0, 2))])
    made = draw(clusters())
    names = [one.name for one in made]
    rules = [residency()]
    if draw(st.booleans()):
        rules.append(residency("internal", regions=["eu-west", "eu-central"]))
    return fleet(
        clusters=made,
        policies=[draw(policies(f"p{index}", names)) for index in range(draw(st.integers(1, 3)))],
        rules=rules,
        regions=REGIONS[: draw(st.integers(1, 2))],
        feeds=[feed(), feed("other-prices", max_age="20s"), carbon_feed("grid"), HOURS],
        budgets=draw(budgets(names)),
    )


@cache
def _reports(*, wild: bool) -> tuple[st.SearchStrategy[Any], ...]:
    """Probes, loads, prices, engines, intensities and spends, timed from now; made once, as making them is slow."""
    figure = garbage if wild else sane
    ages = (
        st.one_of(garbage, st.sampled_from([0.0, -START])) if wild else st.sampled_from([0.0, -1.0, -5.0, 5.0, -400.0])
    )
    maybe = st.one_of(st.none(), figure)
    count = st.integers(-1 if wild else 0, 3)
    limited = st.one_of(st.none(), garbage if wild else st.sampled_from([START, START + 1.0, START - 400.0]))
    began = st.one_of(garbage, st.just(0.0)) if wild else st.just(0.0)
    return (
        st.builds(EndpointProbe, ages, count, count, generation_failed=count, limited_at=limited),
        st.builds(Load, ages, figure, figure, figure, st.integers(0, 3), maybe, maybe, maybe, maybe),
        st.builds(Price, ages, figure, maybe),
        st.builds(EngineLoad, ages, maybe, maybe, maybe, maybe, maybe),
        st.builds(Intensity, ages, figure),
        st.builds(Spend, ages, began, figure),
        st.builds(Rate, ages, figure, st.sampled_from(["GPU-hour", "hour", "kWh", "fortnight"])),
    )


def observations(policy: PolicySet, now: float, figure: st.SearchStrategy[float]) -> st.SearchStrategy[Observations]:
    """Observations of what the policy has and of things it never heard of, wrong in every way where ``figure`` is."""
    names = st.sampled_from([*policy.clusters, "unknown"])
    endpoints = sorted({one.key for each in policy.clusters.values() for one in each.spec.endpoints})
    probe, load, price, engine, intensity, spend, rate = _reports(wild=figure is garbage)
    feeds = st.sampled_from(["cloud-prices", "other-prices", "grid", "hours", "unknown"])
    return st.builds(
        Observations,
        st.dictionaries(names, st.dictionaries(st.sampled_from([*endpoints, "unknown"]), probe, max_size=6)),
        st.dictionaries(st.sampled_from([*REGIONS, "unknown"]), st.dictionaries(names, load)),
        st.dictionaries(feeds, st.dictionaries(names, price)),
        st.dictionaries(names, engine),
        st.dictionaries(feeds, st.dictionaries(names, intensity)),
        st.dictionaries(st.sampled_from([*policy.budgets, "unknown"]), spend),
        rates=st.dictionaries(feeds, st.dictionaries(names, rate)),
        edge_probes=st.dictionaries(
            st.sampled_from([*REGIONS, "unknown"]),
            st.dictionaries(names, st.dictionaries(st.sampled_from([*endpoints, "unknown"]), probe, max_size=6)),
            max_size=2,
        ),
    ).map(lambda seen: timed(seen, lambda age: now + age))


def timed(seen: Observations, at: Callable[[float], float]) -> Observations:
    """The same reports with other times; the period that a spend counts follows, too."""
    return Observations(
        {name: {key: replace(one, at=at(one.at)) for key, one in by.items()} for name, by in seen.probes.items()},
        {name: {key: replace(one, at=at(one.at)) for key, one in by.items()} for name, by in seen.load.items()},
        {name: {key: replace(one, at=at(one.at)) for key, one in by.items()} for name, by in seen.prices.items()},
        {name: replace(one, at=at(one.at)) for name, one in seen.engines.items()},
        {name: {key: replace(one, at=at(one.at)) for key, one in by.items()} for name, by in seen.carbon.items()},
        {
            name: replace(one, at=at(one.at), period_start=at(one.period_start) // 86_400 * 86_400)
            for name, one in seen.spend.items()
        },
        rates={name: {key: replace(one, at=at(one.at)) for key, one in by.items()} for name, by in seen.rates.items()},
        edge_probes={
            region: {name: {key: replace(one, at=at(one.at)) for key, one in by.items()} for name, by in told.items()}
            for region, told in seen.edge_probes.items()
        },
    )


def made_at(seen: Observations, now: float) -> Observations:
    """The same reports, every one made now."""
    return timed(seen, lambda _: now)


def overrides(policy: PolicySet, now: float) -> st.SearchStrategy[Overrides]:
    def build(name: str, since: float, ramp: float) -> Drain:
        return Drain(name, now - since, now + 100, "test", "alice", ramp)

    names = st.sampled_from([*sorted(policy.clusters), "unknown"])
    drain = st.builds(build, names, st.floats(0, 50), st.sampled_from([0.0, 20.0]))
    return st.lists(drain, max_size=2).map(lambda drains: Overrides({one.cluster: one for one in drains}))


@st.composite
def histories(draw: st.DrawFn, figure: st.SearchStrategy[float] = sane) -> list[tuple[PolicySet, Decision]]:
    """Some decisions in a row over changing inputs; sometimes the policies change too."""
    policy = draw(fleets())
    now = START
    previous: Decision | None = None
    history = []
    for _ in range(draw(st.integers(1, 6))):
        now += draw(st.sampled_from([0.0, 0.2, 1.0, 6.0, 40.0]))
        if draw(st.integers(0, 5)) == 0:
            policy = draw(fleets())
        previous = decide(policy, draw(observations(policy, now, figure)), draw(overrides(policy, now)), previous, now)
        history.append((policy, previous))
    return history


@st.composite
def plain_fleets(
    draw: st.DrawFn, *, classes: Sequence[str] = ("public",), declared: bool = False, numeric: bool = False
) -> PolicySet:
    """Two to four clusters, the first on-prem, one model, a policy for each class, and nothing but cost to go by.

    With ``declared`` every cluster has a price in the files to fall back on. With ``numeric`` endpoints are addresses
    and not names, which Envoy gets in another way.
    """
    names = NAMES[: draw(st.integers(2, 4))]
    made = [draw(_plain_cluster(name, declared=declared, numeric=numeric)) for name in names]
    limits = st.tuples(
        st.sampled_from(["5%", "10%", "25%", "100%"]),
        st.sampled_from([None, "5%", "30%"]),
        st.sampled_from(["0s", "1s", "10s", "30s"]),
        st.sampled_from(["0%", "10%"]),
    )
    policies = []
    for data_class in classes:
        max_step, load_step, min_dwell, penalty = draw(limits)
        policies.append(
            traffic(
                data_class,
                clusters=names,
                data_class=data_class,
                path=f"/{data_class}/",
                max_step=max_step,
                load_step=load_step,
                min_dwell=min_dwell,
                distance_penalty=penalty,
            )
        )
    return fleet(
        clusters=made, policies=policies, rules=[residency(), residency("internal", regions=list(REGIONS[:1]))]
    )


@st.composite
def _plain_cluster(draw: st.DrawFn, name: str, *, declared: bool, numeric: bool) -> Cluster:
    site = "on_prem" if name == NAMES[0] else draw(st.sampled_from(["on_prem", "cloud", "edge"]))
    region = "eu-west" if name == NAMES[0] else draw(st.sampled_from(["eu-west", "us-east"]))
    endpoints = draw(st.integers(1, 2))
    more: dict[str, Any] = {}
    if numeric:
        at = NAMES.index(name)
        more["endpoints"] = [{"address": f"10.0.{at}.{number + 1}", "port": 8000} for number in range(endpoints)]
    return cluster(
        name,
        site=site,
        region=region,
        concurrency=draw(st.sampled_from([5, 40, 150, 600])),
        price=draw(PRICES) if declared else None,
        endpoints=endpoints,
        headroom=draw(st.sampled_from(["0%", "15%"])),
        more=more,
    )


PRICES = st.integers(10, 100).map(lambda cents: cents / 20)
"""USD a million tokens, so near to one another that any change of them is believed at once."""
RATES = st.sampled_from([0.0, 0.5, 10.0, 80.0, 400.0])
"""Requests a second of a row."""
_EVENTS = st.tuples(
    st.sampled_from(
        ["nothing", "price", "price", "rate", "rate", "die", "fail", "err", "heal", "drain", "undrain", "spend"]
    ),
    st.sampled_from([0.5, 1.0, 1.0, 6.0, 31.0]),
    st.integers(0, 11),
    st.sampled_from([0.2, 0.5, 0.9, 1.1, 2.0, 5.0]),
)
"""What happens, how many seconds later the engine decides, to whom, and by how much."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One decision of a journey, and all that it was made of."""

    policy: PolicySet
    seen: Observations
    overrides: Overrides
    previous: Decision | None
    decision: Decision

    def __repr__(self) -> str:
        # In full a journey fills a megabyte, which Hypothesis refuses to show.
        rows = {"/".join(key): dict(one.weights) for key, one in self.decision.rows.items()}
        return f"Moment({self.decision.at - START:g} s after the start, {rows})"


@st.composite
def journeys(
    draw: st.DrawFn, chosen: st.SearchStrategy[PolicySet] | None = None, *, least: int = 4, most: int = 12
) -> list[Moment]:
    """Decisions in a row in a world where prices, traffic, health, drains and spending change, one at a time."""
    policy = draw(fleets() if chosen is None else chosen)
    world = World(policy)
    world.rates = {key: draw(RATES) for key in policy.rows()}
    world.prices = {name: draw(PRICES) for name in policy.clusters}
    moments: list[Moment] = []
    for kind, elapsed, whom, factor in draw(st.lists(_EVENTS, min_size=least, max_size=most)):
        world.now += elapsed
        happen(world, kind, whom, factor)
        seen, asked, previous = world.observations(), Overrides(dict(world.drains)), world.previous
        world.previous = decide(policy, seen, asked, previous, world.now)
        moments.append(Moment(policy, seen, asked, previous, world.previous))
    return moments


def happen(world: World, kind: str, whom: int, factor: float) -> None:
    """Let something happen to one of a world's clusters, rows or budgets."""
    names, keys, budgets = sorted(world.policy.clusters), sorted(world.rates), sorted(world.policy.budgets)
    if not names:
        return
    name = names[whom % len(names)]
    match kind:
        case "price":
            world.prices[name] *= factor
        case "rate" if keys:
            key = keys[whom % len(keys)]
            world.rates[key] = world.rates[key] * factor or 50.0
        case "die":
            world.failing.add(name)
            world.erring.add(name)
        case "fail":
            world.failing.add(name)
        case "err":
            world.erring.add(name)
        case "heal":
            world.failing.clear()
            world.erring.clear()
        case "drain":
            world.drain(name, ramp=20.0 if factor > 1 else 0.0)
        case "undrain":
            world.drains.clear()
        case "spend" if budgets:
            whose = budgets[whom % len(budgets)]
            midnight = world.now - world.now % 86_400
            world.spend[whose] = Spend(world.now, midnight, factor * world.policy.budgets[whose].spec.amount)
