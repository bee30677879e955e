"""What may be served together when it was generated from different policies."""

from collections.abc import Callable

import pytest

from penstock.control.mixtures import Mixtures
from penstock.control.publisher import Publisher
from penstock_envoy.compiler import Compiler
from penstock_envoy.residency import ResidencyBreach
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from penstock_policies.policyset import PolicySet
from penstock_xds import Acked, Nacked, Resource, Snapshot, SnapshotCache
from tests.envoy.fleet import DEFAULT_ENDPOINTS, GROUP, RULES, cluster, decision, policy_set

BERLIN = [("10.0.2.11", 8000)]
BERLIN_CLOUD = [("10.9.2.11", 8000)]
BOTH = "clusters: [onprem-fra, onprem-ber]"
RECORDS = "dataClass: restricted\n  clusters: [onprem-fra]"
VAULT_PORT = "{address: 0.0.0.0, port: 10002, dataClass: restricted}"

STAFF = "dataClass: internal\n  clusters: [onprem-fra, cloud-eu-west]"
STAFF_HOME = "dataClass: internal\n  clusters: [onprem-fra]"
CHAT = "clusters: [onprem-fra, cloud-eu-west, cloud-us-east]"
CHAT_IN_BERLIN = "clusters: [onprem-fra, onprem-ber, cloud-eu-west, cloud-us-east]"

# It remembers what it authored, which is slow.
COMPILER = Compiler()

Edit = Callable[[str], str]


def same(text: str) -> str:
    return text


def records_in_berlin(rules: str) -> str:
    assert RECORDS in rules
    return rules.replace(RECORDS, f"dataClass: restricted\n  {BOTH}")


def fleet(rules: Edit = same, *, berlin: str = "on_prem", addresses: list[tuple[str, int]] | None = None) -> PolicySet:
    sites = {"onprem-fra": "on_prem", "cloud-eu-west": "cloud", "cloud-us-east": "cloud"}
    documents = [
        cluster(name, DEFAULT_ENDPOINTS[name], site=site, region="eu-west", models="llama-3-70b, bge-m3")
        for name, site in sites.items()
    ]
    where = addresses if addresses is not None else (BERLIN if berlin == "on_prem" else BERLIN_CLOUD)
    documents.append(cluster("onprem-ber", where, site=berlin, region="eu-west", models="llama-3-70b, bge-m3"))
    return policy_set(*documents, rules(RULES.replace(CHAT, CHAT_IN_BERLIN)))


def snapshot(policy: PolicySet, favourite: str = "") -> Snapshot:
    resources = COMPILER.compile(policy, decision(policy, favourite=favourite), GROUP)
    return Snapshot.of(Resource(r.type_url, r.name, r.body) for r in resources)


def mixed(new: Snapshot, old: Snapshot, *names: tuple[str, str]) -> Snapshot:
    """The new snapshot with some resources, and the legs they need, as they were."""
    missing = {
        (CLUSTER, name): resource
        for name, resource in old.resources(CLUSTER).items()
        if name not in new.resources(CLUSTER)
    }
    return new.altered({**{key: old.resources(key[0])[key[1]] for key in names}, **missing}, {})


def published(*policies: PolicySet) -> tuple[Mixtures, list[Snapshot]]:
    mixtures, snapshots = Mixtures(), []
    for policy in policies:
        snapshots.append(snapshot(policy))
        mixtures.published(policy, GROUP, snapshots[-1])
    return mixtures, snapshots


def test_a_refused_route_beside_a_cluster_that_moved_to_the_cloud_must_not_be_served() -> None:
    mixtures, (old, new) = published(fleet(records_in_berlin), fleet(berlin="cloud"))
    objection = mixtures.objection(GROUP, mixed(new, old, (ROUTE, "vault")))
    assert objection is not None
    assert "restricted data may not reach onprem-ber" in objection


def test_each_whole_snapshot_passes() -> None:
    mixtures, snapshots = published(fleet(records_in_berlin), fleet(berlin="cloud"))
    assert [mixtures.objection(GROUP, each) for each in snapshots] == [None, None]


