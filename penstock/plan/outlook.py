"""What the engine would do under a policy: its decision, and the problem behind it, on given inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock.plan.inputs import Inputs
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.engine.plan import Problem
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.quantise import quantise
from penstock_policies.engine.situation import understand
from penstock_policies.policyset import PolicySet, RowKey


@dataclass(frozen=True, slots=True)
class Outlook:
    """A policy and what comes of it."""

    policy: PolicySet
    decision: Decision
    """The next decision: its weights are the first step, its targets where the steps lead."""
    problem: Problem
    """Demand, costs and capacities as the solver is given them."""

    def shares(self, key: RowKey) -> Mapping[str, float]:
        """Return the shares a row would come to by the inputs of this moment; none for a row that is refused."""
        row = self.decision.rows.get(key)
        if row is None or not row.weights:
            return {}
        return {name: share for name, share in row.target.items() if share > 0}

    def settled(self) -> Decision:
        """Return the decision with every row where it would come to rest."""
        rows = {
            key: replace(row, weights=quantise(row.target)) if row.weights and row.target else row
            for key, row in self.decision.rows.items()
        }
        return replace(self.decision, rows=rows)


def outlook(policy: PolicySet, inputs: Inputs) -> Outlook:
    """Decide under ``policy`` as the control plane would if it were put in force now."""
    given = (policy, inputs.observations, inputs.overrides, inputs.decision, inputs.at)
    return Outlook(policy, decide(*given), problem_of(understand(*given)))
