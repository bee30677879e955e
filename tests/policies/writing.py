"""Policies for tests: a sound directory, and what the loader says when one more file joins it."""

from pathlib import Path
from textwrap import dedent

from hypothesis import HealthCheck, settings

from penstock_policies.loader import Loaded, load
from penstock_policies.policyset import PolicySet

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Property tests judge what comes out, not how busy the machine is."""

EXAMPLES = Path(__file__).parents[2] / "policies" / "examples"

SOUND = """\
apiVersion: penstock/v1
kind: Cluster
metadata: {name: onprem}
spec:
  site: on_prem
  region: eu-central
  engine: vllm
  models: [llama]
  endpoints: [{address: 10.0.0.1, port: 8000}]
  capacity: {concurrency: 100}
---
apiVersion: penstock/v1
kind: Cluster
metadata: {name: cloud}
spec:
  site: cloud
  region: eu-west
  engine: openai
  models: [llama]
  endpoints: [{address: llm.example.com, port: 443, tls: {sni: llm.example.com}}]
  capacity: {concurrency: 500}
  cost: {usdPerMillionTokens: 0.9}
---
apiVersion: penstock/v1
kind: Listener
metadata: {name: public}
spec: {address: 0.0.0.0, port: 10000, dataClass: public}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {name: edge-eu}
spec: {match: {cluster: edge-eu}, region: eu-west, listeners: [public]}
---
apiVersion: penstock/v1
kind: ResidencyRule
metadata: {name: at-home}
spec: {dataClass: restricted, allow: {sites: [on_prem]}}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: chat}
spec: {match: {path: /v1/}, dataClass: public, clusters: [onprem, cloud]}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: records}
spec: {match: {path: /v1/}, dataClass: restricted, clusters: [onprem]}
"""
"""A directory of one file with neither errors nor warnings."""


def joined_by(text: str) -> Loaded:
    """What becomes of the sound directory when ``a.yaml`` joins it."""
    return load({"sound.yaml": SOUND, "a.yaml": dedent(text)})


def errors_in(text: str) -> list[str]:
    """The errors when ``a.yaml`` joins the sound directory, as people read them."""
    return [str(problem) for problem in joined_by(text).errors]


def warnings_in(text: str) -> list[str]:
    """The warnings when ``a.yaml`` joins the sound directory, as people read them."""
    loaded = joined_by(text)
    assert not loaded.errors
    return [str(problem) for problem in loaded.warnings]


def example(name: str) -> dict[str, str]:
    """The policy files of an example."""
    return {path.name: path.read_text() for path in sorted((EXAMPLES / name).glob("*.yaml"))}


def sound_set(*more: str) -> PolicySet:
    """The sound directory with more documents, loaded."""
    texts = {f"{index}.yaml": dedent(text) for index, text in enumerate(more)}
    return load({"sound.yaml": SOUND, **texts}).require()


SPARE = """\
apiVersion: penstock/v1
kind: Cluster
metadata: {name: spare}
spec:
  site: cloud
  region: us-east
  engine: vllm
  models: [llama]
  endpoints: [{address: 10.0.0.2, port: 80}]
  capacity: {concurrency: 100}
"""
"""A cluster that the sound directory has not, with room for more fields."""

_WISHING = """\
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: batch}
spec:
  match: {path: /batch/}
  dataClass: public
  clusters: [onprem, cloud]
"""


def wishing(wish: str, clusters: str = "[onprem, cloud]") -> str:
    """A policy with one more field of its ``spec``, in line 8."""
    return f"{_WISHING.replace('[onprem, cloud]', clusters)}  {wish}\n"


def budget(spec: str) -> str:
    """A Budget, its ``spec`` in line 4."""
    return f"apiVersion: penstock/v1\nkind: Budget\nmetadata: {{name: purse}}\nspec: {spec}\n"


def feed(name: str, measures: str) -> str:
    """A CostFeed of prices or of carbon."""
    return (
        f"apiVersion: penstock/v1\nkind: CostFeed\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: file, path: x.json, measures: {measures}}}\n"
    )
