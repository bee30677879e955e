from dataclasses import dataclass, replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.admin.metrics import Metrics
from penstock.admin.ports import FeedStatus
from penstock.admin.xds_state import CanaryRollout, Queue
from penstock.state.ledger import AccrualKey, Accrued, Amounts, Entries, LedgerKey
from penstock_policies.decision import Note, Stage
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.problems import Problem
from tests.admin.conftest import Api
from tests.admin.fake_control import NOW, TYPE_URLS, FakeControlPlane, example_decision, quarantined

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Client:
    group: str = "edge-eu"


@dataclass
class Pushed:
    type_url: str
    bytes: int
    mailbox_seconds: float = 0.0
    build_seconds: float | None = None


@dataclass
class Acked:
    type_url: str
    seconds: float


@dataclass
class Nacked:
    type_url: str


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


def test_feeds_that_are_read_and_not_believed_show(metrics: Metrics, control: FakeControlPlane) -> None:
    assert control.decision is not None
    assert value(metrics, "penstock_cost_feed_refused_figures", feed="cloud-prices") == 0
    note = Note(Stage.SANITISE, "price refused", {"feed": "cloud-prices", "key": "eu-west", "why": "negative"})
    old = {"cloud-prices": {"eu-west": (0.9, control.decision.at - 601), "us-east": (1.0, control.decision.at)}}
    memory = replace(control.decision.memory, prices=old)
    control.decision = replace(control.decision, notes=(note,), memory=memory)
    assert value(metrics, "penstock_cost_feed_refused_figures", feed="cloud-prices") == 1
    assert value(metrics, "penstock_cost_feed_stale_figures", feed="cloud-prices") == 1
    assert value(metrics, "penstock_cost_feed_figure_age_seconds", feed="cloud-prices") == 601
    metrics.feed_failed("cloud-prices")
    assert value(metrics, "penstock_cost_feed_errors_total", feed="cloud-prices") == 1


def test_stream_events_are_counted_by_what_operators_call_the_types(metrics: Metrics) -> None:
    client = Client()
    metrics.on_connect(client)
    metrics.on_push(client, Pushed(TYPE_URLS[3], 400, 0.002, 0.0003))
    metrics.on_push(client, Pushed(TYPE_URLS[3], 100))
    metrics.on_ack(client, Acked(TYPE_URLS[3], 0.003))
    metrics.on_nack(client, Nacked(TYPE_URLS[2]))
    metrics.on_suppressed(client, TYPE_URLS[0], 7)
    metrics.on_disconnect(client, "closed")
    assert value(metrics, "penstock_xds_pushes_total", type="RDS") == 2
    assert value(metrics, "penstock_xds_push_bytes_total", type="RDS") == 500
    assert value(metrics, "penstock_xds_config_size_bytes_bucket", type="RDS", le="256.0") == 1
    assert value(metrics, "penstock_xds_mailbox_age_seconds_count", type="RDS") == 1
    assert value(metrics, "penstock_xds_build_seconds_count", type="RDS") == 1
    assert value(metrics, "penstock_xds_resends_suppressed_total", type="CDS") == 7
    assert value(metrics, "penstock_xds_commit_to_ack_seconds_count", type="RDS") == 1
    assert value(metrics, "penstock_xds_commit_to_ack_seconds_bucket", type="RDS", le="0.005") == 1
    assert value(metrics, "penstock_xds_nack_total", group="edge-eu", type="LDS") == 1
    assert value(metrics, "penstock_xds_disconnects_total", group="edge-eu") == 1


def test_what_is_quarantined_or_on_trial_is_a_gauge_that_is_there_before_there_is_any(
    metrics: Metrics, control: FakeControlPlane
) -> None:
    assert value(metrics, "penstock_xds_quarantined", group="edge-us", type="LDS") == 0
    control.refusals = [quarantined("public"), quarantined("internal")]
    control.trials = [CanaryRollout("edge-eu", nodes=3, waiting=2, since=NOW, stuck=False)]
    control.queue = Queue(building=4, waiting=900)
    assert value(metrics, "penstock_xds_quarantined", group="edge-eu", type="LDS") == 2
    assert value(metrics, "penstock_xds_quarantined", group="edge-eu", type="RDS") == 0
    assert value(metrics, "penstock_xds_canary_rollouts", group="edge-eu") == 1
    assert value(metrics, "penstock_xds_concurrent_builds") == 4
    assert value(metrics, "penstock_xds_builds_waiting") == 900


def test_a_type_no_envoy_knows_makes_no_label_of_its_own(metrics: Metrics) -> None:
    for number in range(100):
        metrics.on_push(Client(), Pushed(f"type.googleapis.com/made.up.Type{number}", 10))
        metrics.on_nack(Client(), Nacked(f"type.googleapis.com/made.up.Type{number}"))
    assert value(metrics, "penstock_xds_pushes_total", type="other") == 100
    assert value(metrics, "penstock_xds_nack_total", group="edge-eu", type="other") == 100


def test_a_histogram_counts_a_value_at_its_bound_as_not_above_it(metrics: Metrics) -> None:
    for seconds in (0.001, 0.0011, 40.0):
        metrics.on_ack(Client(), Acked(TYPE_URLS[0], seconds))
    name = "penstock_xds_commit_to_ack_seconds"
    assert value(metrics, f"{name}_bucket", type="CDS", le="0.001") == 1
    assert value(metrics, f"{name}_bucket", type="CDS", le="0.0025") == 2
    assert value(metrics, f"{name}_bucket", type="CDS", le="30.0") == 2
    assert value(metrics, f"{name}_bucket", type="CDS", le="+Inf") == value(metrics, f"{name}_count", type="CDS") == 3
    assert value(metrics, f"{name}_sum", type="CDS") == pytest.approx(40.0021)


def test_an_envoy_that_does_not_read_is_counted(metrics: Metrics) -> None:
    metrics.write_timed_out(Client())
    assert value(metrics, "penstock_xds_write_timeouts_total", group="edge-eu") == 1


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


def test_what_traffic_comes_to_is_counted_by_policy_and_cluster(metrics: Metrics) -> None:
    key = LedgerKey(0, "chat", "public", "llama-3-70b", "cloud-eu-west", "cloud", "eu-west", "eu-west")
    amounts = Amounts(usd=2.0, estimated_usd=0.5, prompt_tokens=70, cached_prompt_tokens=20, output_tokens=30)
    place = AccrualKey(0, "onprem-fra", "on_prem", "eu-central")
    metrics.counted(Entries({key: amounts, key._replace(edge_region="us-east"): amounts}, {place: Accrued(10, 0.25)}))
    text = metrics.render().decode()
    for line in (
        'penstock_cost_usd_total{cluster="cloud-eu-west",policy="chat"} 4.0',
        'penstock_cost_estimated_usd_total{cluster="cloud-eu-west",policy="chat"} 1.0',
        'penstock_ledger_tokens_total{cluster="cloud-eu-west",kind="prompt",policy="chat"} 140.0',
        'penstock_ledger_tokens_total{cluster="cloud-eu-west",kind="cached_prompt",policy="chat"} 40.0',
        'penstock_ledger_tokens_total{cluster="cloud-eu-west",kind="output",policy="chat"} 60.0',
        'penstock_amortized_usd_total{cluster="onprem-fra"} 0.25',
    ):
        assert line in text