def test_a_refused_route_passes_while_its_clusters_stay_where_they_were() -> None:
    mixtures, (old, new) = published(fleet(records_in_berlin), fleet())
    assert mixtures.objection(GROUP, mixed(new, old, (ROUTE, "vault"))) is None


def test_a_refused_listener_passes_with_everything_else_new() -> None:
    # The commonest refusal of all: an address that cannot be bound.
    moved = fleet(lambda rules: rules.replace(VAULT_PORT, VAULT_PORT.replace("10002", "10003")))
    mixtures, (old, new) = published(fleet(), moved)
    assert new.resources(LISTENER)["vault"] != old.resources(LISTENER)["vault"]
    assert mixtures.objection(GROUP, mixed(new, old, (LISTENER, "vault"))) is None
    later = snapshot(moved, favourite="cloud-us-east")
    mixtures.published(moved, GROUP, later)
    assert mixtures.objection(GROUP, mixed(later, old, (LISTENER, "vault"))) is None


def test_a_refused_cluster_passes_at_its_old_endpoints() -> None:
    elsewhere = fleet(records_in_berlin, addresses=[("10.0.2.99", 8000)])
    mixtures, (old, new) = published(fleet(records_in_berlin), elsewhere)
    assert mixtures.objection(GROUP, mixed(new, old, (ENDPOINT, "onprem-ber"))) is None


def test_an_old_address_that_is_now_said_to_be_in_the_cloud_is_judged_by_the_newest_word() -> None:
    mixtures, (old, new) = published(
        fleet(records_in_berlin), fleet(berlin="cloud", addresses=[*BERLIN, ("10.9.2.12", 8000)])
    )
    stale = mixed(new, old, (ROUTE, "vault"), (CLUSTER, "onprem-ber"), (ENDPOINT, "onprem-ber"))
    assert mixtures.objection(GROUP, stale) is not None


def test_a_version_that_an_envoy_may_hold_instead_is_proven_too() -> None:
    mixtures, (old, new) = published(fleet(records_in_berlin), fleet(berlin="cloud"))
    kept = old.resources(ROUTE)["vault"].version
    safe = new.altered({}, {(ROUTE, "vault"): frozenset({new.resources(ROUTE)["vault"].version})})
    assert mixtures.objection(GROUP, safe) is None
    legs = {(CLUSTER, name): r for name, r in old.resources(CLUSTER).items() if name not in new.resources(CLUSTER)}
    assert mixtures.objection(GROUP, new.altered(legs, {(ROUTE, "vault"): frozenset({kept})})) is not None


def test_what_was_never_published_is_not_proven() -> None:
    mixtures, (known,) = published(fleet())
    stranger = snapshot(fleet(addresses=[("10.66.6.6", 8000)]))
    objection = mixtures.objection(GROUP, mixed(known, stranger, (ENDPOINT, "onprem-ber")))
    assert objection is not None
    assert "no longer known" in objection


def test_a_tighter_rule_does_not_hold_back_everything_for_one_refused_route() -> None:
    # Holding the group at all of its old configuration would keep every old route, not one.
    tighter = fleet(
        lambda rules: rules.replace("[onprem-fra, cloud-eu-west]}", "[onprem-fra]}").replace(STAFF, STAFF_HOME)
    )
    mixtures, (old, new) = published(fleet(), tighter)
    assert mixtures.objection(GROUP, mixed(new, old, (ROUTE, "staff"))) is None


def test_an_edit_whose_way_there_lets_restricted_data_out_is_refused_and_says_to_make_two() -> None:
    cache = SnapshotCache()
    publisher = Publisher(cache, COMPILER)
    before, after = fleet(records_in_berlin), fleet(berlin="cloud")
    publisher.publish(before, decision(before))
    served = cache.get(GROUP)
    with pytest.raises(ResidencyBreach, match=r"restricted data may not reach onprem-ber.*two edits"):
        publisher.publish(after, decision(after))
    assert cache.get(GROUP) is served
    between = fleet()
    publisher.publish(between, decision(between))
    publisher.publish(after, decision(after))
    assert cache.get(GROUP) == snapshot(after)


