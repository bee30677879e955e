"""When the engine calls a cluster down, when it does not believe it, and how a cluster comes back."""

from dataclasses import replace

from penstock_policies.decision import ClusterHealth, Decision, HealthState
from penstock_policies.engine import decide
from penstock_policies.observations import EndpointProbe, Load, Observations, Price
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


def erring(now: float, share: float = 0.6, rate: float = 10.0) -> Observations:
    load = Load(now, 5, request_rate=rate, error_rate=rate * share, success_rate=rate * (1 - share))
    return seen(now, ok=9, load=load)


def after_erring(seconds: float, *, share: float = 0.6, rate: float = 10.0) -> ClusterHealth:
    decision: Decision | None = None
    for tick in range(round(seconds) + 1):
        decision = decide(fleet(), erring(START + tick, share, rate), Overrides(), decision, START + tick)
    assert decision is not None
    return decision.health[EU]


def test_requests_that_go_on_failing_outrank_probes_that_succeed() -> None:
    assert after_erring(2).state is UP
    fallen = after_erring(3)
    assert fallen.state is DOWN
    assert "requests fail though probes succeed" in fallen.reason


def test_a_moment_of_errors_some_errors_or_a_few_requests_prove_nothing() -> None:
    assert after_erring(60, share=0.4).state is UP
    assert after_erring(4, rate=2.0).state is UP
    assert after_erring(15, rate=0.5).state is UP
    world = World(fleet(), rates={row(): 100.0})
    for _ in range(5):
        world.erring = {ONPREM}
        world.run(2)
        world.erring = set()
        world.run(2)
    assert world.previous is not None
    assert world.previous.health[ONPREM].state is UP


def test_thin_traffic_that_goes_on_failing_is_counted_until_it_proves_something() -> None:
    fallen = after_erring(60, rate=0.5)
    assert fallen.state is DOWN
    assert "requests fail though probes succeed" in fallen.reason
    assert after_erring(60, rate=0.5, share=0.4).state is UP


def test_thin_traffic_with_pauses_is_counted_over_them() -> None:
    decision: Decision | None = None
    for tick in range(90):
        # Two requests a second, then three seconds without any.
        rate = 2.0 if tick % 4 == 0 else 0.0
        decision = decide(fleet(), erring(START + tick, 1.0, rate), Overrides(), decision, START + tick)
        if decision.health[EU].state is DOWN:
            break
    assert 15 < tick < 45


def test_a_cluster_nobody_hears_of_any_more_gets_no_more_than_it_has() -> None:
    world = World(fleet(clusters=(onprem(concurrency=20), cluster(EU), cluster(US, region="us-east"))))
    world.rates = {row(): 100.0}
    world.run(60)
    assert world.weights()[US] == 0
    lost = world.observations().probes[US]
    world.prices = {EU: 1.0, US: 0.1}
    for _ in range(200):
        world.now += 1
        seen = world.observations()
        seen = replace(seen, probes={**seen.probes, US: lost}, prices={} if world.now - START < 100 else seen.prices)
        world.previous = decide(world.policy, seen, Overrides(), world.previous, world.now)
    assert world.weights()[US] == 0
    assert world.previous is not None
    assert any(note.message == "not heard of, gets no more" for note in world.previous.notes)
    world.run(200)
    assert world.weights()[US] > 5000


def test_a_grey_failure_comes_back_through_a_hold_and_one_percent() -> None:
    world = World(fleet(), rates={row(): 500.0})
    world.run(5)
    world.erring = {ONPREM}
    fell = next(health for _ in range(10) if (health := world.tick().health[ONPREM]).state is DOWN)
    assert world.weights()[ONPREM] == 0
    world.erring = set()
    assert world.run(9).health[ONPREM].state is DOWN
    back = world.tick().health[ONPREM]
    assert (back.state, back.ceiling, fell.hold) == (PROBATION, 0.01, 10.0)


def test_requests_that_fail_everywhere_are_not_the_clusters_fault() -> None:
    world = World(fleet(policies=(fleet().policies["chat"],)), rates={row(): 400.0})
    world.run(60)
    world.erring = {ONPREM, EU, US}
    before = world.weights()
    decision = world.run(10)
    assert {health.state for health in decision.health.values()} == {UP}
    assert world.weights() == before
    assert any("requests fail at every cluster" in note.message for note in decision.notes)


def fall(world: World, name: str) -> float:
    """Let a cluster fail for a second, and give the seconds until it serves again."""
    world.failing = {name}
    assert world.tick().health[name].state is DOWN
    world.failing = set()
    for second in range(1, 1000):
        if world.tick().health[name].state is not DOWN:
            return second
    raise AssertionError("never came back")


def test_the_first_fall_costs_no_extra_second_and_each_soon_after_holds_twice_as_long() -> None:
    world = World(fleet())
    world.tick()
    assert [fall(world, EU) for _ in range(5)] == [1, 10, 20, 40, 80]


def test_a_hold_never_grows_beyond_ten_minutes() -> None:
    held = decision_with(ClusterHealth(UP, START, hold=600.0, fell_at=START - 700))
    fallen = next_health(seen(START + 10, failed=9), held, START + 10)
    assert (fallen.state, fallen.hold) == (DOWN, 600.0)


def test_ten_minutes_up_earn_a_cluster_its_good_name_back() -> None:
    world = World(fleet())
    world.tick()
    assert [fall(world, EU), fall(world, EU)] == [1, 10]
    world.run(700, step=5.0)
    assert fall(world, EU) == 1


def test_a_held_cluster_serves_where_nobody_else_can() -> None:
    world = World(fleet())
    world.tick()
    fall(world, ONPREM)
    world.failing = {ONPREM}
    world.tick()
    world.failing = set()
    decision = world.tick()
    assert decision.health[ONPREM].state is DOWN
    assert decision.rows[row("records")].weights == {ONPREM: 10_000}


def test_when_nothing_is_heard_any_more_the_weights_are_held_and_it_is_said() -> None:
    world = World(fleet(), rates={row(): 100.0})
    world.run(10)
    last = world.observations()
    before = world.weights()
    decision = decide(world.policy, last, Overrides(), world.previous, world.now + 9)
    assert decision.frozen == ""
    later = replace(last, prices={"cloud-prices": {EU: Price(world.now + 60, 0.0001)}})
    decision = decide(world.policy, later, Overrides(), decision, world.now + 60)
    assert decision.frozen == "every probe and load report is stale"
    assert decision.rows[row()].weights == before
    assert "held because every probe" in decision.rows[row()].reason
    world.previous = decision
    world.now += 61
    assert world.tick().frozen == ""
