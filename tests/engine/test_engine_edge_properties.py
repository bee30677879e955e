"""Whatever regions claim to see, decisions keep the rules, and no region speaks for another."""

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_policies.decision import HealthState
from penstock_policies.engine import decide
from penstock_policies.engine.verify import verify
from penstock_policies.observations import EndpointProbe, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.serial import from_json, to_json
from tests.engine.edge_world import EAST, WEST, EdgeWorld, busy
from tests.engine.engine_world import EU, ONPREM, START, US, row

NAMES = (ONPREM, EU, US)
TIMES = st.sampled_from([START, START + 1, START - 1e6, START + 1e9, math.nan, math.inf, -math.inf, 0.0])
PROBES = st.builds(EndpointProbe, TIMES, st.integers(-2, 200), st.integers(-2, 200))
ENDPOINTS = st.sampled_from([f"{name}-{index}.example.com:8000" for name in NAMES for index in (0, 1)] + ["10.9.9.9:1"])
CLAIMS = st.dictionaries(
    st.sampled_from([WEST, EAST, "mars"]),
    st.dictionaries(st.sampled_from([*NAMES, "nowhere"]), st.dictionaries(ENDPOINTS, PROBES, max_size=3), max_size=4),
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CLAIMS, min_size=1, max_size=4))
def test_garbage_from_the_edge_breaks_no_rule(claims: list[dict[str, dict[str, dict[str, EndpointProbe]]]]) -> None:
    world = EdgeWorld()
    decision = None
    for tick, claimed in enumerate(claims):
        now = START + 5 * tick
        decision = decide(world.policy, Observations(edge_probes=claimed), Overrides(), decision, now)
        verify(world.policy, decision)
        assert from_json(to_json(decision)) == decision
        assert decision.rows[row("records", WEST)].weights == {ONPREM: 10_000}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from(NAMES)), st.booleans(), st.sampled_from([1, 3, 12])), min_size=1, max_size=5
    )
)
def test_what_one_region_loses_another_keeps(story: list[tuple[set[str], bool, int]]) -> None:
    world = busy(EdgeWorld(), rate=5.0)
    world.run(2)
    for lost, silent, ticks in story:
        world.unreachable = {WEST: lost}
        world.heard = {WEST: world.heard.get(WEST, world.now)} if silent else {}
        decision = world.run(ticks)
        verify(world.policy, decision)
        assert {one.state for one in decision.edge_health[EAST].values()} == {HealthState.UP}
        assert EAST not in decision.frozen_regions
        assert sum(decision.rows[row("chat", EAST)].weights.values()) == 10_000
        # Well from somewhere, so its capacity is whole.
        assert {name: one.state for name, one in decision.health.items()} == dict.fromkeys(NAMES, HealthState.UP)
        for name in NAMES:
            assert replace(decision.health[name], reason="").unhealthy_endpoints == ()
