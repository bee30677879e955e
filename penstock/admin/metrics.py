"""The metrics of the process: counters fed as things happen, gauges read from the control plane when scraped.

:class:`Metrics` is also a listener for the xDS server: its ``on_*`` methods are called on the event loop for every
stream event, so each does one dictionary look-up and one addition.
"""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from penstock.admin.gauges import ControlPlaneGauges
from penstock.admin.ports import ControlPlane
from penstock.admin.wire import short_type
from penstock_policies.decision import Decision

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

# A push to a near Envoy is acknowledged in about 3 ms; one that warms clusters or crosses an ocean takes seconds.
ACK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0)


class StreamFacts(Protocol):
    """What metrics need of an xDS stream's view."""

    @property
    def group(self) -> str:
        """The node group the stream belongs to."""
        ...


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        # A creation time beside every counter doubles the series and tells nothing a restart does not.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one function unannotated
        self.registry = CollectorRegistry()
        self._connects = self._counter("xds_connects", "xDS streams opened.", "group")
        self._disconnects = self._counter("xds_disconnects", "xDS streams ended.", "group")
        self._pushes = self._counter("xds_pushes", "xDS responses sent.", "type")
        self._push_bytes = self._counter("xds_push_bytes", "Bytes of xDS responses sent.", "type")
        self._nacks = self._counter("xds_nack", "xDS responses refused by an Envoy.", "group", "type")
        self._acks = Histogram(
            "penstock_xds_commit_to_ack_seconds",
            "Time from the publication of a snapshot to an Envoy's acknowledgement.",
            ["type"],
            registry=self.registry,
            buckets=ACK_BUCKETS,
        )
        self._decisions = self._counter("decisions", "Decisions published.", "rung")
        self._probe_failures = self._counter("probe_failures", "Health probes that failed.", "cluster")
        self._store_errors = self._counter("store_errors", "Reads and writes the state store failed.")
        build = Info("penstock_build", "What is running.", registry=self.registry)
        build.info({"version": version("penstock"), "python": platform.python_version()})

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"penstock_{name}", documentation, labels, registry=self.registry)

    def watch(self, control: ControlPlane) -> None:
        """Read the gauges from this control plane at every scrape from now on. Call it once."""
        self.registry.register(ControlPlaneGauges(control))

    def render(self) -> bytes:
        """Every metric in Prometheus' text format."""
        return generate_latest(self.registry)

    def decision_published(self, decision: Decision) -> None:
        """Count a decision that was published."""
        self._decisions.labels(decision.rung.value).inc()

    def probe_failed(self, cluster: str) -> None:
        """Count a failed probe of one of a cluster's endpoints."""
        self._probe_failures.labels(cluster).inc()

    def store_failed(self) -> None:
        """Count a read or write the state store failed."""
        self._store_errors.inc()

    def on_connect(self, view: StreamFacts) -> None:
        """Count a stream that was opened."""
        self._connects.labels(view.group).inc()

    def on_disconnect(self, view: StreamFacts, reason: str) -> None:  # noqa: ARG002 - the listener's signature
        """Count a stream that ended; the reason is the log's business (its values are unbounded)."""
        self._disconnects.labels(view.group).inc()

    def on_push(self, view: StreamFacts, type_url: str, bytes_count: int) -> None:  # noqa: ARG002
        """Count a response that was sent. Not by Envoy or group: a push to all of them is one event to read."""
        kind = short_type(type_url)
        self._pushes.labels(kind).inc()
        self._push_bytes.labels(kind).inc(bytes_count)

    def on_ack(self, view: StreamFacts, type_url: str, version: str, seconds: float) -> None:  # noqa: ARG002
        """Record how long an Envoy took to acknowledge."""
        self._acks.labels(short_type(type_url)).observe(seconds)

    def on_nack(
        self,
        view: StreamFacts,
        type_url: str,
        names: Sequence[str],  # noqa: ARG002
        version: str,  # noqa: ARG002
        message: str,  # noqa: ARG002
    ) -> None:
        """Count a refusal; which resources and why is in the log and in ``/api/v1/nodes``."""
        self._nacks.labels(view.group, short_type(type_url)).inc()
