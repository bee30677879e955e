"""A clock that is stepped back must not stop the engine: nothing waits for the time to come round again."""

from dataclasses import replace

from penstock_policies.decision import HealthState
from tests.engine.engine_world import EU, ONPREM, World, fleet, row

HOUR, DAY = 3600.0, 86_400.0


def stepped_back(world: World, seconds: float) -> None:
    world.now -= seconds


def test_load_is_still_matched() -> None:
    world = World(fleet(), rates={row(): 150.0})
    world.run(120)
    before = world.weights()[ONPREM]
    stepped_back(world, HOUR)
    world.rates[row()] = 300.0
    world.run(15)
    assert world.weights()[ONPREM] < before * 0.7


def test_a_cluster_that_is_well_again_comes_back() -> None:
    world = World(fleet(), rates={row(): 100.0})
    world.run(60)
    world.failing = world.erring = {ONPREM}
    assert world.run(10).health[ONPREM].state is HealthState.DOWN
    stepped_back(world, DAY)
    world.failing = world.erring = set()
    assert world.run(120).health[ONPREM].state is HealthState.UP
    assert world.weights()[ONPREM] == 10_000


def test_a_hold_lasts_as_long_as_it_would_have() -> None:
    world = World(fleet())
    world.run(60)
    for _ in range(2):
        world.failing = {ONPREM}
        world.tick()
        world.failing = set()
        world.run(3)
    assert world.previous is not None
    assert world.previous.health[ONPREM].hold == 10.0
    stepped_back(world, HOUR)
    assert world.tick().health[ONPREM].state is HealthState.DOWN
    assert world.run(10).health[ONPREM].state is not HealthState.DOWN


def test_the_step_itself_moves_nothing() -> None:
    world = World(fleet(), rates={row(): 150.0})
    world.run(120)
    other = replace(world)
    stepped_back(other, DAY)
    for _ in range(30):
        world.tick()
        other.tick()
        assert other.weights() == world.weights()


def test_prices_keep_their_age() -> None:
    world = World(fleet(), rates={row(): 150.0})
    world.run(60)
    view = world.tick().clusters[EU]
    stepped_back(world, HOUR)
    world.prices = {}
    later = world.run(5).clusters[EU]
    assert view.price == later.price
    assert view.price_age is not None
    assert later.price_age is not None
    assert 4 <= later.price_age - view.price_age <= 6
