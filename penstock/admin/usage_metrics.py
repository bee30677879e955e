"""Metrics of what requests came to, and of how the access logs arrive that say so; read when scraped."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from penstock.signals.access_logs import AccessLogFacts
from penstock.signals.usage import Usage
from penstock.signals.usage_sums import BOUNDS, ClusterTimes, Seconds, UsageSums
from penstock_policies.policyset import PolicySet

_BY_POLICY: Final[tuple[tuple[str, str, Callable[[Usage], float]], ...]] = (
    ("requests", "Requests that ended, whoever answered them; no cluster: nobody did.", lambda of: of.requests),
    ("requests_failed", "Of them, those that ended with a 5xx, a 429 or a broken stream.", lambda of: of.failed),
    (
        "requests_unmetered",
        "Of them, those that were answered well without saying their tokens.",
        lambda of: of.unmetered,
    ),
)
_BY_CLUSTER: Final[tuple[tuple[str, str, Callable[[ClusterTimes], Seconds]], ...]] = (
    (
        "ttft_seconds",
        "From sending a request to a cluster to the first token of its stream.",
        lambda of: of.first_token,
    ),
    ("request_seconds", "From a client's first byte to the last of its answer.", lambda of: of.duration),
)


class UsageMetrics:
    """Everything that access logs tell people."""

    def __init__(self, facts: Callable[[], AccessLogFacts], sums: UsageSums) -> None:
        self._facts = facts
        self._sums = sums

    def collect(self, policy: PolicySet | None, now: float) -> Iterator[Metric]:
        """Every metric of a moment (Unix seconds)."""
        yield from self._intake()
        totals = sorted(self._sums.totals.items())
        tokens = CounterMetricFamily(
            "penstock_metered_tokens",
            "Tokens that answers said they took, the cached ones among the prompt's. The ledger's also have estimates.",
            labels=["policy", "cluster", "kind"],
        )
        for key, of in totals:
            tokens.add_metric([*key, "prompt"], of.prompt_tokens)
            tokens.add_metric([*key, "cached_prompt"], of.cached_prompt_tokens)
            tokens.add_metric([*key, "output"], of.output_tokens)
        yield tokens
        for name, documentation, pick in _BY_POLICY:
            counter = CounterMetricFamily(f"penstock_{name}", documentation, labels=["policy", "cluster"])
            for key, of in totals:
                counter.add_metric(key, pick(of))
            yield counter
        for name, documentation, pick_times in _BY_CLUSTER:
            histogram = HistogramMetricFamily(f"penstock_{name}", documentation, labels=["cluster"])
            for cluster, times in sorted(self._sums.times.items()):
                seconds = pick_times(times)
                histogram.add_metric([cluster], _buckets(seconds), sum_value=seconds.total)
            yield histogram
        metered = GaugeMetricFamily(
            "penstock_region_metered",
            "1 when access logs of the region's Envoys arrived in the last five minutes; else its costs are estimated.",
            labels=["region"],
        )
        heard = self._sums.metered_regions(now)
        for region in () if policy is None else policy.regions():
            metered.add_metric([region], float(region in heard))
        yield metered

    def _intake(self) -> Iterator[Metric]:
        facts = self._facts()
        yield GaugeMetricFamily("penstock_access_log_streams", "Envoy workers that stream logs.", value=facts.streams)
        yield GaugeMetricFamily(
            "penstock_access_log_waiting_bytes", "Logs that wait to be read.", value=facts.waiting_bytes
        )
        entries = CounterMetricFamily(
            "penstock_access_log_entries",
            "Requests in access logs: counted, shed for want of room, of an Envoy of no region (unplaced), or by names "
            "of no policy (unknown).",
            labels=["outcome"],
        )
        outcomes = {
            "counted": facts.entries,
            "shed": facts.shed,
            "unplaced": facts.unplaced,
            "unknown": facts.unknown,
        }
        for outcome, count in outcomes.items():
            entries.add_metric([outcome], count)
        yield entries
        yield CounterMetricFamily(
            "penstock_access_log_refused_figures", "Figures in access logs that cannot be true.", value=facts.refused
        )
        yield CounterMetricFamily(
            "penstock_access_log_garbage", "Log streams ended because they could not be read.", value=facts.garbage
        )


def _buckets(seconds: Seconds) -> list[tuple[str, float]]:
    names = [*map(floatToGoString, BOUNDS), "+Inf"]
    return [(name, float(count)) for name, count in zip(names, accumulate(seconds.counts), strict=True)]
