"""Which carbon intensity the engine believes, and what it moves."""

import math
from typing import Any

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.situation import understand
from penstock_policies.observations import Intensity, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import CostFeed
from tests.engine.engine_world import EU, ONPREM, START, US, cluster, feed, fleet, onprem, records, row, traffic

GRID = "grid"


def green(**carbon: Any) -> PolicySet:
    document = feed(GRID).model_dump(mode="json", by_alias=True, include={"api_version", "kind", "metadata"})
    spec = {"type": "file", "path": "carbon.json", "measures": "carbon", "refresh": "1s", "maxAge": "10m"}
    read = carbon or {"feed": GRID, "key": EU}
    return fleet(
        clusters=(
            onprem(more={"carbon": {"gramsPerMillionTokens": 300.0}}),
            cluster(EU, price=1.0, feed=None, more={"carbon": read}),
            cluster(US, region="us-east", price=1.0, feed=None, more={"carbon": {"gramsPerMillionTokens": 500.0}}),
        ),
        feeds=(CostFeed.model_validate({**document, "spec": spec}),),
        policies=(traffic(more={"objective": {"minimize": "carbon"}}, load_step="100%"), records()),
    )


def shown(
    grams: float | None, previous: Decision | None = None, now: float = START, policy: PolicySet | None = None
) -> Decision:
    carbon = {GRID: {EU: Intensity(now, grams)}} if grams is not None else {}
    return decide(policy or green(), Observations(carbon=carbon), Overrides(), previous, now)


def whys(decision: Decision) -> list[object]:
    return [note.fields["why"] for note in decision.notes if note.message == "carbon intensity refused"]


def test_the_greenest_cluster_serves_and_shows_its_intensity() -> None:
    decision = shown(50.0)
    assert decision.rows[row()].target[EU] == 1.0
    assert (decision.clusters[EU].carbon, decision.clusters[EU].carbon_source) == (50.0, "feed grid")
    assert shown(400.0).rows[row()].target[ONPREM] == 1.0


@pytest.mark.parametrize("grams", [math.nan, math.inf, -1.0, 1e9, 50.0 * 1000])
def test_an_absurd_intensity_is_refused_and_the_last_good_one_kept(grams: float) -> None:
    decision = shown(grams, shown(50.0), START + 60)
    assert decision.clusters[EU].carbon == 50.0
    assert len(whys(decision)) == 1


def test_a_grid_may_fall_to_nothing() -> None:
    assert shown(0.0, shown(50.0), START + 60).clusters[EU].carbon == 0.0


def test_a_stale_intensity_is_shown_and_moves_nothing() -> None:
    late = shown(None, shown(50.0), START + 601)
    assert late.clusters[EU].carbon_source == "feed grid (stale)"
    situation = understand(green(), Observations(), Overrides(), late, START + 602)
    assert next(one.held for one in problem_of(situation).rows if one.key == row()) == {ONPREM, EU, US}


def test_a_declared_intensity_stands_in_for_a_silent_feed() -> None:
    policy = green(feed=GRID, key=EU, gramsPerMillionTokens=77.0)
    assert shown(None, policy=policy).clusters[EU].carbon == 77.0
    assert shown(50.0, policy=policy).clusters[EU].carbon == 50.0


def test_an_unknown_intensity_comes_after_all_known_ones() -> None:
    decision = shown(None)
    assert decision.clusters[EU].carbon_source == "unknown, taken for the worst"
    situation = understand(green(), Observations(), Overrides(), None, START)
    tiers = next(one.tier for one in problem_of(situation).rows if one.key == row())
    assert tiers[EU] > tiers[ONPREM] == tiers[US]
