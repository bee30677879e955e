"""What of a policy's wishes the solver is told: merit, tiers, bounds, budgets."""

from collections.abc import Mapping
from typing import Any

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.engine.objective import scale, usd_of_request
from penstock_policies.engine.plan import Bound, Problem, RowProblem
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.situation import understand
from penstock_policies.observations import EngineLoad, Load, Observations, Price
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from penstock_policies.words import Measure, Survive
from tests.engine.engine_world import EU, MODEL, ONPREM, START, US, World, cluster, fleet, onprem, records, row, traffic

PRICES = {EU: 0.90, US: 0.80}


def observed(prices: Mapping[str, float] = PRICES, load: Mapping[str, Load] | None = None) -> Observations:
    return Observations(
        prices={"cloud-prices": {name: Price(START, usd) for name, usd in prices.items()}},
        load={"eu-west": dict(load)} if load else {},
    )


def problem(policy: PolicySet, seen: Observations | None = None, previous: Decision | None = None) -> Problem:
    return problem_of(understand(policy, seen or observed(), Overrides(), previous, START))


def chat(
    more: Mapping[str, Any] | None = None,
    *,
    clusters: tuple[Cluster, ...] | None = None,
    seen: Observations | None = None,
    penalty: str = "0%",
) -> RowProblem:
    policy = fleet(clusters=clusters, policies=(traffic(distance_penalty=penalty, more=more), records()))
    return next(one for one in problem(policy, seen).rows if one.key == row())


def test_the_cost_of_a_request_counts_prompt_tokens_at_their_own_price_and_egress_on_both() -> None:
    cost = {"usdPerMillionTokens": 1.0, "promptPriceRatio": "25%", "egressUsdPerMillionTokens": 0.1}
    one = cluster(EU, more={"cost": cost})
    assert usd_of_request(one, 2.0, (1000, 200)) == pytest.approx((2.0 * (200 + 250) + 0.1 * 1200) / 1e6)


def test_prices_count_even_where_a_policy_declares_requests_without_tokens() -> None:
    merit = chat({"typicalRequest": {"promptTokens": 0, "outputTokens": 0}}).merit
    assert merit[ONPREM] < merit[US] < merit[EU]


def test_the_dearest_request_of_the_fleet_has_merit_one() -> None:
    one = chat()
    assert max(one.merit.values()) == one.merit[EU] == 1.0
    assert one.merit[ONPREM] == pytest.approx(0.02 / 0.90)
    assert one.usd_per_merit == pytest.approx(one.cost[EU])


def test_distance_marks_a_price_up_but_is_no_money() -> None:
    near, far = chat(), chat(penalty="50%")
    assert far.merit[US] / far.merit[EU] == pytest.approx(0.80 * 2 / 0.90)
    assert far.cost == near.cost


def test_one_absurd_price_does_not_make_all_others_equal() -> None:
    assert scale(Measure.COST, [0.9, 1.0, 1.1, 50_000.0]) < 100
    assert scale(Measure.COST, []) == scale(Measure.COST, [0.0, 0.0]) == 1.0


def test_latency_is_round_trip_and_first_token_of_an_idle_cluster() -> None:
    clusters = (
        onprem(more={"latency": {"ttftP95": "300ms"}}),
        cluster(EU, more={"latency": {"ttftP95": "198ms"}}),
        cluster(US, region="us-east", more={"latency": {"ttftP95": "200ms", "roundTrip": {"eu-west": "300ms"}}}),
    )
    merit = chat({"objective": {"minimize": "latency"}}, clusters=clusters).merit
    assert merit[US] == 1.0
    assert merit[EU] == pytest.approx(0.2 / 0.5)
    assert merit[ONPREM] == pytest.approx(0.32 / 0.5)


def test_a_cluster_that_does_not_say_how_fast_it_is_counts_as_the_slowest_that_does() -> None:
    clusters = (onprem(), cluster(EU, more={"latency": {"ttftP95": "400ms"}}), cluster(US, region="us-east"))
    merit = chat({"objective": {"minimize": "latency"}}, clusters=clusters).merit
    assert merit[EU] < merit[ONPREM] < merit[US]


def test_locality_is_distance() -> None:
    merit = chat({"objective": {"minimize": "locality"}}).merit
    assert merit == {ONPREM: 0.5, EU: 0.0, US: 1.0}


def test_a_mix_weighs_measures_that_are_each_divided_by_the_worst() -> None:
    one = chat({"objective": {"mix": {"cost": "75%", "locality": "25%"}, "distancePenalty": "0%"}})
    assert one.merit[EU] == pytest.approx(0.75)
    assert one.merit[US] == pytest.approx(0.75 * 0.8 / 0.9 + 0.25)
    assert one.usd_per_merit == 0.0, "no figure in dollars stands for it"


def test_spread_is_left_to_the_solver() -> None:
    one = chat({"objective": {"mix": {"cost": "40%", "spread": "60%"}, "distancePenalty": "0%"}})
    assert one.spread == 0.6
    assert one.merit[EU] == pytest.approx(0.4)


