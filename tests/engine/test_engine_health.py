"""When the engine calls a cluster down, when it does not believe it, and how a cluster comes back."""

from dataclasses import replace

from penstock_policies.decision import ClusterHealth, Decision, HealthState
from penstock_policies.engine import decide
from penstock_policies.observations import EndpointProbe, Load, Observations
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, START, US, World, cluster, fleet, onprem, row

UP, PROBATION, RAMP, DOWN = HealthState.UP, HealthState.PROBATION, HealthState.RAMP, HealthState.DOWN


def seen(now: float, *, failed: int = 0, ok: int = 0, name: str = EU, load: Load | None = None) -> Observations:
    return Observations(
        probes={name: {f"{name}-0.example.com:8000": EndpointProbe(now, ok, failed)}},
        load={"eu-west": {name: load}} if load is not None else {},
    )


def next_health(observed: Observations, previous: Decision | None, now: float) -> ClusterHealth:
    return decide(fleet(), observed, Overrides(), previous, now).health[EU]


def decision_with(health: ClusterHealth) -> Decision:
    made = World(fleet()).tick()
    return replace(made, health={**made.health, EU: health})


def test_a_cluster_nobody_has_probed_is_served() -> None:
    assert next_health(Observations(), None, START).state is UP


def test_failures_below_the_threshold_change_nothing() -> None:
    assert next_health(seen(START, failed=1), None, START).state is UP
    assert next_health(seen(START, failed=2), None, START).state is DOWN


def test_a_down_cluster_needs_its_threshold_of_good_probes_to_return() -> None:
    down = decision_with(ClusterHealth(DOWN, START, 0.0, (f"{EU}-0.example.com:8000",)))
    assert next_health(seen(START + 5, ok=1), down, START + 5).state is DOWN
    assert next_health(seen(START + 5, ok=2), down, START + 5).state is PROBATION


def test_one_endpoint_failing_does_not_bring_its_cluster_down() -> None:
    world = World(fleet())
    world.failing = {f"{ONPREM}-1.example.com:8000"}
    health = world.tick().health[ONPREM]
    assert health.state is UP
    assert health.unhealthy_endpoints == (f"{ONPREM}-1.example.com:8000",)
    assert "1 of 2 endpoints" in health.reason


def test_any_failure_on_the_way_back_starts_over() -> None:
    world = World(fleet())
    world.failing = {EU}
    world.run(3)
    world.failing = set()
    world.run(12)
    assert world.previous is not None
    assert world.previous.health[EU].state is RAMP
    world.failing = {EU}
    assert world.tick().health[EU].state is DOWN


def test_the_ramp_waits_while_requests_fail() -> None:
    ramping = decision_with(ClusterHealth(RAMP, START, 0.05))
    now = START + 60
    failing = seen(now, ok=9, load=Load(now, 1, request_rate=10, error_rate=3))
    assert next_health(failing, ramping, now).ceiling == 0.05
    assert next_health(seen(now, ok=9), ramping, now).ceiling == 0.10


def test_stale_probes_hold_every_state() -> None:
    down = ClusterHealth(DOWN, START, 0.0, (f"{EU}-0.example.com:8000",))
    for held in (ClusterHealth(UP, START), ClusterHealth(RAMP, START, 0.2), down):
        old = seen(START, failed=9) if held.state is UP else seen(START, ok=9)
        after = next_health(old, decision_with(held), START + 60)
        assert (after.state, after.ceiling) == (held.state, held.ceiling)


def test_requests_that_succeed_outrank_probes_that_fail() -> None:
    now = START + 10
    alive = Load(now, 5, request_rate=10, error_rate=0.1, success_rate=9)
    assert next_health(seen(now, failed=9, load=alive), None, now).state is UP


def test_requests_that_hang_prove_no_life() -> None:
    now = START + 10
    for load in (
        Load(now, 500, request_rate=10, error_rate=0, success_rate=0),
        Load(now, 500, request_rate=10, error_rate=0),
        Load(now, 5, request_rate=0.5, error_rate=0, success_rate=0.5),
        Load(now - 5, 5, request_rate=10, error_rate=0, success_rate=10),
    ):
        assert next_health(seen(now, failed=9, load=load), None, now).state is DOWN


def test_half_of_the_clusters_failing_is_believed_more_is_not() -> None:
    policy = fleet(clusters=(onprem(), cluster(EU), cluster(US), cluster("cloud-4")))
    world = World(policy)
    world.tick()
    world.failing = {ONPREM, EU}
    assert world.tick().frozen == ""
    other = World(policy)
    other.tick()
    other.failing = {ONPREM, EU, US}
    assert "3 of 4" in other.tick().frozen


def test_failures_a_few_seconds_apart_count_as_one_event() -> None:
    world = World(fleet())
    world.tick()
    world.failing = {EU}
    assert world.tick().health[EU].state is DOWN
    world.failing = {EU, US}
    decision = world.run(5)
    assert decision.frozen
    assert decision.health[US].state is UP


def test_a_freeze_lasts_as_long_as_most_probes_fail() -> None:
    world = World(fleet())
    world.tick()
    world.failing = {EU}
    world.tick()
    world.failing = {EU, US}
    decision = world.run(120)
    assert decision.frozen
    assert decision.health[US].state is UP


def test_the_only_cluster_is_believed_to_be_down() -> None:
    world = World(fleet(clusters=(onprem(),), policies=(fleet().policies["records"],)))
    world.tick()
    world.failing = {ONPREM}
    decision = world.tick()
    assert decision.frozen == ""
    assert decision.health[ONPREM].state is DOWN
    assert decision.rows[row("records")].weights == {ONPREM: 10_000}


def test_an_endpoint_that_left_the_policy_is_forgotten() -> None:
    held = decision_with(ClusterHealth(UP, START, 1.0, ("gone.example.com:8000",)))
    assert next_health(Observations(), held, START + 1).unhealthy_endpoints == ()
