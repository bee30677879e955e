"""``GET /api/v1/status``: the whole at a glance, with findings worst first."""

from importlib.metadata import version

from aiohttp import web

from penstock.admin.feed_figures import accepted_figures, feed_troubles
from penstock.admin.findings import feed_ages, findings
from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane
from penstock.admin.resources.nodes import summary
from penstock.admin.wire import json_response, timestamp
from penstock_policies.problems import Problem


def problem_view(problem: Problem) -> dict[str, object]:
    """One problem of the policy files: its parts for programs, and the whole as one line for people."""
    return {
        "severity": problem.severity,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "expected": problem.expected,
        "suggestion": problem.suggestion,
        "text": str(problem),
    }


def policy_view(control: ControlPlane) -> dict[str, object]:
    """How the policy directory stands: what is in force, and what was wrong with the last load."""
    policy = control.policy_set
    return {
        "source": control.policy_source,
        "digest": None if policy is None else policy.digest,
        "loadedAt": timestamp(control.policy_loaded_at),
        "rejectedAt": timestamp(control.policy_rejected_at),
        "problems": [problem_view(problem) for problem in control.policy_problems],
        "documents": None
        if policy is None
        else {
            "clusters": len(policy.clusters),
            "feeds": len(policy.feeds),
            "listeners": len(policy.listeners),
            "groups": len(policy.groups),
            "residencyRules": len(policy.residency),
            "policies": len(policy.policies),
        },
    }


def _engine(control: ControlPlane) -> dict[str, object] | None:
    decision = control.decision
    if decision is None:
        return None
    return {
        "decision": decision.id,
        "at": timestamp(decision.at),
        "ageSeconds": max(0.0, control.now() - decision.at),
        "rung": decision.rung,
        "frozen": decision.frozen,
        "frozenRegions": decision.frozen_regions,
    }


def _feeds(control: ControlPlane) -> list[dict[str, object]]:
    policy = control.policy_set
    if policy is None:
        return []
    errors = {feed.name: feed.error for feed in control.feeds()}
    decision = control.decision
    troubles = [] if decision is None else feed_troubles(policy, decision)
    figures = [] if decision is None else accepted_figures(policy, decision)
    return [
        {
            "name": name,
            "type": policy.feeds[name].spec.type,
            "ageSeconds": age,
            "maxAgeSeconds": policy.feeds[name].spec.max_age,
            "stale": age is None or age > policy.feeds[name].spec.max_age,
            "error": errors.get(name, ""),
            "figures": [
                {"key": each.key, "figure": each.figure, "unit": each.unit, "ageSeconds": each.age}
                for each in figures
                if each.feed == name
            ],
            "refused": [
                {"key": each.key, "why": each.refused} for each in troubles if each.feed == name and each.refused
            ],
        }
        for name, age in sorted(feed_ages(control, policy).items())
    ]


def status_view(control: ControlPlane) -> dict[str, object]:
    """Return the whole at a glance."""
    now, readiness, envoys = control.now(), control.ready(), control.streams()
    return {
        "now": timestamp(now),
        "version": version("penstock"),
        "startedAt": timestamp(control.started_at),
        "uptimeSeconds": max(0.0, now - control.started_at),
        "xdsAddress": control.xds_address,
        "ready": readiness.ready,
        "readiness": readiness.details,
        "findings": findings(control, envoys),
        "policy": policy_view(control),
        "engine": _engine(control),
        "envoys": summary(envoys),
        "feeds": _feeds(control),
        "quarantined": len(control.quarantine()),
        "drains": sum(drain.active(now) for drain in control.overrides.drains.values()),
    }


async def get_status(request: web.Request) -> web.Response:
    """``GET /api/v1/status``."""
    return json_response(status_view(request.app[CONTROL]))


ROUTES = (web.get("/api/v1/status", get_status),)