def test_a_cluster_without_any_price_comes_after_all_tiers() -> None:
    tier = chat({"prefer": [{"sites": ["on_prem"]}]}, seen=observed({EU: 0.9})).tier
    assert tier == {ONPREM: 0, EU: 1, US: 2}
    by_latency = {"prefer": [{"sites": ["on_prem"]}], "objective": {"minimize": "latency"}}
    assert chat(by_latency, seen=observed({EU: 0.9})).tier[US] == 1, "nobody asks for its price there"


def test_a_price_that_is_stale_holds_the_row_only_where_cost_decides() -> None:
    good = decide(fleet(), observed(), Overrides(), None, START)
    late = Observations(prices={"cloud-prices": {EU: Price(START + 700, 0.9)}})

    def held(more: Mapping[str, Any] | None = None) -> frozenset[str]:
        policy = fleet(policies=(traffic(more=more), records()))
        rows = problem_of(understand(policy, late, Overrides(), good, START + 700)).rows
        return next(one.held for one in rows if one.key == row())

    assert held() == {ONPREM, EU, US}
    assert held({"objective": {"minimize": "locality"}}) == frozenset()


def test_share_rules_bind_the_clusters_they_are_about() -> None:
    rules = [{"site": "cloud", "maxShare": "40%"}, {"cluster": US, "minShare": "5%", "maxShare": "10%"}]
    bounds = chat({"shares": [*rules, {"cluster": ONPREM, "pin": "70%"}]}).bounds
    assert bounds == (
        Bound(frozenset({EU, US}), 0.0, 0.4, "maxShare of site cloud"),
        Bound(frozenset({US}), 0.05, 0.1, f"minShare and maxShare of cluster {US}"),
        Bound(frozenset({ONPREM}), 0.7, 0.7, f"pin 0.7 of cluster {ONPREM}"),
    )


def test_a_schedule_may_change_objective_tiers_and_shares() -> None:
    always = {
        "name": "always",
        "cron": "* * * * *",
        "duration": "1h",
        "objective": {"minimize": "locality"},
        "prefer": [{"clusters": [US]}],
        "shares": [{"site": "cloud", "minShare": "20%"}],
    }
    one = chat({"schedules": [always]})
    assert one.merit[EU] == 0.0
    assert one.tier == {US: 0, ONPREM: 1, EU: 1}
    assert one.bounds[0].floor == 0.2


def test_what_a_policy_wants_to_survive_is_passed_on() -> None:
    assert chat().survive is Survive.SPOT
    assert chat({"survive": "any"}).survive is Survive.ANY


def versioned(**served: str | None) -> tuple[Cluster, ...]:
    def versions(name: str) -> dict[str, str]:
        version = served.get(name)
        return {MODEL: version} if version is not None else {}

    return (
        onprem(versions=versions("home")),
        cluster(EU, versions=versions("eu")),
        cluster(US, region="us-east", versions=versions("us")),
    )


RULE = {"versions": {MODEL: {"stable": "v1", "canary": "v2", "canaryShare": "5%"}}}


def test_only_the_wanted_versions_serve_and_the_others_say_what_they_have() -> None:
    policy = fleet(clusters=versioned(home="v1", eu="v3"), policies=(traffic(more=RULE), records()))
    decision = decide(policy, observed(), Overrides(), None, START)
    assert set(decision.rows[row()].weights) == {ONPREM}
    assert decision.rows[row()].excluded == {
        EU: "serves version v3, wanted v1 or v2",
        US: "serves version unknown, wanted v1 or v2",
    }


def test_a_canary_gets_its_share_whatever_the_objective_says() -> None:
    one = chat(RULE, clusters=versioned(home="v1", eu="v1", us="v2"))
    assert one.bounds == (Bound(frozenset({US}), 0.05, 0.05, f"canary v2 of {MODEL}"),)
    policy = fleet(
        clusters=versioned(home="v1", eu="v1", us="v2"), policies=(traffic(more=RULE, load_step="100%"), records())
    )
    world = World(policy, rates={row(): 50.0})
    assert world.run(60).rows[row()].target[US] == pytest.approx(0.05)


def test_a_canary_takes_over_only_where_no_stable_version_is_left() -> None:
    assert chat(RULE, clusters=versioned(us="v2")).bounds == ()
    assert chat(RULE, clusters=versioned(us="v2")).clusters == (US,)


def test_a_row_whose_version_nobody_serves_is_refused_rather_than_served_by_another() -> None:
    policy = fleet(clusters=versioned(home="v3"), policies=(traffic(more=RULE), records()))
    decision = decide(policy, observed(), Overrides(), None, START)
    assert decision.rows[row()].weights == {}
    assert decision.rows[row()].refusal == "no_cluster_available"


def test_requests_are_as_large_as_the_policy_says_until_measured() -> None:
    assert chat({"typicalRequest": {"promptTokens": 300, "outputTokens": 100}}).tokens == (300, 100)


