"""Findings of probes, for a control plane made of plain values."""

from dataclasses import replace

from penstock.signals.generation_probe import Verdict
from penstock.signals.generations import PurseFacts
from penstock.signals.probe_book import GenerationFacts, ProbeFacts
from penstock.signals.probing import Probed
from penstock_policies.policyset import PolicySet
from penstock_policies.probing import Generation
from tests.admin.fake_control import NOW, FakeControlPlane

ONE, TWO = "10.0.1.11:8000", "10.0.1.12:8000"
GENERATION = GenerationFacts(
    asked=40, verdict=Verdict.GOOD, at=NOW - 20, ttft=0.21, prompt_tokens=800, output_tokens=160
)
WELL = ProbeFacts(probes=900, generation=GENERATION)


def generating(policy: PolicySet | None) -> PolicySet:
    """The policy with generations at onprem-fra."""
    assert policy is not None
    cluster = policy.clusters["onprem-fra"]
    health = cluster.spec.health.model_copy(update={"generation": Generation()})
    changed = cluster.model_copy(update={"spec": cluster.spec.model_copy(update={"health": health})})
    return replace(policy, clusters={**policy.clusters, "onprem-fra": changed})


def probe(control: FakeControlPlane, **endpoints: ProbeFacts) -> None:
    """Have probes found this of ``one`` and ``two``, the endpoints of onprem-fra."""
    control.policy_set = generating(control.policy_set)
    found = {ONE: endpoints.get("one", WELL), TWO: endpoints.get("two", WELL)}
    control.probing_of["onprem-fra"] = Probed(found, PurseFacts(20_000, 310.0, 212.0))
