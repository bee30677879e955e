"""The metrics of the process: counters fed as things happen, gauges read from the control plane when scraped.

:class:`Metrics` is also a listener for the xDS server: its ``on_*`` methods are called on the event loop for every
stream event; those of pushes and acknowledgements only add to the numbers of :mod:`penstock.admin.xds_metrics`. A large
fleet's metrics are megabytes of text, so :meth:`Metrics.scrape` writes them in a worker thread.
"""

import asyncio
import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from penstock.admin.gauges import decision_gauges, live_gauges
from penstock.admin.ports import ControlPlane
from penstock.admin.usage_metrics import UsageMetrics
from penstock.admin.xds_metrics import PushFacts, XdsTraffic, type_label
from penstock.state.ledger import Entries
from penstock_policies.decision import Decision

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_DECISION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. A small fleet's decision takes milliseconds; one that nears the second keeps the loop from its beat."""

_TTFT_BUCKETS: Final = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
"""Seconds. Few: there is one such histogram a cluster."""


class ClientFacts(Protocol):
    """What metrics need of the client of an xDS stream."""

    @property
    def group(self) -> str:
        """The node group the stream belongs to."""
        ...


class TypeFacts(Protocol):
    """What metrics need of a refusal."""

    @property
    def type_url(self) -> str:
        """The type it is about."""
        ...


class AckFacts(TypeFacts, Protocol):
    """What metrics need of an acknowledgement."""

    @property
    def seconds(self) -> float:
        """From the publication of the content to the acknowledgement."""
        ...


class RefusalFacts(Protocol):
    """What metrics need of a quarantine that begins or ends."""

    @property
    def group(self) -> str:
        """The node group it holds in."""
        ...

    @property
    def type_url(self) -> str:
        """The type of the resource."""
        ...


