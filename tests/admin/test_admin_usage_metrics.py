"""What access logs tell, on the metrics page."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from penstock.admin.usage_metrics import UsageMetrics
from penstock.signals.access_log_entries import parse, read
from penstock.signals.access_logs import AccessLogFacts
from penstock.signals.usage_sums import UsageSums
from tests.envoy.fleet import fleet
from tests.signals.log_entries import message

NOW = 1_790_000_000.0
POLICY = fleet()


class _Scrape(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def page(sums: UsageSums, facts: AccessLogFacts, now: float = NOW) -> dict[str, float]:
    """Every sample by its name and the values of its labels, in the order of their names."""
    registry = CollectorRegistry()
    registry.register(_Scrape(list(UsageMetrics(lambda: facts, sums).collect(POLICY, now))))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {" ".join([one.name, *one.labels.values()]): one.value for of in families for one in of.samples}


def test_requests_tokens_and_times_by_policy_and_cluster() -> None:
    sums = UsageSums()
    sums.apply(POLICY)
    answers: list[dict[str, Any]] = [
        {"prompt": 100, "cached": 40, "output": 20, "stream": 1, "seconds": 2.0},
        {"prompt": 50, "output": 5, "seconds": 0.7},
        {"status": 503, "seconds": 0.01},
        {"stream": 1, "first_byte_us": "900000", "seconds": 400.0},
    ]
    for entry in parse(message(*answers)).entries:
        assert sums.add("eu-west", read(entry), NOW)
    assert "penstock_metered_tokens_total onprem-fra prompt chat" not in page(sums, AccessLogFacts())
    sums.take()
    found = page(sums, AccessLogFacts())
    assert found["penstock_metered_tokens_total onprem-fra prompt chat"] == 150
    assert found["penstock_metered_tokens_total onprem-fra output chat"] == 25
    assert found["penstock_metered_tokens_total onprem-fra cached_prompt chat"] == 40
    assert found["penstock_requests_total onprem-fra chat"] == 4
    assert found["penstock_requests_failed_total onprem-fra chat"] == 1
    assert found["penstock_requests_unmetered_total onprem-fra chat"] == 1
    assert found["penstock_ttft_seconds_count onprem-fra"] == 2
    assert found["penstock_ttft_seconds_bucket onprem-fra 0.25"] == 1
    assert found["penstock_ttft_seconds_bucket onprem-fra 1.0"] == 2
    assert found["penstock_request_seconds_bucket onprem-fra 300.0"] == 3
    assert found["penstock_request_seconds_bucket onprem-fra +Inf"] == 4
    assert found["penstock_region_metered eu-west"] == 1
    assert page(sums, AccessLogFacts(), NOW + 301)["penstock_region_metered eu-west"] == 0


def test_how_the_intake_goes() -> None:
    facts = AccessLogFacts(streams=3, waiting_bytes=70, entries=10, shed=4, refused=5, unplaced=6, unknown=7, garbage=8)
    sums = UsageSums()
    sums.apply(POLICY)
    found = page(sums, facts)
    assert found["penstock_access_log_streams"] == 3
    assert found["penstock_access_log_waiting_bytes"] == 70
    outcomes = {"counted": 10, "shed": 4, "unplaced": 6, "unknown": 7}
    assert {each: found[f"penstock_access_log_entries_total {each}"] for each in outcomes} == outcomes
    assert found["penstock_access_log_refused_figures_total"] == 5
    assert found["penstock_access_log_garbage_total"] == 8
    assert found["penstock_region_metered eu-west"] == 0
