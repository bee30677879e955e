"""The stories of an operator's day, driven through the engine second by second."""

import pytest

from penstock_policies.decision import HealthState, Rung
from penstock_policies.serial import from_json, material_digest, to_json
from tests.engine.engine_world import EU, ONPREM, US, World, cluster, fleet, onprem, records, residency, row, traffic

RESTRICTED = row("records")


def busy(rate: float = 100.0, **more: object) -> World:
    """A world in which the public policy has carried ``rate`` requests a second for a minute."""
    world = World(fleet(), rates={row(): rate, RESTRICTED: 5.0}, **more)  # type: ignore[arg-type] # test shorthand
    world.run(60)
    return world


def peaking() -> World:
    """A world whose peak has been spilling for minutes."""
    world = busy()
    world.rates[row()] = 300.0
    world.run(240)
    return world


def test_an_idle_fleet_sends_everything_to_its_first_choice() -> None:
    decision = World(fleet()).tick()
    assert decision.rows[row()].weights == {ONPREM: 10_000, EU: 0, US: 0}
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}
    assert decision.rung is Rung.OPTIMUM


def test_steady_traffic_that_fits_stays_on_prem() -> None:
    assert busy().weights() == {ONPREM: 10_000, EU: 0, US: 0}


def test_a_peak_spills_what_does_not_fit_to_the_cheapest_near_cloud() -> None:
    world = peaking()
    weights = world.weights()
    assert weights[US] == 0
    # 160 concurrent less 15 % headroom and the restricted row's 5, of 300 in flight at a second each.
    assert weights[ONPREM] / 10_000 == pytest.approx((136 - 5) / 300, abs=0.03)
    assert weights[EU] == 10_000 - weights[ONPREM]
    assert world.previous is not None
    assert f"{ONPREM} {weights[ONPREM] / 10_000:.1%} (on-prem, 0.02 USD/Mtok, full by plan at 136 in flight)" in (
        world.previous.rows[row()].reason
    )


def test_a_peak_spills_no_faster_than_the_load_step_each_five_seconds() -> None:
    world = World(fleet(policies=(traffic(load_step="10%"), records())), rates={row(): 100.0, RESTRICTED: 5.0})
    world.run(60)
    world.rates[row()] = 1000.0
    before = world.weights()[ONPREM]
    for _ in range(6):
        world.run(5)
        assert before - world.weights()[ONPREM] <= 1000
        before = world.weights()[ONPREM]
    assert before < 6000


def test_a_peak_is_off_the_full_cluster_within_seconds_unless_steps_are_asked_for() -> None:
    world = World(fleet(policies=(traffic(),)), rates={row(): 100.0})
    world.run(60)
    world.rates[row()] = 400.0
    world.run(20)
    assert 400 * world.weights()[ONPREM] / 10_000 <= 160
    world.run(60)
    assert world.weights()[ONPREM] / 10_000 == pytest.approx(136 / 400, abs=0.03)


def test_traffic_comes_home_when_the_peak_is_over() -> None:
    world = peaking()
    world.rates[row()] = 50.0
    world.run(120)
    assert world.weights() == {ONPREM: 10_000, EU: 0, US: 0}


def test_a_price_drop_moves_the_spill_in_steps_of_the_policy() -> None:
    world = peaking()
    spilled = world.weights()[EU]
    world.prices[US] = 0.60
    decision = world.tick()
    assert world.weights()[US] == pytest.approx(1000, abs=50)
    assert "to save cost" in decision.rows[row()].reason
    first = world.weights()[US]
    world.run(29)
    assert world.weights()[US] == first
    world.run(2)
    assert world.weights()[US] == pytest.approx(2000, abs=100)
    world.run(300)
    assert world.weights()[EU] == 0
    assert world.weights()[US] == pytest.approx(spilled, abs=300)


def test_a_saving_too_small_moves_nothing() -> None:
    world = peaking()
    before = world.weights()
    world.prices[US] = 0.75 * 0.98  # with its mark-up for distance 2 % below the EU's price
    world.run(120)
    assert world.weights() == before


def test_a_dead_cloud_loses_all_traffic_at_once() -> None:
    world = peaking()
    world.failing = world.erring = {EU}
    decision = world.tick()
    assert decision.health[EU].state is HealthState.DOWN
    assert decision.rows[row()].weights[EU] == 0
    assert EU in decision.rows[row()].weights, "its route stays, so that Envoy's routes do not change shape"
    assert "refused" in decision.rows[row()].excluded[EU]


