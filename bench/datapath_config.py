"""The Envoys of the data path benchmark: backends, and one Envoy with a bare listener beside Penstock's.

The bare listener is the least that could do the job: ``weighted_clusters`` over plain clusters, with the same weights.
Penstock's is what the compiler generates for the example policies, residency, model matching, composite legs, retries,
outlier detection and local replies included. Both talk to the same backends.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from penstock_envoy.compiler import Compiler
from penstock_envoy.resource import EnvoyResource
from penstock_envoy.static import static_bootstrap
from penstock_policies.decision import TOTAL_WEIGHT, Decision
from penstock_policies.engine import decide
from penstock_policies.loader import load
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet

EXAMPLE: Final = Path(__file__).resolve().parents[1] / "policies" / "examples" / "hybrid"
GROUP: Final = "edge-eu"
BARE_LISTENER: Final = "bare"
PUBLIC_LISTENER: Final = "public"
ON_PREM_SHARE: Final = 0.6
"""Both clusters take part, so that both kinds of leg are measured."""

ANSWER: Final = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":0,"model":"llama-3-70b","choices":[{"index":0,'
    '"finish_reason":"stop","message":{"role":"assistant","content":"Water finds the open gate."}}],'
    '"usage":{"prompt_tokens":256,"completion_tokens":6,"total_tokens":262}}'
)

_TYPES: Final = "type.googleapis.com/envoy.extensions"

Config = dict[str, Any]

# An answer given before the request was read to its end closes the connection, and what is measured then is connecting.
_READ_BODY_FIRST: Final[Config] = {
    "name": "envoy.filters.http.buffer",
    "typed_config": {"@type": f"{_TYPES}.filters.http.buffer.v3.Buffer", "max_request_bytes": 1 << 20},
}

# As JSON, or nothing would be read from it.
_ANSWERING: Final[Config] = {
    "direct_response": {"status": 200, "body": {"inline_string": ANSWER}},
    "response_headers_to_add": [
        {
            "header": {"key": "content-type", "value": "application/json"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
    ],
}


def backends(names: tuple[str, ...]) -> str:
    """Bootstrap of an Envoy that answers at once on one listener a name, ports chosen by the kernel."""
    return yaml.safe_dump(
        {
            "admin": {"address": _loopback(0)},
            "static_resources": {"listeners": [_listener(name, _ANSWERING, [_READ_BODY_FIRST]) for name in names]},
        }
    )


def example_resources(ports: Mapping[str, tuple[int, ...]]) -> tuple[EnvoyResource, ...]:
    """What is generated for the example's node group, with both clusters taking part."""
    policy = example_policy(ports)
    return Compiler().compile(policy, example_decision(policy), GROUP)


def edge(ports: Mapping[str, tuple[int, ...]], access_log_port: int, *, metering: bool = True) -> str:
    """Bootstrap of the Envoy under test; ``ports`` are each cluster's backends."""
    policy = example_policy(ports, metering=metering)
    decision = example_decision(policy)
    resources = Compiler().compile(policy, decision, GROUP)
    listeners = dict.fromkeys(policy.groups[GROUP].spec.listeners, 0)
    config: Config = yaml.safe_load(
        static_bootstrap(resources, listener_ports=listeners, access_logs=("127.0.0.1", access_log_port))
    )
    weights = next(row.weights for key, row in decision.rows.items() if key.policy == "chat")
    route = {
        "route": {
            "timeout": "0s",
            "weighted_clusters": {
                "clusters": [{"name": f"bare-{name}", "weight": weight} for name, weight in weights.items()]
            },
        }
    }
    config["static_resources"]["listeners"].append(_listener(BARE_LISTENER, route))
    config["static_resources"]["clusters"] += [_bare_cluster(f"bare-{name}", ports[name]) for name in weights]
    return yaml.safe_dump(config)


def example_policy(ports: Mapping[str, tuple[int, ...]], *, metering: bool = True) -> PolicySet:
    """The example policies, with these ports of loopback as each cluster's endpoints."""
    files = {}
    for path in EXAMPLE.glob("*.yaml"):
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        for document in documents:
            if document["kind"] == "Cluster":
                document["spec"]["endpoints"] = [
                    {"address": "127.0.0.1", "port": port} for port in ports[document["metadata"]["name"]]
                ]
            if document["kind"] == "Listener":
                document["spec"]["metering"] = metering
        files[path.name] = yaml.safe_dump_all(documents)
    loaded = load(files)
    if loaded.policy_set is None:
        raise ValueError(f"the example policies do not load: {[str(problem) for problem in loaded.problems]}")
    return loaded.policy_set


def example_decision(policy: PolicySet, on_prem_share: float = ON_PREM_SHARE) -> Decision:
    """A decision that gives the first cluster of each row this share, and the second the rest."""
    decision = decide(policy, Observations(), Overrides(), None, 0.0)
    rows = {}
    for key, row in decision.rows.items():
        first, *rest = row.legs
        weights = {first: TOTAL_WEIGHT} | dict.fromkeys(rest, 0)
        if rest:
            weights[first] = round(TOTAL_WEIGHT * on_prem_share)
            weights[rest[0]] = TOTAL_WEIGHT - weights[first]
        rows[key] = dataclasses.replace(row, weights=weights)
    return dataclasses.replace(decision, rows=rows)


def _bare_cluster(name: str, ports: tuple[int, ...]) -> Config:
    endpoints = [{"endpoint": {"address": _loopback(port)}} for port in ports]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _listener(name: str, action: Config, filters_before: Sequence[Config] = ()) -> Config:
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "name": name,
            "virtual_hosts": [
                {"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]},
            ],
        },
        "http_filters": [
            *filters_before,
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
            },
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": _loopback(0), "filter_chains": [{"filters": filters}]}


def _loopback(port: int) -> Config:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
