"""The plan itself: everything that an edit would change, side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.plan.configuration import GroupChange, configured, groups_changed, way_barred
from penstock.plan.documents import DocumentChange, documents_changed
from penstock.plan.effects import Figures, figures
from penstock.plan.inputs import Envoys, Inputs
from penstock.plan.outlook import outlook
from penstock.plan.residency import ResidencyEffect, residency_effect
from penstock.plan.weights import Drained, RowChange, drained, rows_changed
from penstock_envoy.compiler import Compiler
from penstock_policies.decision import Decision, HealthState, Rung
from penstock_policies.policyset import PolicySet


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What the Envoys of one node group would be sent, and how many they are."""

    change: GroupChange
    envoys: Envoys | None
    """None where nobody was asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an edit would do."""

    base_digest: str
    candidate_digest: str
    inputs: Inputs
    documents: tuple[DocumentChange, ...]
    rows: tuple[RowChange, ...]
    drained: tuple[Drained, ...]
    """Clusters that carry traffic now and would come to carry hardly any."""
    before: Figures
    after: Figures
    residency: ResidencyEffect
    groups: tuple[GroupPlan, ...]
    unserved: tuple[tuple[str, int], ...]
    """``node.cluster`` of Envoys that would belong to no node group any more, and how many are connected."""
    conditions: tuple[str, ...]
    """What is out of the ordinary at this moment, so that the plan may look different at another."""
    barred: str
    """Why the control plane would refuse the edit as a whole; empty when it would take it."""

    @property
    def changed(self) -> bool:
        """Whether the edit changes anything."""
        return bool(self.documents or self.rows or self.groups)


def compare(base: PolicySet, candidate: PolicySet, inputs: Inputs) -> Plan:
    """Work out what putting ``candidate`` in place of ``base`` would do.

    Raises:
        ConfigurationError: one of them generates nothing that could be served.

    """
    old, new = outlook(base, inputs), outlook(candidate, inputs)
    compiler = Compiler()
    before, after = configured(old, compiler), configured(new, compiler)
    groups = tuple(
        GroupPlan(change, None if inputs.envoys is None else inputs.envoys.get(change.node_cluster, Envoys()))
        for change in groups_changed(before, after)
    )
    return Plan(
        base_digest=base.digest,
        candidate_digest=candidate.digest,
        inputs=inputs,
        documents=documents_changed(base, candidate),
        rows=rows_changed(old, new),
        drained=drained(old, new),
        before=figures(old),
        after=figures(new),
        residency=residency_effect(base, before, candidate, after),
        groups=groups,
        unserved=_unserved(base, candidate, inputs),
        conditions=tuple(_conditions(old.decision, new.decision)),
        barred=way_barred(old, before, new, after),
    )


def _unserved(base: PolicySet, candidate: PolicySet, inputs: Inputs) -> tuple[tuple[str, int], ...]:
    known = {group.spec.match.cluster for group in candidate.groups.values()}
    gone = {group.spec.match.cluster for group in base.groups.values()} - known
    envoys = inputs.envoys or {}
    return tuple((name, envoys.get(name, Envoys()).connected) for name in sorted(gone))


def _conditions(old: Decision, new: Decision) -> Iterator[str]:
    if old.frozen:
        yield f"the engine distrusts what it sees and holds the weights: {old.frozen}"
    down = sorted(name for name, health in old.health.items() if health.state is HealthState.DOWN)
    if down:
        yield f"down now, so no weight comes to them: {', '.join(down)}"
    for region, by in sorted(old.edge_health.items()):
        lost = sorted(name for name, health in by.items() if health.state is HealthState.DOWN and name not in down)
        if lost:
            yield f"down now as seen from {region}, so no weight comes to them there: {', '.join(lost)}"
    if old.draining:
        yield f"drained now, by an operator or a notice: {', '.join(sorted(old.draining))}"
    for which, decision in (("before", old), ("after", new)):
        if decision.rung in {Rung.LAST_GOOD, Rung.STATIC, Rung.REFUSED}:
            failed = "; ".join(
                str(note.fields.get("why", "")) for note in decision.notes if note.message == "rung failed"
            )
            yield f"the engine finds no plan under the policies {which} the edit, and falls back: {failed}"
