"""The compiler: what follows from policy and decision, what is remembered, and what is refused."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from penstock_envoy import compiler, protos
from penstock_envoy.compiler import CompileError, Compiler
from penstock_envoy.legs import with_places
from penstock_envoy.resource import CLUSTER, ENDPOINT, ROUTE, EnvoyResource
from penstock_policies.decision import ClusterHealth, Decision, HealthState
from penstock_policies.policyset import RowKey
from tests.envoy.fleet import GROUP, decision, fleet

POLICY = fleet()
CHAT = RowKey("chat", "eu-west", "llama-3-70b")


def bodies(resources: tuple[EnvoyResource, ...], type_url: str) -> dict[str, bytes]:
    return {each.name: each.body for each in resources if each.type_url == type_url}


def route(resources: tuple[EnvoyResource, ...], table: str, name: str) -> Any:
    config = protos.RouteConfiguration.FromString(bodies(resources, ROUTE)[table])
    return next(each for each in config.virtual_hosts[0].routes if each.name == name)


def weights(resources: tuple[EnvoyResource, ...]) -> dict[str, int]:
    chat = route(resources, "public", "public/chat/llama-3-70b")
    return {each.name: each.weight.value for each in chat.route.weighted_clusters.clusters}


def weighted(decided: Decision, **shares: int) -> Decision:
    row = replace(decided.rows[CHAT], weights={name.replace("_", "-"): share for name, share in shares.items()})
    return replace(decided, rows={**decided.rows, CHAT: row})


def test_the_decisions_weights_are_the_routes_weights() -> None:
    decided = weighted(decision(POLICY), onprem_fra=7000, cloud_eu_west=2999, cloud_us_east=1)
    assert weights(Compiler().compile(POLICY, decided, GROUP)) == {
        "leg/public/onprem-fra>onprem-fra>cloud-eu-west>cloud-us-east": 7000,
        "leg/public/cloud-eu-west>onprem-fra>onprem-fra>cloud-us-east": 2999,
        "leg/public/cloud-us-east>onprem-fra>onprem-fra>cloud-eu-west": 1,
    }


def test_a_change_of_weights_changes_routes_alone() -> None:
    it = Compiler()
    before = it.compile(POLICY, decision(POLICY), GROUP)
    after = it.compile(POLICY, decision(POLICY, favourite="cloud-us-east"), GROUP)
    changed = {(old.type_url, old.name) for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {(ROUTE, "public")}


def test_equal_decisions_give_equal_bytes_in_any_process_and_order() -> None:
    decided = decision(POLICY)
    shuffled = replace(
        decided,
        rows={
            key: replace(
                row,
                weights=dict(sorted(row.weights.items(), reverse=True)),
                legs=dict(sorted(row.legs.items(), reverse=True)),
            )
            for key, row in sorted(decided.rows.items(), reverse=True)
        },
    )
    assert Compiler().compile(POLICY, decided, GROUP) == Compiler().compile(fleet(), shuffled, GROUP)


def test_a_request_has_as_many_attempts_as_its_leg_has_places() -> None:
    chat = route(Compiler().compile(POLICY, decision(POLICY), GROUP), "public", "public/chat/llama-3-70b")
    assert chat.route.retry_policy.num_retries.value == 3


def test_clusters_with_neighbours_and_lone_clusters_have_two_places() -> None:
    assert with_places(POLICY, ("cloud-eu-west", "onprem-fra")) == ("cloud-eu-west", "onprem-fra", "onprem-fra")
    assert with_places(POLICY, ("cloud-eu-west",)) == ("cloud-eu-west", "cloud-eu-west")


def test_a_drained_cluster_is_in_no_leg_but_stays_known() -> None:
    resources = Compiler().compile(POLICY, decision(POLICY, drained=["onprem-fra"]), GROUP)
    found = bodies(resources, CLUSTER)
    assert "onprem-fra" in found
    assert not any("onprem-fra" in name for name in found if name.startswith("leg/"))
    refused = route(resources, "vault", "restricted/records/*")
    assert refused.direct_response.status == 503


def test_unhealthy_endpoints_are_marked_and_healing_restores_the_bytes() -> None:
    it = Compiler()
    healthy = bodies(it.compile(POLICY, decision(POLICY), GROUP), ENDPOINT)
    ill = decision(POLICY, unhealthy={"onprem-fra": ("10.0.1.12:8000",)})
    marked = protos.ClusterLoadAssignment.FromString(bodies(it.compile(POLICY, ill, GROUP), ENDPOINT)["onprem-fra"])
    assert [each.health_status for each in marked.endpoints[0].lb_endpoints] == [0, 2]
    assert bodies(it.compile(POLICY, decision(POLICY), GROUP), ENDPOINT) == healthy


def test_an_endpoint_out_of_reach_of_one_region_is_unhealthy_for_its_groups_alone() -> None:
    spec = POLICY.groups[GROUP].spec.model_copy(update={"region": "us-east"})
    east = POLICY.groups[GROUP].model_copy(update={"spec": spec})
    policy = replace(POLICY, digest="two-regions", groups={**POLICY.groups, "edge-us": east})
    it, lost = Compiler(), "10.0.1.12:8000"
    well = ClusterHealth(HealthState.UP, 0.0)
    decided = replace(
        decision(policy),
        edge_health={
            "eu-west": {"onprem-fra": replace(well, unhealthy_endpoints=(lost,))},
            "us-east": {"onprem-fra": well},
        },
    )
    plain = bodies(it.compile(policy, decision(policy), GROUP), ENDPOINT)["onprem-fra"]
    assert bodies(it.compile(policy, decided, "edge-us"), ENDPOINT)["onprem-fra"] == plain
    assert (
        bodies(it.compile(policy, decided, GROUP), ENDPOINT)["onprem-fra"]
        == bodies(it.compile(policy, decision(policy, unhealthy={"onprem-fra": (lost,)}), GROUP), ENDPOINT)[
            "onprem-fra"
        ]
    )
    # A region cut off from most is not believed; that the control plane itself is distrusted says nothing of it.
    distrusted = replace(decided, frozen_regions={"eu-west": "probes of 2 of 3 clusters failed together"})
    assert bodies(it.compile(policy, distrusted, GROUP), ENDPOINT)["onprem-fra"] == plain
    frozen = replace(decided, frozen="most probes failed together")
    assert bodies(it.compile(policy, frozen, GROUP), ENDPOINT)["onprem-fra"] != plain


def test_a_frozen_decision_marks_nobody_unhealthy() -> None:
    it = Compiler()
    distrusted = decision(POLICY, unhealthy={"onprem-fra": ("10.0.1.12:8000",)}, frozen="most probes failed together")
    assert it.compile(POLICY, distrusted, GROUP) == it.compile(POLICY, decision(POLICY), GROUP)


def test_health_of_a_cluster_nobody_knows_is_no_matter() -> None:
    decided = decision(POLICY)
    strange = replace(
        decided, health={"gone": ClusterHealth(HealthState.DOWN, 0.0, unhealthy_endpoints=("1.2.3.4:5",))}
    )
    assert Compiler().compile(POLICY, strange, GROUP) == Compiler().compile(POLICY, decided, GROUP)


def test_an_unknown_group_is_refused_by_name() -> None:
    with pytest.raises(CompileError, match="no node group edge-mars; it has edge-eu"):
        Compiler().compile(POLICY, decision(POLICY), "edge-mars")


@pytest.mark.parametrize(
    "shares",
    [
        {"onprem_fra": 9999, "cloud_eu_west": 0, "cloud_us_east": 0},
        {"onprem_fra": 10000},
        {"onprem_fra": 10001, "cloud_eu_west": -1, "cloud_us_east": 0},
    ],
)
def test_weights_that_make_no_sense_are_refused(shares: dict[str, int]) -> None:
    with pytest.raises(CompileError, match="decision by-hand"):
        Compiler().compile(POLICY, weighted(decision(POLICY), **shares), GROUP)


def test_a_decision_of_another_policy_is_refused() -> None:
    with pytest.raises(CompileError, match="it is not of this policy"):
        Compiler().compile(POLICY, replace(decision(POLICY), rows={}), GROUP)


def test_a_cluster_the_policy_does_not_name_is_refused() -> None:
    decided = decision(POLICY)
    key = RowKey("records", "eu-west", "*")
    row = replace(decided.rows[key], weights={"cloud-us-east": 10_000}, legs={"cloud-us-east": ("cloud-us-east",)})
    with pytest.raises(CompileError, match="does not name cloud-us-east"):
        Compiler().compile(POLICY, replace(decided, rows={**decided.rows, key: row}), GROUP)


def test_two_policy_sets_with_one_digest_are_not_confused() -> None:
    it = Compiler()
    it.compile(POLICY, decision(POLICY), GROUP)
    other = replace(fleet({name: [("10.7.7.7", 1)] for name in POLICY.clusters}), digest=POLICY.digest)
    with pytest.raises(CompileError, match="two different policy sets"):
        it.compile(other, decision(other), GROUP)


@pytest.fixture
def authored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was authored, the slow way, since the fixture was made."""
    calls: list[str] = []
    for name in ("author_leg", "author_cluster", "author_listener", "author_routes"):
        real = getattr(compiler, name)

        def recorded(*arguments: Any, name: str = name, real: Any = real, **options: Any) -> Any:
            calls.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(compiler, name, recorded)
    return calls