def test_measured_sizes_count_where_a_row_uses_them() -> None:
    load = {ONPREM: Load(START, 10, 10, 0, prompt_tokens=5000, output_tokens=1000)}
    assert chat(seen=observed(load=load)).tokens == (500, 100)


def test_a_region_that_cannot_tell_makes_the_mean_unknown() -> None:
    policy = fleet(regions=("eu-west", "us-east"))
    counted = Load(START, 10, 10, 0, prompt_tokens=5000, output_tokens=1000)
    seen = Observations(load={"eu-west": {ONPREM: counted}, "us-east": {ONPREM: Load(START, 10, 10, 0)}})
    assert problem(policy, seen).rows[0].tokens == (1000, 200)


def sized(
    prompt: float, output: float, *, seconds: int, errors: float = 0.0, after: Decision | None = None
) -> Decision:
    """Let the on-prem cluster serve ten requests a second of a size for some seconds."""
    for _ in range(seconds):
        now = after.at + 1 if after is not None else START
        load = Load(now, 10, 10, errors, prompt_tokens=10 * prompt, output_tokens=10 * output)
        after = decide(fleet(), Observations(load={"eu-west": {ONPREM: load}}), Overrides(), after, now)
    assert after is not None
    return after


def test_sizes_move_slowly_and_failures_do_not_move_them() -> None:
    before = sized(500, 100, seconds=120)
    assert before.clusters[ONPREM].tokens == pytest.approx((500, 100))
    assert 550 < sized(1000, 200, seconds=6, after=before).clusters[ONPREM].tokens[0] < 620
    failing = sized(10, 1, seconds=6, errors=9.0, after=before)
    assert failing.clusters[ONPREM].tokens == pytest.approx((500, 100))


def test_engines_that_look_back_further_than_edges_do_not_make_requests_look_large_when_traffic_leaves() -> None:
    decision: Decision | None = None
    # 20 requests a second of 150 tokens until they leave but for one; the engine tells the mean of 15 seconds.
    served = [20.0] * 30 + [1.0] * 30
    for second, rate in enumerate(served):
        now = START + second
        recent = served[max(0, second - 14) : second + 1]
        output = 50 * sum(recent) / len(recent)
        seen = Observations(
            load={"eu-west": {ONPREM: Load(now, 0.4 * rate, rate, 0)}},
            engines={ONPREM: EngineLoad(now, 0.0, 0.4 * rate, prompt_tokens=2 * output, output_tokens=output)},
        )
        decision = decide(fleet(), seen, Overrides(), decision, now)
        assert decision.clusters[ONPREM].tokens[1] < 80


def test_sizes_that_are_only_assumed_do_not_overrule_a_measured_time() -> None:
    rated = {"capacity": {"concurrency": 100, "tokensPerSecond": 5000}}
    policy = fleet(clusters=(onprem(more=rated), cluster(EU), cluster(US, region="us-east")))
    fast = Observations(load={"eu-west": {ONPREM: Load(START, 10, 20, 0)}})
    assert problem(policy).rows[0].work[ONPREM] == pytest.approx(100 * 200 / 5000)
    assert problem(policy, fast).rows[0].work[ONPREM] == pytest.approx(0.5)


@pytest.mark.parametrize("tiny", [5e-324, 1e-308, 1e-200, 1e-30])
def test_figures_of_next_to_nothing_do_not_make_others_infinite(tiny: float) -> None:
    assert 5.0 / scale(Measure.COST, [tiny, tiny, tiny, 5.0]) == 1.0
    assert tiny / scale(Measure.COST, [tiny, tiny]) <= 1.0


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -1.0, 1e15])
def test_absurd_token_counts_are_left_out_and_the_rest_of_the_report_kept(figure: float) -> None:
    load = {ONPREM: Load(START, 10, 10, 0, prompt_tokens=figure, output_tokens=1000)}
    decision = decide(fleet(), observed(load=load), Overrides(), None, START)
    assert decision.clusters[ONPREM].tokens == (0, 0)
    assert sum(one.demand for one in decision.rows.values()) == pytest.approx(10)
    assert any(note.fields.get("figure") == "prompt_tokens" for note in decision.notes)


def test_large_requests_take_the_room_that_their_tokens_take() -> None:
    small = (onprem(more={"capacity": {"concurrency": 100, "tokensPerSecond": 5000}}), cluster(EU), cluster(US))
    assert chat(clusters=small).work[ONPREM] == pytest.approx(100 * 200 / 5000)
    both = {"concurrency": 100, "tokensPerSecond": 5000, "promptTokensPerSecond": 50_000}
    assert chat(clusters=(onprem(more={"capacity": both}), cluster(EU), cluster(US))).work[ONPREM] == pytest.approx(6)
    assert chat().work[ONPREM] == 1.0, "nothing declared and nothing measured"


def test_the_room_and_money_of_the_fleet_are_stated_once() -> None:
    stated = problem(fleet())
    assert stated.on_prem == {ONPREM}
    assert stated.capacity[ONPREM] == pytest.approx(136)
    assert stated.full[ONPREM] == 160
    assert stated.budgets == ()
