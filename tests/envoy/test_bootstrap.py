"""The bootstrap file: what is in it, and that Envoy takes it."""

from typing import Any

import pytest
import yaml

from penstock_envoy import bootstrap, process


def rendered(**options: Any) -> Any:
    return yaml.safe_load(bootstrap.render("edge-1", "edge-eu", "10.0.0.9", 18000, **options))


def test_it_says_who_the_envoy_is() -> None:
    assert rendered()["node"] == {"id": "edge-1", "cluster": "edge-eu"}
    assert rendered(region="eu-west")["node"]["locality"] == {"region": "eu-west"}


@pytest.mark.parametrize(("variant", "api_type"), [("delta", "DELTA_GRPC"), ("sotw", "GRPC")])
def test_everything_else_comes_over_ads(variant: bootstrap.Variant, api_type: str) -> None:
    dynamic = rendered(variant=variant)["dynamic_resources"]
    assert dynamic["ads_config"]["api_type"] == api_type
    assert dynamic["ads_config"]["set_node_on_first_message_only"] is True
    assert dynamic["cds_config"] == dynamic["lds_config"] == {"resource_api_version": "V3", "ads": {}}


def test_a_lost_control_plane_is_looked_for_again_within_seconds() -> None:
    (service,) = rendered()["dynamic_resources"]["ads_config"]["grpc_services"]
    assert service["envoy_grpc"]["retry_policy"]["retry_back_off"]["max_interval"] == "2s"


def test_the_admin_page_is_on_loopback_alone() -> None:
    assert rendered(admin_port=19000)["admin"]["address"]["socket_address"] == {
        "address": "127.0.0.1",
        "port_value": 19000,
    }


def test_load_reports_can_be_left_out() -> None:
    assert "cluster_manager" in rendered()
    assert "cluster_manager" not in rendered(load_stats=False)


def test_health_checks_for_the_control_plane_can_be_left_out() -> None:
    service = rendered()["hds_config"]["grpc_services"][0]["envoy_grpc"]
    assert service["cluster_name"] == "penstock/xds"
    assert "hds_config" not in rendered(health_checks=False)


def test_a_dns_name_is_resolved_and_an_address_is_not() -> None:
    def discovery(host: str) -> str:
        (cluster,) = yaml.safe_load(bootstrap.render("n", "c", host, 1))["static_resources"]["clusters"]
        return str(cluster["type"])

    assert [discovery(host) for host in ("10.0.0.9", "::1", "penstock.svc")] == ["STATIC", "STATIC", "STRICT_DNS"]


@pytest.mark.parametrize(
    "bad",
    [
        {"node_id": ""},
        {"group_cluster": ""},
        {"xds_host": ""},
        {"xds_port": 0},
        {"xds_port": 65536},
        {"admin_port": -1},
        {"variant": "rest"},
    ],
)
def test_nonsense_is_refused(bad: dict[str, Any]) -> None:
    good: dict[str, Any] = {"node_id": "n", "group_cluster": "c", "xds_host": "h", "xds_port": 1}
    with pytest.raises(ValueError, match=r"."):
        bootstrap.render(**{**good, **bad})


@pytest.mark.parametrize("name", ["n", "Y", "on", "1e3", "0x1F", "~", "null", "12", "a: b", "é", "- x", "#1"])
def test_a_name_that_yaml_could_take_for_something_else_stays_a_name(name: str) -> None:
    text = bootstrap.render(name, name, "10.0.0.9", 18000)
    assert f'id: "{name}"' in text
    assert yaml.safe_load(text)["node"] == {"id": name, "cluster": name}


@pytest.mark.e2e
@pytest.mark.parametrize("variant", ["delta", "sotw"])
def test_envoy_takes_it_with_everything_switched_on(variant: bootstrap.Variant) -> None:
    process.validate(
        bootstrap.render("n", "1e3", "127.0.0.1", 18000, region="0x1", variant=variant, max_heap_bytes=1 << 30)
    )