def test_after_warming_no_weight_health_or_single_drain_authors_anything(authored: list[str]) -> None:
    it = Compiler()
    it.warm(POLICY, decision(POLICY), GROUP)
    assert authored
    authored.clear()
    it.compile(POLICY, decision(POLICY), GROUP)
    it.compile(POLICY, decision(POLICY, favourite="cloud-us-east"), GROUP)
    it.compile(POLICY, decision(POLICY, unhealthy={"onprem-fra": ("10.0.1.11:8000",)}), GROUP)
    for name in POLICY.clusters:
        it.compile(POLICY, decision(POLICY, drained=[name]), GROUP)
    assert authored == []


def test_after_warming_under_a_drain_neither_a_second_nor_its_end_authors_anything(authored: list[str]) -> None:
    it = Compiler()
    it.warm(POLICY, decision(POLICY, drained=["cloud-eu-west"]), GROUP)
    authored.clear()
    it.compile(POLICY, decision(POLICY), GROUP)
    for name in ("onprem-fra", "cloud-us-east"):
        it.compile(POLICY, decision(POLICY, drained=["cloud-eu-west", name]), GROUP)
    assert authored == []


def test_compiling_while_another_thread_warms_gives_the_same_bytes() -> None:
    it = Compiler()
    expected = Compiler().compile(POLICY, decision(POLICY), GROUP)
    warming = threading.Thread(target=it.warm, args=(POLICY, decision(POLICY), GROUP))
    warming.start()
    try:
        assert all(it.compile(POLICY, decision(POLICY), GROUP) == expected for _ in range(20))
    finally:
        warming.join()
