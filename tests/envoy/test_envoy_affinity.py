"""How weights divide conversations: what changes hands when weights change."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from envoy.extensions.load_balancing_policies.common.v3 import common_pb2
from envoy.extensions.load_balancing_policies.maglev.v3 import maglev_pb2
from envoy.extensions.load_balancing_policies.override_host.v3 import override_host_pb2
from hypothesis import given
from hypothesis import strategies as st

from penstock_envoy import protos
from penstock_envoy.affinity import placed
from penstock_envoy.compiler import Compiler
from penstock_envoy.legs import Leg
from penstock_envoy.residency import ResidencyBreach, prove
from penstock_envoy.resource import CLUSTER, ROUTE
from penstock_policies.decision import TOTAL_WEIGHT
from penstock_policies.words import DataClass
from tests.envoy.fleet import GROUP, decision, fleet
from tests.envoy.sabotage import Resources, edited, route_named

FOUR = ("home", "a", "b", "c")


def owners(weights: Mapping[str, int], order: tuple[str, ...] = FOUR) -> list[str]:
    """Who has each of the 10 000 places, as Envoy finds it: entry after entry."""
    entries = placed([Leg((name, "stand-in"), weight) for name, weight in weights.items()], order)
    assert {entry.members[0] for entry in entries} == set(weights)
    return [entry.members[0] for entry in entries for _ in range(entry.weight)]


def moved(before: Mapping[str, int], after: Mapping[str, int], order: tuple[str, ...] = FOUR) -> int:
    return sum(old != new for old, new in zip(owners(before, order), owners(after, order), strict=True))


def least(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """What has to change hands, whoever has which place."""
    return sum(abs(before.get(name, 0) - after.get(name, 0)) for name in {*before, *after}) // 2


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, int]:
    cuts = sorted(draw(st.lists(st.integers(0, TOTAL_WEIGHT), min_size=3, max_size=3)))
    edges = [0, *cuts, TOTAL_WEIGHT]
    return {name: edges[index + 1] - edges[index] for index, name in enumerate(FOUR)}


@given(mixtures())
def test_each_cluster_has_as_many_places_as_its_weight(weights: dict[str, int]) -> None:
    found = owners(weights)
    assert {name: found.count(name) for name in FOUR} == weights


@given(mixtures(), st.sampled_from(["a", "b", "c"]), st.integers(0, TOTAL_WEIGHT))
def test_no_more_moves_than_twice_what_shifts_from_the_first_cluster_to_another(
    weights: dict[str, int], taker: str, amount: int
) -> None:
    shift = min(amount, weights["home"])
    after = {**weights, "home": weights["home"] - shift, taker: weights[taker] + shift}
    assert moved(weights, after) <= 2 * shift


@given(mixtures(), mixtures())
def test_no_more_moves_than_three_times_what_must(before: dict[str, int], after: dict[str, int]) -> None:
    assert moved(before, after) <= 3 * least(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((10_000, 0, 0, 0), (9_000, 0, 1_000, 0)),
        ((6_000, 2_000, 1_000, 1_000), (5_000, 2_000, 1_000, 2_000)),
        ((4_000, 3_000, 3_000, 0), (7_000, 0, 3_000, 0)),
        ((2_000, 8_000, 0, 0), (1_000, 9_000, 0, 0)),
    ],
)
def test_only_what_shifts_between_the_first_cluster_and_another_moves(
    before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    old, new = dict(zip(FOUR, before, strict=True)), dict(zip(FOUR, after, strict=True))
    assert moved(old, new) == least(old, new)


@given(st.integers(0, TOTAL_WEIGHT), st.integers(0, TOTAL_WEIGHT))
def test_between_two_clusters_only_what_shifts_moves(before: int, after: int) -> None:
    old = {"home": TOTAL_WEIGHT - before, "a": before}
    new = {"home": TOTAL_WEIGHT - after, "a": after}
    assert moved(old, new, ("home", "a")) == abs(before - after)


def test_a_drained_cluster_takes_only_its_own_conversations_with_it() -> None:
    before = {"home": 5_000, "a": 2_000, "b": 2_000, "c": 1_000}
    drained = {"home": 7_000, "a": 2_000, "c": 1_000}
    assert moved(before, drained) == 2_000


def test_the_conversations_of_a_drained_first_cluster_alone_move_as_long_as_homes_have_room() -> None:
    before = {"home": 4_000, "a": 2_000, "b": 2_000, "c": 2_000}
    drained = {"a": 3_333, "b": 3_333, "c": 3_334}
    assert moved(before, drained) == 4_000


def test_affinity_is_compiled_into_route_and_clusters_and_is_proven() -> None:
    policy = fleet(affinity="{header: x-session}")
    decided = decision(policy, weights={"onprem-fra": 4_000, "cloud-eu-west": 5_500, "cloud-us-east": 500})
    resources = Compiler().compile(policy, decided, GROUP)
    prove(policy, resources, GROUP)
    (body,) = (each.body for each in resources if (each.type_url, each.name) == (ROUTE, "public"))
    routes = {each.name: each for each in protos.RouteConfiguration.FromString(body).virtual_hosts[0].routes}
    action = routes["public/chat/llama-3-70b"].route
    assert action.hash_policy[0].header.header_name == "x-session"
    assert action.weighted_clusters.use_hash_policy.value
    shares: dict[str, int] = {}
    for each in action.weighted_clusters.clusters:
        first = each.name.split("/")[2].split(">")[0]
        shares[first] = shares.get(first, 0) + each.weight.value
    assert shares == dict(decided.rows[min(k for k in decided.rows if k.policy == "chat")].weights)
    other = routes["public/anything-eu/bge-m3"].route
    assert not other.hash_policy
    assert not other.weighted_clusters.HasField("use_hash_policy")


def test_clusters_of_policies_without_affinity_keep_their_load_balancing() -> None:
    def balancing(affinity: str) -> dict[str, str]:
        policy = fleet(affinity=affinity)
        found = {}
        for each in Compiler().compile(policy, decision(policy), GROUP):
            if each.type_url == CLUSTER and each.name in policy.clusters:
                chosen = protos.Cluster.FromString(each.body).load_balancing_policy.policies[0]
                found[each.name] = chosen.typed_extension_config.name.rpartition(".")[2]
        return found

    assert set(balancing("").values()) == {"least_request"}
    assert set(balancing("{cookie: sid}").values()) == {"maglev"}


@pytest.mark.parametrize("reason", ["", "no_cluster_available", "budget_exhausted", "a_reason_of_a_newer_engine"])
def test_a_row_without_clusters_is_refused_for_the_reason_the_decision_gives(reason: str) -> None:
    policy = fleet()
    resources = Compiler().compile(policy, decision(policy, drained=["onprem-fra"], refusal=reason), GROUP)
    prove(policy, resources, GROUP)
    (body,) = (each.body for each in resources if (each.type_url, each.name) == (ROUTE, "vault"))
    refused = next(
        each
        for each in protos.RouteConfiguration.FromString(body).virtual_hosts[0].routes
        if each.name == f"{DataClass.RESTRICTED}/records/*"
    )
    assert refused.direct_response.status == 503
    told = {each.header.key: each.header.value for each in refused.response_headers_to_add}
    assert told["x-penstock-reason"] == (reason if reason == "budget_exhausted" else "no_cluster_available")


AFFINE = fleet(affinity="{header: x-session}")
GOOD = Compiler().compile(AFFINE, decision(AFFINE), GROUP)


def _rebalanced(cluster: Any, config: Any) -> None:
    chosen = cluster.load_balancing_policy.policies[0].typed_extension_config.typed_config
    chosen.type_url = f"type.googleapis.com/{config.DESCRIPTOR.full_name}"
    chosen.value = config.SerializeToString()


def _chat(change: Callable[[Any], Any]) -> Resources:
    return edited(GOOD, ROUTE, "public", lambda table: change(route_named(table, "public/chat/llama-3-70b").route))


SABOTAGE: dict[str, Callable[[], Resources]] = {
    "a header chooses the cluster": lambda: _chat(
        lambda action: setattr(action.weighted_clusters, "header_name", "x-pick")
    ),
    "a conversation's entry leads to a cluster that the policy does not name": lambda: _chat(
        lambda action: action.weighted_clusters.clusters.add(name="leg/internal/onprem-fra>onprem-fra>cloud-eu-west>x")
    ),
    "the client may name the endpoint": lambda: edited(
        GOOD, CLUSTER, "onprem-fra", lambda cluster: _rebalanced(cluster, override_host_pb2.OverrideHost())
    ),
    "localities decide before the hash": lambda: edited(
        GOOD,
        CLUSTER,
        "onprem-fra",
        lambda cluster: _rebalanced(
            cluster,
            maglev_pb2.Maglev(locality_weighted_lb_config=common_pb2.LocalityLbConfig.LocalityWeightedLbConfig()),
        ),
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_of_affinity_is_caught(name: str) -> None:
    sabotaged = SABOTAGE[name]()
    assert sabotaged != GOOD
    with pytest.raises(ResidencyBreach):
        prove(AFFINE, sabotaged, GROUP)
