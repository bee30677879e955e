"""A plan as JSON types, for programs: names in camelCase, as the HTTP API has them."""

from collections.abc import Sequence

from penstock.admin.wire import plain, short_type, timestamp
from penstock.plan.comparison import GroupPlan, Plan
from penstock.plan.effects import Figures
from penstock.plan.forbid import Verdict
from penstock.plan.report import headline
from penstock.plan.weights import RowChange


def as_json(plan: Plan, verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Return everything a plan holds."""
    decision = plan.inputs.decision
    return {
        "valid": not plan.barred,
        "problems": [],
        "changed": plan.changed,
        "summary": headline(plan),
        "base": {"digest": plan.base_digest},
        "candidate": {"digest": plan.candidate_digest},
        "inputs": {
            "source": plan.inputs.source or None,
            "at": timestamp(plan.inputs.at),
            "decision": None if decision is None else decision.id,
            "policyDigest": plan.inputs.policy_digest or None,
        },
        "refusedBecause": plan.barred or None,
        "conditions": list(plan.conditions),
        "documents": plain(plan.documents),
        "weights": [_row(row) for row in plan.rows],
        "drained": [each.cluster for each in plan.drained],
        "residency": plain(plan.residency),
        "before": _figures(plan.before),
        "after": _figures(plan.after),
        "groups": [_group(group) for group in plan.groups],
        "unserved": [{"nodeCluster": name, "connected": connected} for name, connected in plan.unserved],
        "rules": [
            {"rule": each.rule.text, "broken": bool(each.because), "because": list(each.because)} for each in verdicts
        ],
    }


def _row(row: RowChange) -> dict[str, object]:
    return {
        "change": row.change,
        "policy": row.key.policy,
        "region": row.key.region,
        "model": row.key.model,
        "requestsPerSecond": row.demand,
        "before": dict(row.before),
        "after": dict(row.after),
        "firstStep": dict(row.step),
        "shift": row.shift,
        "refused": row.refused,
        "reason": row.reason,
    }


def _figures(figures: Figures) -> dict[str, object]:
    return {
        "usdPerHour": figures.usd_per_hour,
        "amortizedUsdPerHour": figures.amortized_usd_per_hour,
        "gramsPerHour": figures.grams_per_hour,
        "requestsPerSecond": figures.requests,
        "policies": plain(figures.policies),
        "clusters": plain(figures.clusters),
        "budgets": plain(figures.budgets),
    }


def _group(group: GroupPlan) -> dict[str, object]:
    return {
        "change": group.change.change,
        "group": group.change.group,
        "nodeCluster": group.change.node_cluster,
        "envoys": None if group.envoys is None else plain(group.envoys),
        "resources": [
            {
                "change": each.change,
                "type": short_type(each.type_url),
                "name": each.name,
                "version": each.version,
                "atOnce": each.at_once,
            }
            for each in group.change.resources
        ],
    }
