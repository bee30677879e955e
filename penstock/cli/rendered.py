"""Compiled Envoy resources as people read them.

Imported only when it is needed: the Envoy message types take the better part of a second to load.
"""

import json

from penstock.cli.errors import FINDINGS, CommandError
from penstock.cli.terminal import Rendering
from penstock_envoy.compiler import Compiler
from penstock_envoy.envoy_yaml import dump
from penstock_envoy.rendering import render
from penstock_envoy.residency import ResidencyBreach, prove
from penstock_policies.engine import decide
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.suggestions import closest


def render_policy(policy: PolicySet, group: str | None, form: Rendering) -> str:
    """Return the resources of one node group, or of all, by group and type.

    Raises:
        CommandError: there is no such group, or the resources would break a residency rule.

    """
    if group is not None and group not in policy.groups:
        meant = closest(group, policy.groups)
        raise CommandError(f"no node group {group!r}", hint=f"did you mean {meant}?" if meant else "")
    decision = decide(policy, Observations(), Overrides(), None, 0.0)
    compiler = Compiler()
    rendered: dict[str, dict[str, list[dict[str, object]]]] = {}
    for name in sorted(policy.groups) if group is None else [group]:
        resources = compiler.compile(policy, decision, name)
        try:
            prove(policy, resources, name)
        except ResidencyBreach as error:
            raise CommandError(f"refused: {error}", exit_code=FINDINGS) from error
        by_type: dict[str, list[dict[str, object]]] = {}
        for resource in resources:
            by_type.setdefault(resource.type_url, []).append(render(resource))
        rendered[name] = by_type
    if form is Rendering.JSON:
        return json.dumps(rendered, indent=2, ensure_ascii=False)
    return dump(rendered)
