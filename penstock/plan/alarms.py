"""What of a plan must not be overlooked, in a few words each: they stand first in its headline, in every form."""

from penstock.plan.comparison import Plan
from penstock.plan.effects import newly_overrun
from penstock.plan.lines import counted


def alarms_of(plan: Plan) -> list[str]:
    """List the alarms, the worst first."""
    found = []
    if plan.barred:
        found.append("the control plane would REFUSE this edit")
    classes = dict.fromkeys(str(each.data_class) for each in plan.residency.loosened)
    if classes:
        found.append(f"residency LOOSENED for {' and '.join(classes)} data")
    refused = sum(row.refused for row in plan.rows)
    if refused:
        found.append(f"requests of {counted(refused, 'row')} REFUSED")
    if plan.drained:
        found.append(f"{', '.join(each.cluster for each in plan.drained)} DRAINED")
    for name, after in plan.after.budgets.items():
        before = plan.before.budgets.get(name)
        if after.exhausted and not (before is not None and before.exhausted):
            found.append(f"budget {name} EXHAUSTED at once")
        elif not after.exhausted and newly_overrun(before, after):
            found.append(f"budget {name} OVERRUN by forecast")
    return found
