"""Random fleets, histories and garbage, for the engine's property tests."""

import math
from collections.abc import Mapping
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import EndpointProbe, EngineLoad, Intensity, Load, Observations, Price, Spend
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Budget, Cluster, TrafficPolicy
from tests.engine.engine_world import (
    CLASSES,
    MODEL,
    START,
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

sane = st.floats(0, 500)
garbage = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-300, 1e300, 5e-324, 1e9, START * 1000]),
)


def examples(count: int) -> settings:
    """Run ``count`` examples in the profile ``ci`` and as many times more as the profile in force asks for."""
    # Without shrinking: a whole history of fleets takes minutes to shrink and is read as well as it is.
    phases = (Phase.explicit, Phase.generate)
    return settings(max_examples=max(1, count * settings().max_examples // _CI_EXAMPLES), phases=phases)


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
    more: dict[str, Any] = {"capacity": capacity, "latency": latency}
    if draw(st.integers(0, 3)) == 0:
        more["spot"] = {"confidence": draw(st.sampled_from(["10%", "70%", "100%"]))}
    if draw(st.booleans()):
        more["carbon"] = {"gramsPerMillionTokens": draw(st.sampled_from([0.0, 40.0])), "feed": "grid", "key": name}
    models = draw(st.sampled_from([(MODEL,), (MODEL, "m2"), ("m2",)]))
    return cluster(
        name,
        site=draw(st.sampled_from(["on_prem", "cloud", "edge"])),
        region=draw(st.sampled_from(["eu-west", "eu-central", "us-east"])),
        price=draw(st.one_of(st.none(), st.just(0.0), st.floats(1e-3, 10))),
        feed=draw(st.sampled_from([None, "cloud-prices", "other-prices"])),
        endpoints=draw(st.integers(1, 3)),
        models=models,
        versions=draw(st.dictionaries(st.sampled_from(models), st.sampled_from(["v1", "v2", "v3"]))),
        more=more,
    )


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
        feeds=[feed(), feed("other-prices", max_age="20s"), carbon_feed("grid")],
        budgets=draw(budgets(names)),
    )


def observations(policy: PolicySet, now: float, figure: st.SearchStrategy[float]) -> st.SearchStrategy[Observations]:
    """Observations of what the policy has and of things it never heard of, wrong in every way where ``figure`` is."""
    wild = figure is garbage
    names = st.sampled_from([*policy.clusters, "unknown"])
    at = st.one_of(garbage, st.just(now)) if wild else st.sampled_from([now, now - 1, now - 5, now + 5, now - 400])
    maybe = st.one_of(st.none(), figure)
    endpoints = sorted({one.key for each in policy.clusters.values() for one in each.spec.endpoints})
    count = st.integers(-1, 3) if wild else st.integers(0, 3)
    probe = st.builds(EndpointProbe, at, count, count)
    load = st.builds(Load, at, figure, figure, figure, st.integers(0, 3), maybe, maybe, maybe, maybe)
    feeds = st.sampled_from(["cloud-prices", "other-prices", "grid", "unknown"])
    midnight = now - now % 86_400
    began = st.one_of(garbage, st.just(midnight)) if wild else st.just(midnight)
    return st.builds(
        Observations,
        st.dictionaries(names, st.dictionaries(st.sampled_from([*endpoints, "unknown"]), probe, max_size=6)),
        st.dictionaries(st.sampled_from([*REGIONS, "unknown"]), st.dictionaries(names, load)),
        st.dictionaries(feeds, st.dictionaries(names, st.builds(Price, at, figure))),
        st.dictionaries(names, st.builds(EngineLoad, at, maybe, maybe, maybe, maybe, maybe)),
        st.dictionaries(feeds, st.dictionaries(names, st.builds(Intensity, at, figure))),
        st.dictionaries(st.sampled_from([*policy.budgets, "unknown"]), st.builds(Spend, at, began, figure)),
    )


def overrides(policy: PolicySet, now: float) -> st.SearchStrategy[Overrides]:
    def build(name: str, since: float, ramp: float) -> Drain:
        return Drain(name, now - since, now + 100, "test", "alice", ramp)

    drain = st.builds(build, st.sampled_from(sorted(policy.clusters)), st.floats(0, 50), st.sampled_from([0.0, 20.0]))
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
