"""The demo's fleet on paper: three clusters, two edges, prices, and the policy files that say so. No processes here."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

MODEL: Final = "llama-3-70b"
ON_PREM: Final = "onprem-fra"
CLOUD_EU: Final = "cloud-eu-west"
CLOUD_US: Final = "cloud-us-east"
CLOUDS: Final = (CLOUD_EU, CLOUD_US)

ON_PREM_PRICE: Final = 0.02
"""USD per million tokens: power only; the accelerators are paid for either way."""

LIST_PRICES: Final[Mapping[str, float]] = {CLOUD_EU: 0.90, CLOUD_US: 1.00}
"""USD per million tokens, as the clouds' feed begins. The EU cloud is nearer to the EU edge and cheaper."""

PRICE_DROP: Final = 0.60
"""The US cloud's price after a 40 % drop, as a factor: then it is cheaper for the EU edge in spite of the distance."""

CLOUD_BUDGET: Final = 10_000.0
"""USD a day for both clouds: several times what the story's busiest act would come to, so that it paces nothing."""

PRICE_FEED: Final = "cloud-prices"
PRICE_FILE: Final = "prices.json"


@dataclass(frozen=True, slots=True)
class Dimensions:
    """How big a simulated cluster is, and what its policy file says about it."""

    site: str
    region: str
    engine: str
    slots: int
    """Sequences the simulator runs at once."""
    tokens_per_second: float
    concurrency: int
    """The concurrency the policy declares: where the throughput per sequence begins to fall."""


CLUSTERS: Final[Mapping[str, Dimensions]] = {
    ON_PREM: Dimensions("on_prem", "eu-central", "vllm", slots=64, tokens_per_second=3200, concurrency=40),
    CLOUD_EU: Dimensions("cloud", "eu-west", "openai", slots=160, tokens_per_second=11200, concurrency=140),
    CLOUD_US: Dimensions("cloud", "us-east", "openai", slots=160, tokens_per_second=11200, concurrency=140),
}
"""On-prem carries the everyday load and not the peak; each cloud could carry the peak alone."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge: a node group with one Envoy, and the ports of its two listeners."""

    group: str
    region: str
    public_port: int
    internal_port: int

    @property
    def short(self) -> str:
        """``eu`` for ``edge-eu``."""
        return self.group.partition("-")[2]

    @property
    def public_listener(self) -> str:
        """Name of the listener for public data."""
        return f"public-{self.short}"

    @property
    def internal_listener(self) -> str:
        """Name of the listener for restricted data."""
        return f"internal-{self.short}"


def write_policies(directory: Path, endpoints: Mapping[str, int], edges: tuple[Edge, ...]) -> None:
    """Write the fleet's policy files.

    Args:
        directory: an existing, empty directory.
        endpoints: cluster to the loopback port of its simulator.
        edges: the node groups.
    """
    files: dict[str, list[dict[str, object]]] = {
        "clusters.yaml": [_cluster(name, endpoints[name]) for name in CLUSTERS] + [_feed()],
        "edges.yaml": [document for edge in edges for document in _edge(edge)],
        "traffic.yaml": [_residency(), _chat(), _records(), _budget()],
    }
    for name, documents in files.items():
        (directory / name).write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    write_prices(directory, LIST_PRICES)


def write_prices(directory: Path, prices: Mapping[str, float]) -> None:
    """Publish cloud prices (cluster to USD per million tokens) in one rename: no reader sees half a file."""
    document = {"prices": [{"key": _key(name), "usdPerMillionTokens": price} for name, price in prices.items()]}
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=".prices-", suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(document, file)
    Path(temporary).replace(directory / PRICE_FILE)


def _key(cluster: str) -> str:
    return f"{CLUSTERS[cluster].region}/{MODEL}"


def _document(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": "penstock/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _cluster(name: str, port: int) -> dict[str, object]:
    size = CLUSTERS[name]
    cost: dict[str, object] = (
        {"usdPerMillionTokens": ON_PREM_PRICE, "amortizedUsdPerHour": 8.56}
        if name == ON_PREM
        else {"feed": PRICE_FEED, "key": _key(name)}
    )
    return _document(
        "Cluster",
        name,
        {
            "site": size.site,
            "region": size.region,
            "engine": size.engine,
            "models": [MODEL],
            "endpoints": [{"address": "127.0.0.1", "port": port}],
            "capacity": {"tokensPerSecond": size.tokens_per_second, "concurrency": size.concurrency},
            "cost": cost,
            # A story of a minute: notice within a second, be back within ten.
            "health": {
                "path": "/health",
                "interval": "500ms",
                "timeout": "400ms",
                "unhealthyThreshold": 2,
                "healthyThreshold": 2,
                "rampInterval": "1s",
            },
            "outlierDetection": {"consecutive5xx": 5, "interval": "1s", "baseEjectionTime": "1s"},
        },
    )


def _feed() -> dict[str, object]:
    spec: dict[str, object] = {"type": "file", "path": PRICE_FILE, "refresh": "500ms", "maxAge": "10m"}
    return _document("CostFeed", PRICE_FEED, spec)


def _edge(edge: Edge) -> list[dict[str, object]]:
    # Both Envoys share one machine here, so each needs ports, and thus listeners, of its own.
    public, internal = edge.public_listener, edge.internal_listener
    return [
        _document("Listener", public, {"address": "127.0.0.1", "port": edge.public_port, "dataClass": "public"}),
        _document(
            "Listener", internal, {"address": "127.0.0.1", "port": edge.internal_port, "dataClass": "restricted"}
        ),
        _document(
            "NodeGroup",
            edge.group,
            {"match": {"cluster": edge.group}, "region": edge.region, "listeners": [public, internal]},
        ),
    ]


def _residency() -> dict[str, object]:
    return _document("ResidencyRule", "default", {"dataClass": "restricted", "allow": {"sites": ["on_prem"]}})


def _budget() -> dict[str, object]:
    spec: dict[str, object] = {"scope": {"site": "cloud"}, "amount": CLOUD_BUDGET, "per": "day"}
    return _document("Budget", "clouds", spec)


def _chat() -> dict[str, object]:
    return _document(
        "TrafficPolicy",
        "chat",
        {
            "match": {"path": "/v1/", "models": [MODEL]},
            "dataClass": "public",
            "clusters": [ON_PREM, CLOUD_EU, CLOUD_US],
            "objective": {"minimize": "cost"},
            "slo": {"ttftP95": "300ms"},
            "limits": {"maxStep": "25%", "minDwell": "1s"},
        },
    )


def _records() -> dict[str, object]:
    return _document(
        "TrafficPolicy",
        "records",
        {
            "match": {"path": "/v1/", "models": [MODEL]},
            "dataClass": "restricted",
            "clusters": [ON_PREM],
            "objective": {"minimize": "cost"},
        },
    )
