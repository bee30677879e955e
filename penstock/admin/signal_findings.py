"""What engines and edges tell that an operator should know.

Endpoints that fail, engines that are not ready, edges that are not heard or not believed.
"""

from collections.abc import Iterator
from typing import Final

from penstock.admin.finding import Finding
from penstock.admin.ports import ControlPlane
from penstock.admin.signals import LoadFacts, Outcome, failing, swallowing
from penstock_policies.decision import HealthState

_GRACE: Final = 60.0
"""Seconds after the start in which Envoys come back: they try to report again every 5 s."""
_MOST: Final = 5
"""Findings of one kind that are told one by one."""


def signal_findings(control: ControlPlane) -> Iterator[Finding]:
    """Everything of that kind."""
    yield from _few(_failing(control), "endpoints fail as well", "endpoint-failing")
    yield from _few(_swallowing(control), "endpoints answer nobody as well", "endpoint-swallowing")
    yield from _few(_unready(control), "clusters are not ready as well", "engine-not-ready")
    facts = control.signals.load_reporting()
    yield from _unheard(control, facts)
    yield from _reporting(facts)


def _few(found: Iterator[Finding], more: str, kind: str) -> Iterator[Finding]:
    all_of_them = list(found)
    yield from all_of_them[:_MOST]
    if len(all_of_them) > _MOST:
        yield Finding("warning", kind, f"{len(all_of_them) - _MOST} {more}; see `penstock cluster`")


def _untold(control: ControlPlane) -> Iterator[tuple[str, str, Outcome]]:
    """Give cluster, endpoint and how its requests went, of those that are not told of already as down or unhealthy."""
    policy, decision = control.policy_set, control.decision
    if policy is None:
        return
    known = {(name, each.key) for name, cluster in policy.clusters.items() for each in cluster.spec.endpoints}
    for (name, endpoint), outcome in sorted(control.signals.outcomes().items()):
        health = None if decision is None else decision.health.get(name)
        told = health is not None and (health.state is HealthState.DOWN or endpoint in health.unhealthy_endpoints)
        if (name, endpoint) in known and not told:
            yield name, endpoint, outcome


def _swallowing(control: ControlPlane) -> Iterator[Finding]:
    for name, endpoint, outcome in _untold(control):
        if swallowing(outcome):
            yield Finding(
                "warning",
                "endpoint-swallowing",
                f"{endpoint} of cluster {name} has {outcome.in_flight} requests and has ended none lately: it hangs, "
                "or its answers are very long. Clients that give up are no failure to Envoy; drain it if it hangs",
            )


def _failing(control: ControlPlane) -> Iterator[Finding]:
    for name, endpoint, outcome in _untold(control):
        if failing(outcome):
            yield Finding(
                "warning",
                "endpoint-failing",
                f"{endpoint} of cluster {name} fails {outcome.error_share:.0%} of the requests it gets, though its "
                "probes succeed; Envoys eject it, and try it again",
            )


def _unready(control: ControlPlane) -> Iterator[Finding]:
    for name in sorted(() if control.policy_set is None else control.policy_set.clusters):
        shown = control.signals.engine(name).shown
        if shown is not None and shown.ready is False:
            yield Finding(
                "warning",
                "engine-not-ready",
                f"Cluster {name}: an engine says on its metrics page that it is not ready",
            )


def _unheard(control: ControlPlane, facts: LoadFacts) -> Iterator[Finding]:
    nodes = {envoy.node for envoy in control.streams()}
    if nodes and not facts.streams and control.now() - control.started_at > _GRACE:
        yield Finding(
            "warning",
            "load-unheard",
            f"None of {len(nodes)} connected Envoys reports load (LRS): demand, overload and failing requests are "
            "unknown. `penstock bootstrap` writes what they need",
        )


def _reporting(facts: LoadFacts) -> Iterator[Finding]:
    for each in facts.doubts[:_MOST]:
        yield Finding(
            "error",
            "reporter-doubted",
            f"Envoy {each.node} in {each.region} claims a hundred times its load at {each.cluster}, and no other Envoy "
            "sees it; its last credible report counts instead",
        )
    if facts.silent:
        yield Finding(
            "warning",
            "load-silent",
            f"{facts.silent} of {facts.streams} load reporters have fallen silent; what they carry is unknown",
        )
    if facts.unplaced:
        yield Finding(
            "warning",
            "load-unplaced",
            f"{facts.unplaced} of {facts.streams} load reporters are of no node group; what they carry does not count",
        )