def test_with_on_prem_down_public_traffic_fails_over_and_restricted_stays_home() -> None:
    world = busy()
    world.failing = world.erring = {ONPREM}
    decision = world.tick()
    assert decision.rows[row()].weights == {ONPREM: 0, EU: 10_000, US: 0}
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}
    assert decision.rows[RESTRICTED].legs == {ONPREM: (ONPREM,)}
    assert "down" in decision.rows[RESTRICTED].reason


def test_a_recovered_cluster_is_trusted_step_by_step() -> None:
    world = busy()
    world.failing = world.erring = {ONPREM}
    world.run(10)
    world.failing = world.erring = set()
    ceilings = []
    shares = []
    for _ in range(60):
        decision = world.tick()
        ceilings.append(decision.health[ONPREM].ceiling)
        shares.append(decision.rows[row()].weights[ONPREM] / 10_000)
        assert shares[-1] <= ceilings[-1] + 1e-4
    assert list(dict.fromkeys(ceilings)) == [0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert shares[0] == 0.01
    assert sorted(shares) == shares
    world.run(120)
    assert world.weights()[ONPREM] == 10_000


def test_a_recovering_cluster_carries_everything_where_nobody_else_can() -> None:
    world = busy()
    world.failing = {ONPREM}
    world.silent = True
    world.run(10)
    world.failing = set()
    decision = world.tick()
    assert decision.health[ONPREM].state is HealthState.PROBATION
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}


def test_a_drain_takes_effect_in_the_very_next_decision() -> None:
    world = busy()
    world.drain(ONPREM)
    decision = world.tick(0.001)
    assert decision.rows[row()].weights == {EU: 10_000, US: 0}
    assert decision.rows[row()].legs == {EU: (EU, US), US: (US, EU)}
    assert decision.rows[row()].excluded[ONPREM] == "drained"
    assert decision.draining == {ONPREM: 0.0}
    assert decision.rows[RESTRICTED].weights == {}
    assert decision.rows[RESTRICTED].reason == f"Refused: {ONPREM} drained."


def test_a_ramped_drain_sinks_evenly_and_ends_at_nothing() -> None:
    world = busy()
    world.drain(ONPREM, ramp=20.0)
    shares = [world.tick().rows[row()].weights.get(ONPREM) for _ in range(21)]
    assert shares[4] == 7500
    assert shares[9] == 5000
    assert shares[14] == 2500
    assert shares[-1] is None


def test_a_ramped_drain_of_a_partly_used_cluster_bites_from_its_first_second() -> None:
    world = peaking()
    before = world.weights()[EU]
    world.drain(EU, ramp=20.0)
    world.run(10)
    assert world.weights()[EU] == pytest.approx(before / 2, abs=150)


def test_an_undrained_cluster_returns_in_steps() -> None:
    world = busy()
    world.drain(ONPREM)
    world.run(30)
    world.drains.clear()
    decision = world.tick()
    assert decision.rows[row()].weights[ONPREM] == 1000
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}
    world.run(120)
    assert world.weights()[ONPREM] == 10_000


def test_a_drain_ends_by_itself() -> None:
    world = busy()
    world.drain(ONPREM, last=10.0)
    world.run(9)
    assert ONPREM not in world.weights()
    world.run(2)
    assert ONPREM in world.weights()


def test_when_most_probes_fail_together_the_weights_are_frozen() -> None:
    world = peaking()
    before = world.weights()
    world.silent = True
    world.failing = {ONPREM, EU, US}
    world.prices[US] = 0.10
    decision = world.run(120)
    assert "3 of 3" in decision.frozen
    assert world.weights() == before
    assert {health.state for health in decision.health.values()} == {HealthState.UP}
    assert "held because" in decision.rows[row()].reason


def test_an_operator_is_obeyed_even_when_frozen() -> None:
    world = peaking()
    world.failing = {ONPREM, EU, US}
    world.silent = True
    world.run(5)
    world.drain(EU)
    world.tick()
    assert EU not in world.weights()


def test_a_freeze_ends_when_the_prober_sees_again() -> None:
    world = peaking()
    world.failing = {ONPREM, EU, US}
    world.silent = True
    world.run(5)
    world.failing = set()
    world.silent = False
    assert world.tick().frozen == ""


def test_failures_that_requests_confirm_are_believed_however_many() -> None:
    world = peaking()
    world.failing = world.erring = {ONPREM, EU}
    decision = world.tick()
    assert decision.frozen == ""
    assert decision.rows[row()].weights == {ONPREM: 0, EU: 0, US: 10_000}


