"""The arithmetic for accepting or refusing a drain."""

import pytest

from penstock_policies.engine.drain_check import DrainImpact, drain_impact
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, US, World, cluster, fleet, onprem, records, row, traffic


def world(rate: float, *, eu_concurrency: int = 600, restricted: bool = False) -> World:
    policies = (traffic(clusters=(ONPREM, EU)), records()) if restricted else (traffic(clusters=(ONPREM, EU)),)
    made = World(fleet(clusters=(onprem(), cluster(EU, concurrency=eu_concurrency)), policies=policies))
    made.rates = {row(): rate}
    made.run(120)
    return made


def impact(world: World, name: str) -> DrainImpact:
    assert world.previous is not None
    return drain_impact(
        world.policy, world.observations(), Overrides(dict(world.drains)), world.previous, name, world.now
    )


def test_a_drain_the_rest_can_carry_is_feasible() -> None:
    found = impact(world(100.0), ONPREM)
    assert found.feasible
    assert found.utilisation == pytest.approx(100 / 600, rel=0.02)
    assert f"({EU}) would run at 17% of its capacity (100 of 600 requests in flight)" in found.sentence


def test_a_drain_the_rest_cannot_carry_says_by_how_much() -> None:
    found = impact(world(131.0, eu_concurrency=100), ONPREM)
    assert not found.feasible
    assert found.utilisation == pytest.approx(1.31, rel=0.02)
    assert found.sentence == (
        f"Draining {ONPREM} moves about 131 requests in flight; what remains ({EU}) would run at 131% of its capacity "
        "(131 of 100 requests in flight)."
    )
    (affected,) = found.rows
    assert affected.in_flight == pytest.approx(131, rel=0.02)
    (rest,) = affected.remaining
    assert (rest.cluster, rest.capacity, rest.load_before) == (EU, 100, 0)


def test_rows_that_would_have_nobody_left_are_named() -> None:
    found = impact(world(10.0, restricted=True), ONPREM)
    assert not found.feasible
    assert found.stranded == (row("records"),)
    assert "records/eu-west/llama-3-70b" in found.sentence


def test_a_down_cluster_is_nobody_to_lean_on() -> None:
    made = world(10.0)
    made.failing = made.erring = {EU}
    made.tick()
    found = impact(made, ONPREM)
    assert not found.feasible
    assert found.stranded == (row(),)


def test_a_drain_under_way_is_counted_as_done() -> None:
    policy = fleet(policies=(traffic(),))
    made = World(policy, rates={row(): 50.0})
    made.drain(EU, ramp=600.0)
    made.run(5)
    (affected,) = impact(made, ONPREM).rows
    assert [rest.cluster for rest in affected.remaining] == [US]


def test_an_unused_cluster_drains_without_a_ripple() -> None:
    found = impact(world(50.0), EU)
    assert found.feasible
    assert found.sentence == f"Nothing would have to move off {EU}."


def test_draining_the_same_cluster_again_is_judged_as_the_first_time() -> None:
    made = world(100.0)
    made.drain(ONPREM)
    made.tick()
    assert impact(made, ONPREM).utilisation == pytest.approx(100 / 600, rel=0.02)


def test_an_unknown_cluster_is_an_error() -> None:
    with pytest.raises(KeyError, match="nowhere"):
        impact(world(1.0), "nowhere")
