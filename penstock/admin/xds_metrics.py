"""What is counted on the xDS streams: plain numbers that a push bumps, made into metrics when scraped.

The callbacks run for every push and every acknowledgement of every Envoy, a thousand times within milliseconds. So each
finds the numbers of its type by one dictionary look-up and adds to them; the Prometheus library, whose counters take
locks and a microsecond each, sees them at scrape time only. All of it happens on the event loop's thread.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from penstock.admin.wire import TYPE_NAMES

# A push to a near Envoy is acknowledged in about 3 ms; one that warms clusters or crosses an ocean takes seconds.
ACK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0)

# One route table takes some 10 us to write into a response, ten thousand clusters some tens of milliseconds.
BUILD_BUCKETS: Final = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5)

# From one small change of weights to more than the 4 MiB that many gRPC clients take by default.
SIZE_BUCKETS: Final = (256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)

OTHER: Final = "other"
"""The label of every type that is none of Envoy's: a client may ask for whatever it likes, and labels must not grow."""


SERVED_TYPES: Final = ("CDS", "EDS", "LDS", "RDS")
"""The types Penstock serves, as operators call them."""


def type_label(type_url: str) -> str:
    """``RDS`` for the type URL of route configurations, and so on."""
    return TYPE_NAMES.get(type_url.rpartition("/")[2], OTHER)


class PushFacts(Protocol):
    """What metrics need of a response that is being sent."""

    @property
    def type_url(self) -> str:
        """Its type."""
        ...

    @property
    def bytes(self) -> int:
        """Its size."""
        ...

    @property
    def mailbox_seconds(self) -> float:
        """How long its snapshot waited for the stream."""
        ...

    @property
    def build_seconds(self) -> float | None:
        """What building its bytes took; None if they were built already."""
        ...


class Tally:
    """A histogram's numbers."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the upper bounds and how many values are not above each."""
        names = [*map(floatToGoString, self.bounds), "+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(self.counts), strict=True)]


class TypeTraffic:
    """The numbers of one type of resource."""

    __slots__ = ("acks", "builds", "mailbox", "pushes", "sizes", "suppressed")

    def __init__(self) -> None:
        self.pushes = 0
        self.suppressed = 0
        self.sizes = Tally(SIZE_BUCKETS)
        self.acks = Tally(ACK_BUCKETS)
        self.mailbox = Tally(ACK_BUCKETS)
        self.builds = Tally(BUILD_BUCKETS)


class _ByTypeUrl(dict[str, TypeTraffic]):
    """Finds the numbers of a type URL, those of all unknown types in one place."""

    def __init__(self) -> None:
        super().__init__()
        # From the start, so that a rate over them never misses the first push.
        self.by_label = {label: TypeTraffic() for label in SERVED_TYPES}

    def __missing__(self, type_url: str) -> TypeTraffic:
        label = type_label(type_url)
        traffic = self.by_label.setdefault(label, TypeTraffic())
        if label != OTHER:
            self[type_url] = traffic
        return traffic


class XdsTraffic(Collector):
    """Pushes, acknowledgements and what was spared, by type. Not by Envoy or group: a push to all is one event."""

    def __init__(self) -> None:
        self._types = _ByTypeUrl()

    def pushed(self, pushed: PushFacts) -> None:
        """Count a response that is being sent."""
        traffic = self._types[pushed.type_url]
        traffic.pushes += 1
        traffic.sizes.add(pushed.bytes)
        # 0: no new snapshot led to it, so there was nothing to wait.
        if pushed.mailbox_seconds > 0:
            traffic.mailbox.add(pushed.mailbox_seconds)
        if pushed.build_seconds is not None:
            traffic.builds.add(pushed.build_seconds)

    def acked(self, type_url: str, seconds: float) -> None:
        """Count an acknowledgement and what it took."""
        self._types[type_url].acks.add(seconds)

    def suppressed(self, type_url: str, count: int) -> None:
        """Count resources that needed no sending."""
        self._types[type_url].suppressed += count

    def describe(self) -> Iterable[Metric]:
        """Nothing: the types are known once they are served."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric, by type."""
        known = sorted(self._types.by_label.items())
        pushes = _counter("pushes", "xDS responses sent.")
        sent = _counter("push_bytes", "Bytes of xDS responses sent.")
        spared = _counter("resends_suppressed", "Resources not sent because the Envoy held that very version.")
        for label, traffic in known:
            pushes.add_metric([label], traffic.pushes)
            sent.add_metric([label], traffic.sizes.total)
            spared.add_metric([label], traffic.suppressed)
        yield from (pushes, sent, spared)
        for name, documentation, pick in _HISTOGRAMS:
            family = HistogramMetricFamily(f"penstock_xds_{name}", documentation, labels=["type"])
            for label, traffic in known:
                tally = pick(traffic)
                family.add_metric([label], tally.buckets(), sum_value=tally.total)
            yield family


_HISTOGRAMS: Final[tuple[tuple[str, str, Callable[[TypeTraffic], Tally]], ...]] = (
    ("config_size_bytes", "Size of an xDS response.", lambda t: t.sizes),
    (
        "commit_to_ack_seconds",
        "Time from the publication of a snapshot to an Envoy's acknowledgement.",
        lambda t: t.acks,
    ),
    ("mailbox_age_seconds", "Time a snapshot waited until its stream had a free hand.", lambda t: t.mailbox),
    (
        "build_seconds",
        "Time to build the bytes of a response; those shared by other streams cost nothing and do not count.",
        lambda t: t.builds,
    ),
)


def _counter(name: str, documentation: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"penstock_xds_{name}", documentation, labels=["type"])
