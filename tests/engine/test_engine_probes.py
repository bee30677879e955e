"""What deeper probes change: failed generations make an endpoint unhealthy, 429 lowers capacity, and nothing else."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from penstock_policies.decision import Decision, HealthState
from penstock_policies.engine import decide
from penstock_policies.engine.health import proves_generation
from penstock_policies.observations import EndpointProbe, Load, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.serial import to_json
from tests.engine.engine_world import EU, ONPREM, START, World, fleet, row

ENDPOINT = f"{EU}-0.example.com:8000"


class Probed(World):
    """A world in which probes also generate, and are told of limits."""

    generation_failed: Mapping[str, int] = {}
    """Endpoint to failed generations in a row."""
    limited: frozenset[str] = frozenset()
    """Clusters that answer every probe with 429."""

    def _probe(self, name: str, endpoint: str) -> EndpointProbe:
        return replace(
            super()._probe(name, endpoint),
            generation_failed=self.generation_failed.get(endpoint, 0),
            limited_at=self.now if name in self.limited else None,
        )


def probed(**shown: float) -> Decision:
    probe = EndpointProbe(START, 9, 0, **shown)  # type: ignore[arg-type]  # counts are whole numbers
    return decide(fleet(), Observations(probes={EU: {ENDPOINT: probe}}), Overrides(), None, START)


def test_generations_that_fail_take_an_endpoint_out_though_health_is_green() -> None:
    assert probed(generation_failed=1).health[EU].state is HealthState.UP
    health = probed(generation_failed=2).health[EU]
    assert (health.state, health.unhealthy_endpoints) == (HealthState.DOWN, (ENDPOINT,))
    assert "2 generations in a row failed though shallower probes succeed" in health.reason


def test_a_cluster_comes_back_step_by_step_once_generations_succeed() -> None:
    world = Probed(fleet())
    world.generation_failed = {ENDPOINT: 3}
    assert world.tick().health[EU].state is HealthState.DOWN
    world.generation_failed = {}
    assert world.tick().health[EU].state is HealthState.PROBATION


def test_requests_that_succeed_outrank_generations_that_fail() -> None:
    world = Probed(fleet(), rates={row(): 20.0})
    world.run(5)
    assert world.weights()[EU] > 0 or world.weights()[ONPREM] > 0
    world.generation_failed = {f"{ONPREM}-{index}.example.com:8000": 9 for index in range(2)}
    health = world.run(3).health[ONPREM]
    assert (health.state, health.unhealthy_endpoints) == (HealthState.UP, ())


def test_a_429_lowers_capacity_by_and_by_and_never_takes_a_cluster_out() -> None:
    world = Probed(fleet())
    whole = world.run(2).clusters[EU]
    world.limited = frozenset({EU})
    once = world.tick()
    assert whole.trim == 1.0
    assert 0.9 < once.clusters[EU].trim < 1.0
    assert "told a probe that too much is asked for" in once.clusters[EU].limited_by
    lasting = world.run(60)
    assert lasting.clusters[EU].trim == pytest.approx(0.25, abs=0.01)
    assert lasting.health[EU].state is HealthState.UP
    assert lasting.clusters[ONPREM].trim == 1.0


def test_one_429_is_forgotten_bit_by_bit() -> None:
    world = Probed(fleet(), rates={row(): 1.0})
    world.run(2)
    world.limited = frozenset({EU})
    lowest = world.tick().clusters[EU].trim
    world.limited = frozenset()
    later = world.run(300).clusters[EU]
    assert later.trim == 1.0 > lowest
    assert "too much" not in later.limited_by


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf, START + 3600.0, START - 60.0])
def test_a_429_of_no_plausible_or_recent_time_changes_no_byte(at: float) -> None:
    def second(limited_at: float | None) -> str:
        first = probed()
        probe = EndpointProbe(START + 1, 9, 0, limited_at=limited_at)
        seen = Observations(probes={EU: {ENDPOINT: probe}})
        return to_json(decide(fleet(), seen, Overrides(), first, START + 1))

    assert second(at) == second(None)


def test_a_negative_count_is_refused() -> None:
    noted = [note for note in probed(generation_failed=-1).notes if note.fields.get("endpoint") == ENDPOINT]
    assert noted


@pytest.mark.parametrize(
    ("load", "endpoints", "proven"),
    [
        ({"request_rate": 10, "error_rate": 0, "success_rate": 10}, 1, True),
        ({"request_rate": 10, "error_rate": 0.5, "success_rate": 9}, 1, True),
        ({"request_rate": 10, "error_rate": 2, "success_rate": 8}, 1, False),
        ({"request_rate": 0.5, "error_rate": 0, "success_rate": 0.5}, 1, False),
        ({"request_rate": 10, "error_rate": 0}, 1, False),
        ({"request_rate": 10, "error_rate": 0, "success_rate": 10, "at": START - 5}, 1, False),
        # One of ten endpoints fails, or holds, all that it gets.
        ({"request_rate": 100, "error_rate": 10, "success_rate": 90}, 10, False),
        ({"request_rate": 100, "error_rate": 0, "success_rate": 90}, 10, False),
        ({"request_rate": 100, "error_rate": 1, "success_rate": 99}, 10, True),
    ],
)
def test_what_proves_that_every_endpoint_generates(load: Mapping[str, float], endpoints: int, *, proven: bool) -> None:
    shown = Load(**{"at": START, "in_flight": 1.0, **load})  # type: ignore[arg-type]  # whole numbers are floats
    assert proves_generation([shown], endpoints, START) is proven


def test_silence_proves_nothing() -> None:
    assert not proves_generation([], 1, START)
