"""A small fleet and small traces to replay: made here, so that every figure in a test can be worked out by hand."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from penstock.replay.faults import Fault
from penstock.replay.scenario import Scenario, build
from penstock.replay.trace import RELATIVE_START, Request, Trace
from penstock_policies.loader import load
from penstock_policies.policyset import PolicySet

FLEET = """
apiVersion: penstock/v1
kind: Cluster
metadata: {name: onprem}
spec:
  site: on_prem
  region: eu-west
  engine: vllm
  models: [m]
  endpoints: [{address: 10.0.0.1, port: 8000}, {address: 10.0.0.2, port: 8000}]
  capacity: {tokensPerSecond: 200, promptTokensPerSecond: 20000, concurrency: 10, headroom: 20%}
  cost: {usdPerMillionTokens: 1.0, promptPriceRatio: 50%}
  health: {interval: 1s, unhealthyThreshold: 2, healthyThreshold: 2, rampInterval: 1s}
  outlierDetection: {consecutive5xx: 3, baseEjectionTime: 5s}
---
apiVersion: penstock/v1
kind: Cluster
metadata: {name: cloud}
spec:
  site: cloud
  region: us-east
  engine: openai
  models: [m]
  endpoints: [{address: llm.example.com, port: 443, tls: {sni: llm.example.com}}]
  capacity: {tokensPerSecond: 400, promptTokensPerSecond: 40000, concurrency: 10, headroom: 20%}
  latency: {roundTrip: {eu-west: 100ms}}
  cost: {usdPerMillionTokens: 10.0}
  health: {interval: 1s, unhealthyThreshold: 2, healthyThreshold: 2, rampInterval: 1s}
---
apiVersion: penstock/v1
kind: Listener
metadata: {name: public}
spec: {address: 0.0.0.0, port: 10000, dataClass: public}
---
apiVersion: penstock/v1
kind: Listener
metadata: {name: internal}
spec: {address: 0.0.0.0, port: 10001, dataClass: restricted}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {name: edge}
spec: {match: {cluster: edge}, region: eu-west, listeners: [public, internal]}
---
apiVersion: penstock/v1
kind: ResidencyRule
metadata: {name: home}
spec: {dataClass: restricted, allow: {sites: [on_prem]}}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: chat, annotations: {replay-share: CHAT%}}
spec:
  match: {path: /v1/, models: [m]}
  dataClass: public
  clusters: [onprem, cloud]
  objective: {minimize: cost, distancePenalty: 0%}
  slo: {ttftP95: 1s}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: records, annotations: {replay-share: RECORDS%}}
spec:
  match: {path: /v1/, models: [m]}
  dataClass: restricted
  clusters: [onprem]
  slo: {ttftP95: 1s}
"""


def fleet_text(chat: int = 100) -> str:
    """The fleet, with so many percent of the traffic public."""
    return FLEET.replace("CHAT", str(chat)).replace("RECORDS", str(100 - chat))


def fleet(chat: int = 100) -> PolicySet:
    """The fleet, loaded."""
    return load({"fleet.yaml": fleet_text(chat)}).require()


def steady(count: int, every: float, *, prompt: int = 0, output: int = 20) -> tuple[Request, ...]:
    """Requests in even steps."""
    return tuple(Request(number * every, prompt, output) for number in range(count))


def random_arrivals(
    seconds: float, rate: float, *, prompt: int = 400, output: int = 200, seed: int = 7
) -> tuple[Request, ...]:
    """Requests as they come: Poisson arrivals, exponential sizes."""
    source, at, made = random.Random(seed), 0.0, []  # noqa: S311
    while (at := at + source.expovariate(rate)) < seconds:
        drawn = [int(source.expovariate(1 / mean)) + 1 for mean in (prompt, output)]
        made.append(Request(at, drawn[0], drawn[1]))
    return tuple(made)


def azure_csv(requests: Sequence[Request]) -> str:
    """The requests in the form of an Azure trace."""
    moments = [datetime.fromtimestamp(RELATIVE_START + request.at, UTC) for request in requests]
    lines = [
        f"{moment:%Y-%m-%d %H:%M:%S.%f},{request.prompt},{request.output}"
        for moment, request in zip(moments, requests, strict=True)
    ]
    return "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines, ""])


def scenario(
    requests: Sequence[Request],
    *,
    chat: int = 100,
    faults: tuple[Fault, ...] = (),
    tick: float | None = 1.0,
    seed: int = 1,
    files: dict[str, str] | None = None,
    run_in: float = 0.0,
    feeds: Mapping[str, Mapping[str, float]] | None = None,
) -> Scenario:
    """Those requests at the fleet."""
    given = files if files is not None else {"fleet.yaml": fleet_text(chat)}
    trace = Trace("made up", "azure", RELATIVE_START, tuple(requests))
    return build(
        load(given).require(),
        given,
        trace,
        feeds=feeds or {},
        carbon={},
        faults=faults,
        tick=tick,
        seed=seed,
        run_in=run_in,
    )


def write(path: Path, text: str) -> Path:
    """Write a file and give its path."""
    path.write_text(text, encoding="utf-8")
    return path