@pytest.mark.parametrize(
    "after",
    [
        fleet(records_in_berlin, addresses=[("10.0.2.77", 8000)]),
        fleet(),
        fleet(lambda rules: records_in_berlin(rules).replace("port: 10002", "port: 10009")),
        fleet(lambda rules: rules.replace("name: records", "name: patients")),
        fleet(lambda rules: rules.replace("{clusters: [onprem-fra, cloud-eu-west]}", "{regions: [eu-west]}")),
    ],
    ids=["address", "cluster-leaves-policy", "port", "policy-renamed", "rule"],
)
def test_ordinary_edits_pass(after: PolicySet) -> None:
    publisher = Publisher(SnapshotCache(), COMPILER)
    before = fleet(records_in_berlin)
    publisher.publish(before, decision(before))
    publisher.publish(after, decision(after))
    publisher.publish(before, decision(before))


def test_after_a_refusal_the_next_edit_passes_whatever_envoys_hold_by_then() -> None:
    mixtures, (old, new) = published(fleet(), fleet(lambda rules: rules.replace("port: 10002", "port: 10666")))
    kept = {(LISTENER, "vault"): frozenset({new.resources(LISTENER)["vault"].version})}
    served = new.altered({(LISTENER, "vault"): old.resources(LISTENER)["vault"]}, kept)
    mended = fleet(lambda rules: rules.replace("port: 10002", "port: 10003"))
    assert mixtures.objection_on_the_way(mended, GROUP, served, snapshot(mended)) is None


class Client:
    """Holds what it was last acknowledged to hold."""

    def __init__(self) -> None:
        self.target = Snapshot.of(())

    def confirmed(self, type_url: str, name: str) -> str | None:
        found = self.target.resources(type_url).get(name)
        return None if found is None else found.version

    def subscribes(self, type_url: str, name: str) -> bool:
        return True

    def offer(self, target: Snapshot) -> None:
        self.target = target


class Unwatchful(Mixtures):
    """Proves no way anywhere until told to: so that what must not happen can be seen not to matter."""

    watchful = False

    def objection_on_the_way(
        self, policy: PolicySet, group: str, before: Snapshot | None, after: Snapshot
    ) -> str | None:
        return super().objection_on_the_way(policy, group, before, after) if self.watchful else None


def test_a_nack_cannot_make_a_mixture_that_lets_restricted_data_out() -> None:
    mixtures = Unwatchful()
    cache, client = SnapshotCache(guard=mixtures.objection), Client()
    publisher = Publisher(cache, COMPILER, mixtures)
    before, after = fleet(records_in_berlin), fleet(berlin="cloud")
    publisher.publish(before, decision(before))
    membership = cache.join(GROUP, "1", client.offer, node_id="edge-1", client=client)
    for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
        resources = tuple(client.target.resources(type_url).values())
        membership.acked(Acked(type_url, client.target.version(type_url), 0.0, resources))
    safe = client.target

    publisher.publish(after, decision(after))
    refused = client.target.resources(ROUTE)["vault"]
    membership.nacked(Nacked(ROUTE, ("vault",), refused.version, "vault: no such thing", (refused,)))
    assert client.target == safe
    (refusal,) = cache.refusals()
    assert "restricted data may not reach onprem-ber" in refusal.held
    assert refusal.served_instead == safe.resources(ROUTE)["vault"].version

    # Nor is the way opened again by the next decision under that policy, until the policy is mended.
    mixtures.watchful = True
    publisher.publish(after, decision(after, favourite="cloud-us-east"))
    assert client.target == safe
    mended = fleet(lambda rules: rules.replace("name: records", "name: patients"))
    publisher.publish(mended, decision(mended))
    assert client.target == snapshot(mended)
    assert cache.refusals() == ()
