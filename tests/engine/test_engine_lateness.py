"""Clusters that answer well and far too late, while their probes are green and they have little to do."""

from dataclasses import replace

import pytest

from penstock_policies.decision import ClusterHealth, Decision, HealthState
from penstock_policies.engine import decide
from penstock_policies.observations import EngineLoad, Load, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.serial import from_json, to_json
from tests.engine.edge_world import EAST, WEST, EdgeWorld, edge_fleet
from tests.engine.engine_world import EU, ONPREM, US, World, cluster, fleet, onprem, row, traffic

UP, DOWN = HealthState.UP, HealthState.DOWN
SLO = {"slo": {"ttftP95": "500ms"}}
PATIENT = traffic(more=SLO)


class LateWorld(World):
    """A world in which the first tokens of some clusters take their time."""

    ttft: dict[str, float]
    """Cluster to seconds; 0.1 where missing."""

    def observations(self) -> Observations:
        seen = super().observations()
        return replace(
            seen,
            load={
                region: {name: replace(one, ttft_p95=self.ttft.get(name, 0.1)) for name, one in by.items()}
                for region, by in seen.load.items()
            },
        )

    def health(self, name: str) -> ClusterHealth:
        assert self.previous is not None
        return self.previous.health[name]


def world(*, rate: float = 20.0, **more: object) -> LateWorld:
    clusters = (onprem(), cluster(EU), cluster(US, region="us-east"))
    made = LateWorld(fleet(clusters=clusters, policies=[PATIENT], **more))  # type: ignore[arg-type]
    made.ttft = {}
    made.rates = {row("chat", region): rate for region in made.policy.regions()}
    made.run(5)
    return made


def test_a_cluster_with_little_to_do_and_late_first_tokens_is_taken_out_though_its_probes_are_green() -> None:
    slow = world()
    assert slow.weights()[ONPREM] == 10_000
    slow.ttft[ONPREM] = 2.6
    slow.run(30)
    assert slow.health(ONPREM).state is UP
    decision = slow.run(2)
    assert slow.health(ONPREM).state is DOWN
    assert slow.weights()[ONPREM] == 0
    reason = decision.rows[row()].excluded[ONPREM]
    assert reason.startswith("down: first tokens are far too late though probes succeed and it has little to do")
    assert slow.health(ONPREM).unhealthy_endpoints == ()


def test_it_is_tried_again_and_each_time_later() -> None:
    slow = world()
    slow.ttft[ONPREM] = 5.0
    slow.run(32)
    assert slow.health(ONPREM).hold == 90
    slow.run(85)
    assert slow.health(ONPREM).state is DOWN
    falls = {slow.health(ONPREM).fell_at}
    for _ in range(200):
        slow.tick()
        falls.add(slow.health(ONPREM).fell_at)
    assert len(falls) == 2
    assert slow.health(ONPREM).hold == 180
    slow.ttft.clear()
    slow.run(260)
    assert slow.health(ONPREM).state is UP
    assert slow.weights()[ONPREM] > 9000


@pytest.mark.parametrize("ttft", [0.4, 1.0, 2.4])
def test_being_a_little_late_is_no_breakdown(ttft: float) -> None:
    slow = world()
    slow.ttft[ONPREM] = ttft
    slow.run(90)
    assert slow.health(ONPREM).state is UP


def test_a_queue_or_a_full_cluster_is_overload_and_no_breakdown() -> None:
    full = world(rate=100.0)
    full.ttft[ONPREM] = 9.0
    full.run(60)
    assert full.health(ONPREM).state is UP
    waiting = world()
    waiting.ttft[ONPREM] = 9.0
    waiting.engines = {ONPREM: EngineLoad(0, waiting=40, running=10)}
    waiting.run(60)
    assert waiting.health(ONPREM).state is UP


def test_a_few_seconds_of_it_or_a_few_requests_prove_nothing() -> None:
    slow = world()
    for _ in range(4):
        slow.ttft[ONPREM] = 9.0
        slow.run(25)
        slow.ttft.clear()
        slow.tick()
    assert slow.health(ONPREM).state is UP
    quiet = world(rate=0.8)
    quiet.ttft[ONPREM] = 9.0
    quiet.run(90)
    assert quiet.health(ONPREM).state is UP


def test_it_is_not_judged_where_a_policy_does_not_say_what_late_is() -> None:
    policies = [PATIENT, traffic("batch", clusters=[ONPREM], path="/v1/batch")]
    slow = LateWorld(fleet(policies=policies))
    slow.ttft = {ONPREM: 60.0}
    slow.rates = {row(): 20.0}
    slow.run(90)
    assert slow.health(ONPREM).state is UP


def test_when_all_clusters_are_late_none_is_to_blame() -> None:
    slow = world(rate=70.0, regions=("eu-west",))
    slow.rates = {row(): 180.0}
    slow.run(40)
    assert min(slow.weights()[ONPREM], slow.weights()[EU]) > 0
    slow.rates = {row(): 60.0}
    slow.ttft = dict.fromkeys((ONPREM, EU, US), 9.0)
    assert slow.previous is not None
    half = replace(slow.previous.rows[row()], weights={ONPREM: 5000, EU: 5000, US: 0})
    for _ in range(60):
        slow.now += 1
        assert slow.previous is not None
        slow.previous = replace(slow.previous, rows={**slow.previous.rows, row(): half})
        decided = decide(slow.policy, slow.observations(), Overrides(), slow.previous, slow.now)
        slow.previous = decided
    assert {name: one.state for name, one in slow.previous.health.items()} == dict.fromkeys((ONPREM, EU, US), UP)
    assert "first tokens are late at every cluster, kept" in {note.message for note in slow.previous.notes}


def late_from(world_: EdgeWorld, region: str, seconds: float) -> Decision:
    """Decide for a while with first tokens of on-prem that late from one region, and soon from the other."""
    decision = world_.tick()
    for _ in range(int(seconds)):
        world_.now += 1
        well = Load(world_.now, 10, request_rate=20, error_rate=0, success_rate=20, ttft_p95=0.1)
        loads = {each: {ONPREM: replace(well, ttft_p95=5.0) if each == region else well} for each in (WEST, EAST)}
        seen = replace(world_.observations(), load=loads)
        decision = world_.previous = decide(world_.policy, seen, Overrides(), world_.previous, world_.now)
    return decision


def test_one_region_with_a_slow_way_there_does_not_speak_for_all() -> None:
    plain = EdgeWorld(edge_fleet(edge=(), policies=[PATIENT]))
    assert late_from(plain, WEST, 40).health[ONPREM].state is UP


def test_probed_from_the_edge_it_is_out_for_the_region_that_waits_for_it() -> None:
    outer = EdgeWorld(edge_fleet(policies=[PATIENT]))
    decision = late_from(outer, WEST, 40)
    assert decision.edge_health[WEST][ONPREM].state is DOWN
    assert decision.edge_health[EAST][ONPREM].state is UP
    assert decision.rows[row("chat", WEST)].weights[ONPREM] == 0
    assert decision.rows[row("chat", EAST)].weights[ONPREM] > 0


def test_how_long_it_has_been_late_is_remembered_and_nothing_is_written_where_it_is_not() -> None:
    slow = world()
    assert slow.previous is not None
    assert "late_since" not in to_json(slow.previous)
    slow.ttft[ONPREM] = 5.0
    decision = slow.run(10)
    assert decision.health[ONPREM].late_since > 0
    assert from_json(to_json(decision)) == decision