def test_a_stale_price_moves_no_traffic() -> None:
    world = peaking()
    before = world.weights()
    world.priced_at = {EU: world.now, US: world.now}
    world.run(610)
    world.prices[US] = 0.10  # from a reader that hangs: its time stays old
    decision = world.run(120)
    assert decision.clusters[US].price_source == "feed cloud-prices (stale)"
    assert decision.clusters[US].price == 1.00
    assert world.weights() == before


def test_a_fresh_price_moves_nothing_off_or_on_to_a_stale_one() -> None:
    world = peaking()
    before = world.weights()
    world.priced_at = {US: world.now}
    world.run(610)
    world.prices[EU] = 5.00
    world.run(120)
    assert world.weights() == before
    world.priced_at.clear()
    world.run(240)
    assert world.weights()[EU] == 0, "once the other price is fresh again, the move is made"


def test_restricted_traffic_gets_its_room_first_where_policies_share_a_cluster() -> None:
    world = World(fleet(), rates={row(): 200.0, RESTRICTED: 100.0})
    decision = world.run(240)
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}
    assert decision.rows[RESTRICTED].demand == pytest.approx(100, rel=0.05)
    assert world.weights()[ONPREM] / 10_000 == pytest.approx(36 / 200, abs=0.04)


def test_a_restart_from_json_continues_as_if_nothing_had_happened() -> None:
    world = peaking()
    assert world.previous is not None
    world.prices[US] = 0.60
    other = peaking()
    other.prices[US] = 0.60
    other.previous = from_json(to_json(world.previous))
    assert to_json(other.run(90)) == to_json(world.run(90))


def test_a_silent_edge_holds_the_weights() -> None:
    world = peaking()
    before = world.weights()
    world.silent = True
    world.run(120)
    assert world.weights() == before


def test_nothing_is_worth_publishing_while_nothing_changes() -> None:
    world = peaking()
    assert world.previous is not None
    digest = material_digest(world.previous)
    for _ in range(60):
        assert material_digest(world.tick()) == digest


def test_more_than_everybody_can_carry_is_spread_by_capacity_and_said() -> None:
    policy = fleet(clusters=(onprem(), cluster(EU, concurrency=320)), policies=(traffic(clusters=(ONPREM, EU)),))
    world = World(policy, rates={row(): 1000.0})
    decision = world.run(240)
    assert world.weights()[ONPREM] / 10_000 == pytest.approx(1 / 3, abs=0.03)
    assert "exceeds the planned capacity" in decision.rows[row()].reason


def test_a_cluster_with_half_its_endpoints_gone_is_planned_for_half() -> None:
    world = World(fleet(), rates={row(): 130.0})
    world.run(30)
    assert world.weights()[ONPREM] == 10_000
    world.failing = {f"{ONPREM}-0.example.com:8000"}
    decision = world.run(120)
    assert decision.clusters[ONPREM].capacity == 68
    assert world.weights()[ONPREM] / 10_000 == pytest.approx(68 / 130, abs=0.04)


def test_a_policy_edit_that_forbids_a_cluster_is_obeyed_at_once() -> None:
    world = peaking()
    assert world.weights()[EU] > 0
    world.policy = fleet(rules=(residency(), residency("public", sites=["on_prem"])))
    decision = world.tick()
    assert decision.rows[row()].weights == {ONPREM: 10_000}
    assert decision.rows[row()].excluded[EU] == "rule rule-public allows public data only at on_prem"


def test_a_new_policy_starts_at_its_target() -> None:
    world = busy()
    world.policy = fleet(policies=(traffic(), records(), traffic("batch", clusters=(EU, US))))
    decision = world.tick()
    assert decision.rows[row("batch")].weights == {EU: 10_000, US: 0}


def test_every_edge_region_has_its_own_row_and_spills_near() -> None:
    world = World(fleet(regions=("eu-west", "us-east")))
    world.prices = {EU: 1.0, US: 1.0}
    world.rates = {row(): 300.0, row(region="us-east"): 300.0}
    world.run(300)
    american = world.weights(row(region="us-east"))
    assert (american[EU], world.weights()[US]) == (0, 0)
    assert american[US] > 5000
    assert world.weights()[EU] > 3000
    assert 300 * (american[ONPREM] + world.weights()[ONPREM]) / 10_000 <= 140, (
        "the room on-prem is shared, not taken twice"
    )