class _Scrape(Collector):
    """The metrics of one moment: counters that lock for themselves, what was read on the event loop, the decision."""

    def __init__(self, registry: CollectorRegistry, live: list[Metric], decision: Decision | None) -> None:
        self._registry = registry
        self._live = live
        self._decision = decision

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        yield from self._registry.collect()
        yield from self._live
        yield from decision_gauges(self._decision)


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        # A creation time beside every counter doubles the series and tells nothing a restart does not.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one function unannotated
        self.registry = CollectorRegistry()
        self._connects = self._counter("xds_connects", "xDS streams opened.", "group")
        self._disconnects = self._counter("xds_disconnects", "xDS streams ended.", "group")
        self._nacks = self._counter("xds_nack", "xDS responses refused by an Envoy.", "group", "type")
        self._quarantines = self._counter(
            "xds_quarantines", "Resource versions that were quarantined.", "group", "type"
        )
        self._write_timeouts = self._counter(
            "xds_write_timeouts", "xDS streams ended because the Envoy did not take a response in time.", "group"
        )
        self._traffic = XdsTraffic()
        self._control: ControlPlane | None = None
        self._usage: UsageMetrics | None = None
        self._decisions = self._counter("decisions", "Decisions published.", "rung")
        self._decision_seconds = Histogram(
            "penstock_decision_seconds",
            "Time the engine took for a decision, published or not.",
            ("rung",),
            buckets=_DECISION_BUCKETS,
            registry=self.registry,
        )
        self._probe_failures = self._counter("probe_failures", "Health probes that failed.", "cluster")
        self._cost = self._counter("cost_usd", "USD that traffic cost, at marginal prices.", "policy", "cluster")
        self._cost_estimated = self._counter(
            "cost_estimated_usd", "Of that, what no access log told the tokens of.", "policy", "cluster"
        )
        self._amortized = self._counter("amortized_usd", "USD of clusters paid by the hour, used or not.", "cluster")
        self._tokens = self._counter(
            "ledger_tokens",
            "Tokens that traffic came to, measured or estimated; cached ones are among the prompt's.",
            "policy",
            "cluster",
            "kind",
        )
        self._feed_errors = self._counter("cost_feed_errors", "Reads of a cost feed that failed.", "feed")
        self._probes = self._counter(
            "probes", "Probes of endpoints, by the highest layer they came to.", "cluster", "layer", "result"
        )
        self._probe_tokens = self._counter("probe_tokens", "Tokens that probes' generations cost.", "cluster", "kind")
        self._probe_ttft = Histogram(
            "penstock_probe_ttft_seconds",
            "Time to the first token of probes' generations.",
            ("cluster",),
            buckets=_TTFT_BUCKETS,
            registry=self.registry,
        )
        self._store_errors = self._counter("store_errors", "Reads and writes the state store failed.")
        build = Info("penstock_build", "What is running.", registry=self.registry)
        build.info({"version": version("penstock"), "python": platform.python_version()})

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"penstock_{name}", documentation, labels, registry=self.registry)

    def watch(self, control: ControlPlane, usage: UsageMetrics | None = None) -> None:
        """Read the gauges, and what access logs tell, from these at every scrape from now on. Call it once."""
        self._control = control
        self._usage = usage

    def render(self) -> bytes:
        """Every metric in Prometheus' text format."""
        return generate_latest(self._now())

    async def scrape(self) -> bytes:
        """Every metric of this moment in Prometheus' text format, written beside the event loop."""
        return await asyncio.to_thread(generate_latest, self._now())

    def _now(self) -> "_Scrape":
        live = list(self._traffic.collect())
        if self._control is None:
            return _Scrape(self.registry, live, None)
        live.extend(live_gauges(self._control))
        if self._usage is not None:
            live.extend(self._usage.collect(self._control.policy_set, self._control.now()))
        return _Scrape(self.registry, live, self._control.decision)

    def decision_published(self, decision: Decision) -> None:
        """Count a decision that was published."""
        self._decisions.labels(decision.rung.value).inc()

    def decided(self, decision: Decision, seconds: float) -> None:
        """Record how long a decision took, published or not."""
        self._decision_seconds.labels(decision.rung.value).observe(seconds)

    def probe_failed(self, cluster: str) -> None:
        """Count a failed probe of one of a cluster's endpoints."""
        self._probe_failures.labels(cluster).inc()

    def counted(self, entries: Entries) -> None:
        """Count what is added to the ledger. The labels are names of policy sets, so there are few."""
        for key, of in entries.amounts.items():
            self._cost.labels(key.policy, key.cluster).inc(of.usd)
            self._cost_estimated.labels(key.policy, key.cluster).inc(of.estimated_usd)
            for kind, tokens in (
                ("prompt", of.prompt_tokens),
                ("cached_prompt", of.cached_prompt_tokens),
                ("output", of.output_tokens),
            ):
                self._tokens.labels(key.policy, key.cluster, kind).inc(tokens)
        for place, accrued in entries.accrued.items():
            self._amortized.labels(place.cluster).inc(accrued.usd)

    def feed_failed(self, feed: str) -> None:
        """Count a read of a cost feed that failed."""
        self._feed_errors.labels(feed).inc()

    def probed(self, cluster: str, layer: str, outcome: str) -> None:
        """Count a probe, or a generation, of one of a cluster's endpoints."""
        self._probes.labels(cluster, layer, outcome).inc()

    def generated(self, cluster: str, ttft: float | None, prompt_tokens: int, output_tokens: int) -> None:
        """Count what a probe's generation cost, and record the seconds to its first token."""
        self._probe_tokens.labels(cluster, "prompt").inc(prompt_tokens)
        self._probe_tokens.labels(cluster, "output").inc(output_tokens)
        if ttft is not None:
            self._probe_ttft.labels(cluster).observe(ttft)

    def store_failed(self) -> None:
        """Count a read or write the state store failed."""
        self._store_errors.inc()

    def on_connect(self, client: ClientFacts) -> None:
        """Count a stream that was opened."""
        self._connects.labels(client.group).inc()

    def on_disconnect(self, client: ClientFacts, reason: str) -> None:  # noqa: ARG002 - the listener's signature
        """Count a stream that ended; the reason is the log's business (its values are unbounded)."""
        self._disconnects.labels(client.group).inc()

    def write_timed_out(self, client: ClientFacts) -> None:
        """Count a stream that was ended because its Envoy did not read."""
        self._write_timeouts.labels(client.group).inc()

    def on_push(self, client: ClientFacts, pushed: PushFacts) -> None:  # noqa: ARG002 - the listener's signature
        """Count a response that is being sent."""
        self._traffic.pushed(pushed)

    def on_ack(self, client: ClientFacts, acked: AckFacts) -> None:  # noqa: ARG002
        """Record how long an Envoy took to acknowledge."""
        self._traffic.acked(acked.type_url, acked.seconds)

    def on_nack(self, client: ClientFacts, nacked: TypeFacts) -> None:
        """Count a refusal; which resources and why is in the log and in ``/api/v1/quarantine``."""
        self._nacks.labels(client.group, type_label(nacked.type_url)).inc()

    def on_suppressed(self, client: ClientFacts, type_url: str, count: int) -> None:  # noqa: ARG002
        """Count resources that needed no sending."""
        self._traffic.suppressed(type_url, count)

    def on_quarantine(self, refusal: RefusalFacts) -> None:
        """Count a version that is not sent any more; how many there are now is a gauge."""
        self._quarantines.labels(refusal.group, type_label(refusal.type_url)).inc()
