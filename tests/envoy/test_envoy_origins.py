"""Which document is blamed when an Envoy refuses a resource, and the names this relies on."""

import pytest

from penstock_envoy import names, resource
from penstock_envoy.origins import origin_of
from penstock_policies.words import DataClass
from tests.envoy.fleet import fleet

POLICY = fleet()


def blamed(type_url: str, name: str) -> list[tuple[str, str]]:
    """Kind and name of the documents at the origins given."""
    at = {origin: document for document, origin in POLICY.origins.items()}
    return [at[origin] for origin in origin_of(POLICY, type_url, name)]


def test_a_leg_name_says_class_and_order_and_can_be_read_back() -> None:
    name = names.leg(DataClass.PUBLIC, ("onprem-fra", "cloud-eu-west"))
    assert name == "leg/public/onprem-fra>cloud-eu-west"
    assert names.parse_leg(name) == (DataClass.PUBLIC, ("onprem-fra", "cloud-eu-west"))


@pytest.mark.parametrize("name", ["onprem-fra", "leg/secret/a", "leg/public/", "leg/public", ""])
def test_other_names_are_no_legs(name: str) -> None:
    assert names.parse_leg(name) is None


def test_a_cluster_and_its_endpoints_come_from_their_document() -> None:
    for type_url in (resource.CLUSTER, resource.ENDPOINT):
        assert blamed(type_url, "onprem-fra") == [("Cluster", "onprem-fra")]


def test_a_leg_comes_from_its_clusters_and_the_policies_that_could_ask_for_it() -> None:
    leg = names.leg(DataClass.INTERNAL, ("onprem-fra", "onprem-fra", "cloud-eu-west"))
    assert blamed(resource.CLUSTER, leg) == [
        ("Cluster", "onprem-fra"),
        ("Cluster", "cloud-eu-west"),
        ("TrafficPolicy", "staff"),
    ]


def test_a_listener_comes_from_its_document() -> None:
    assert blamed(resource.LISTENER, "vault") == [("Listener", "vault")]


def test_routes_come_from_the_policies_their_listener_may_carry() -> None:
    assert blamed(resource.ROUTE, "vault") == [("TrafficPolicy", "records"), ("Listener", "vault")]
    assert ("TrafficPolicy", "chat") in blamed(resource.ROUTE, "public")


@pytest.mark.parametrize("type_url", [resource.CLUSTER, resource.ROUTE, resource.LISTENER, "type.googleapis.com/other"])
def test_what_nobody_wrote_has_no_origin(type_url: str) -> None:
    assert origin_of(POLICY, type_url, "no-such-thing") == ()


def test_an_origin_reads_as_file_line_and_column() -> None:
    (origin,) = origin_of(POLICY, resource.CLUSTER, "cloud-us-east")
    assert str(origin) == "policy-2.yaml:2:1"
