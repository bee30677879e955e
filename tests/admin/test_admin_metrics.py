from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from penstock.admin.metrics import Metrics
from penstock.admin.ports import FeedStatus
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.problems import Problem
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, TYPE_URLS, FakeControlPlane, example_decision

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class View:
    group: str = "edge-eu"


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics.render().decode())[name, frozenset(labels.items())]


def test_gauges_are_read_from_the_control_plane(metrics: Metrics, control: FakeControlPlane) -> None:
    control.overrides = Overrides({"cloud-eu-west": Drain("cloud-eu-west", NOW, NOW + 60, "upgrade", "maria")})
    row = {"policy": "chat", "region": "eu-west", "model": "llama-3-70b"}
    assert value(metrics, "penstock_route_weight", **row, cluster="onprem-fra") == 6000
    assert value(metrics, "penstock_cluster_state", cluster="cloud-us-east", state="DOWN") == 1
    assert value(metrics, "penstock_cluster_state", cluster="cloud-us-east", state="UP") == 0
    assert value(metrics, "penstock_cluster_in_flight", cluster="onprem-fra") == 150
    assert value(metrics, "penstock_cluster_capacity", cluster="onprem-fra") == 136
    assert value(metrics, "penstock_cluster_price_usd_per_mtok", cluster="cloud-eu-west") == 0.9
    assert value(metrics, "penstock_cost_feed_age_seconds", feed="cloud-prices") == 3
    assert value(metrics, "penstock_drain_active", cluster="cloud-eu-west") == 1
    assert value(metrics, "penstock_drain_active", cluster="onprem-fra") == 0
    assert value(metrics, "penstock_xds_connected_clients", group="edge-eu") == 1
    assert value(metrics, "penstock_engine_frozen") == 0
    assert value(metrics, "penstock_ready") == 1
    assert value(metrics, "penstock_policy_reload_success") == 1
    assert value(metrics, "penstock_policy_reload_last_success_timestamp_seconds") == NOW - 3600


def test_a_refused_policy_and_a_silent_feed_show(metrics: Metrics, control: FakeControlPlane) -> None:
    control.policy_rejected_at = NOW
    control.policy_problems = (Problem("error", "a.yaml", 1, 1, "spec", "wrong"),)
    control.feed_statuses = [FeedStatus("cloud-prices")]
    control.envoys.clear()
    control.freeze("distrusted")
    assert value(metrics, "penstock_policy_reload_success") == 0
    assert value(metrics, "penstock_policy_problems", severity="error") == 1
    assert value(metrics, "penstock_cost_feed_age_seconds", feed="cloud-prices") == float("inf")
    assert value(metrics, "penstock_xds_connected_clients", group="edge-us") == 0
    assert value(metrics, "penstock_engine_frozen") == 1


def test_stream_events_are_counted_by_what_operators_call_the_types(metrics: Metrics) -> None:
    view = View()
    metrics.on_connect(view)
    metrics.on_push(view, TYPE_URLS[3], 400)
    metrics.on_push(view, TYPE_URLS[3], 100)
    metrics.on_ack(view, TYPE_URLS[3], "v1", 0.003)
    metrics.on_nack(view, TYPE_URLS[2], ("public",), "v2", "no such port")
    metrics.on_disconnect(view, "closed")
    assert value(metrics, "penstock_xds_pushes_total", type="RDS") == 2
    assert value(metrics, "penstock_xds_push_bytes_total", type="RDS") == 500
    assert value(metrics, "penstock_xds_commit_to_ack_seconds_count", type="RDS") == 1
    assert value(metrics, "penstock_xds_commit_to_ack_seconds_bucket", type="RDS", le="0.005") == 1
    assert value(metrics, "penstock_xds_nack_total", group="edge-eu", type="LDS") == 1
    assert value(metrics, "penstock_xds_disconnects_total", group="edge-eu") == 1


def test_decisions_and_failures_are_counted(metrics: Metrics) -> None:
    metrics.decision_published(example_decision())
    metrics.probe_failed("onprem-fra")
    metrics.store_failed()
    assert value(metrics, "penstock_decisions_total", rung="waterfall") == 1
    assert value(metrics, "penstock_probe_failures_total", cluster="onprem-fra") == 1
    assert value(metrics, "penstock_store_errors_total") == 1


async def test_metrics_are_served_in_prometheus_text(api: Api) -> None:
    answer = await api.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    names = {name for name, _ in samples(answer.text)}
    assert "penstock_build_info" in names
    assert all(name.startswith("penstock_") for name in names)
