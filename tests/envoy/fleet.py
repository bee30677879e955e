"""Policy sets from text, and decisions made by hand."""

from collections.abc import Collection, Mapping

from penstock_policies.decision import TOTAL_WEIGHT, ClusterHealth, Decision, HealthState, Row, Rung
from penstock_policies.loader import load
from penstock_policies.policyset import PolicySet, RowKey

MODEL = "llama-3-70b"
GROUP = "edge-eu"


def policy_set(*documents: str) -> PolicySet:
    """The policy set of YAML documents; a problem in them is an error of the test."""
    loaded = load({f"policy-{index}.yaml": text for index, text in enumerate(documents)})
    assert loaded.policy_set is not None, "\n".join(str(each) for each in loaded.problems)
    return loaded.policy_set


def cluster(name: str, endpoints: Collection[tuple[str, int]], *, site: str, region: str, models: str = MODEL) -> str:
    """A Cluster document."""
    listed = ", ".join(f"{{address: {address}, port: {port}}}" for address, port in endpoints)
    return f"""
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: {name}}}
spec:
  site: {site}
  region: {region}
  engine: vllm
  models: [{models}]
  endpoints: [{listed}]
  capacity: {{concurrency: 100}}
  cost: {{usdPerMillionTokens: 0.5}}
  outlierDetection: {{consecutive5xx: 5, interval: 500ms, baseEjectionTime: 1s}}
"""


RULES = """
apiVersion: penstock/v1
kind: Listener
metadata: {name: public}
spec: {address: 0.0.0.0, port: 10000, dataClass: public, maxRequestBytes: 2097152}
---
apiVersion: penstock/v1
kind: Listener
metadata: {name: staff}
spec: {address: 0.0.0.0, port: 10001, dataClass: internal}
---
apiVersion: penstock/v1
kind: Listener
metadata: {name: vault}
spec: {address: 0.0.0.0, port: 10002, dataClass: restricted}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {name: edge-eu}
spec: {match: {cluster: edge-eu}, region: eu-west, listeners: [public, staff, vault]}
---
apiVersion: penstock/v1
kind: ResidencyRule
metadata: {name: restricted-stays}
spec: {dataClass: restricted, allow: {sites: [on_prem]}}
---
apiVersion: penstock/v1
kind: ResidencyRule
metadata: {name: internal-stays-in-europe}
spec: {dataClass: internal, allow: {clusters: [onprem-fra, cloud-eu-west]}}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: chat}
spec:
  match: {path: /v1/, models: [llama-3-70b]}
  dataClass: public
  clusters: [onprem-fra, cloud-eu-west, cloud-us-east]
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: anything-eu}
spec:
  match: {path: /v1/embeddings}
  dataClass: public
  clusters: [cloud-eu-west]
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: staff}
spec:
  match: {path: /v1/}
  dataClass: internal
  clusters: [onprem-fra, cloud-eu-west]
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: records}
spec:
  match: {path: /v1/}
  dataClass: restricted
  clusters: [onprem-fra]
"""

DEFAULT_ENDPOINTS: Mapping[str, Collection[tuple[str, int]]] = {
    "onprem-fra": [("10.0.1.11", 8000), ("10.0.1.12", 8000)],
    "cloud-eu-west": [("10.1.1.11", 8000)],
    "cloud-us-east": [("10.2.1.11", 8000)],
}


CHAT_CLUSTERS = "clusters: [onprem-fra, cloud-eu-west, cloud-us-east]"


def fleet(endpoints: Mapping[str, Collection[tuple[str, int]]] = DEFAULT_ENDPOINTS, *, affinity: str = "") -> PolicySet:
    """Three clusters, three listeners and a policy for each class; ``affinity`` is that of the policy ``chat``."""
    assert CHAT_CLUSTERS in RULES
    rules = RULES.replace(CHAT_CLUSTERS, f"{CHAT_CLUSTERS}\n  affinity: {affinity}") if affinity else RULES
    sites = {
        "onprem-fra": ("on_prem", "eu-central"),
        "cloud-eu-west": ("cloud", "eu-west"),
        "cloud-us-east": ("cloud", "us-east"),
    }
    clusters = [
        cluster(name, endpoints[name], site=site, region=region, models="llama-3-70b, bge-m3")
        for name, (site, region) in sites.items()
    ]
    return policy_set(*clusters, rules)


def decision(
    policy: PolicySet,
    *,
    drained: Collection[str] = (),
    favourite: str = "",
    weights: Mapping[str, int] | None = None,
    unhealthy: Mapping[str, tuple[str, ...]] | None = None,
    frozen: str = "",
    refusal: str = "",
    name: str = "by-hand",
) -> Decision:
    """All weight on ``favourite`` where a row has it, else on the first of the row's preference.

    A row whose clusters are those of ``weights`` has these; one that has no cluster left is refused for ``refusal``.
    """
    return Decision(
        id=name,
        at=0.0,
        policy_digest=policy.digest,
        rung=Rung.STATIC,
        frozen=frozen,
        rows={
            key: _row(policy, key, drained=drained, favourite=favourite, weights=weights or {}, refusal=refusal)
            for key in policy.rows()
        },
        health={
            each: ClusterHealth(HealthState.UP, 0.0, unhealthy_endpoints=keys)
            for each, keys in (unhealthy or {}).items()
        },
        clusters={},
        draining=dict.fromkeys(drained, 0.0),
    )


def _row(
    policy: PolicySet,
    key: RowKey,
    *,
    drained: Collection[str],
    favourite: str,
    weights: Mapping[str, int],
    refusal: str,
) -> Row:
    document = policy.policies[key.policy]
    eligible = [
        each
        for each in policy.preference(document, key.model, key.region)
        if each not in drained and policy.allowed(policy.clusters[each], document.spec.data_class) is None
    ]
    chosen = favourite if favourite in eligible else next(iter(eligible), "")
    return Row(
        key=key,
        data_class=document.spec.data_class,
        weights=weights
        if set(weights) == set(eligible)
        else {each: TOTAL_WEIGHT * (each == chosen) for each in eligible},
        legs={each: (each, *(other for other in eligible if other != each)) for each in eligible},
        target={},
        excluded={},
        reason="by hand",
        refusal="" if eligible else refusal,
    )
