"""A plan as sections of marked lines and tables: what the text and the Markdown form both show, and in what words."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from penstock.admin.wire import short_type, timestamp
from penstock.plan.alarms import alarms_of
from penstock.plan.comparison import GroupPlan, Plan
from penstock.plan.configuration import ResourceChange
from penstock.plan.documents import Change
from penstock.plan.effects import ClusterFigures, PolicyFigures
from penstock.plan.forbid import Verdict
from penstock.plan.lines import ARROW, Line, Mark, Section, Table, counted
from penstock.plan.money import money
from penstock.plan.residency import Reach
from penstock.plan.weights import RowChange
from penstock_policies.serial import row_name

_ALIKE: Final = 5e-4
"""Loads and parts that differ by less look the same with one decimal of a percent."""
_MOST_RESOURCES: Final = 25
"""Resources of one group listed by name; a fleet-wide edit may touch thousands."""


_MARKS: Final = {Change.ADDED: Mark.ADDED, Change.CHANGED: Mark.CHANGED, Change.REMOVED: Mark.REMOVED}


def headline(plan: Plan) -> str:
    """Say in short what the edit does, what must not be overlooked first."""
    if not plan.changed:
        return "Nothing changes."
    moved = max((row.shift for row in plan.rows), default=0.0)
    resources = sum(len(group.change.resources) for group in plan.groups)
    parts = [
        counted(len(plan.documents), "document"),
        f"{counted(len(plan.rows), 'row')} of weights (at most {moved:.1%} of one moves)"
        if plan.rows
        else "no weights",
        f"{counted(resources, 'Envoy resource')} in {counted(len(plan.groups), 'node group')}",
    ]
    alarms = alarms_of(plan)
    first = f"Alarms: {'; '.join(alarms)}. " if alarms else ""
    return f"{first}Changes: {', '.join(parts)}."


def basis(plan: Plan) -> str:
    """Say what the plan was made on."""
    moment = timestamp(plan.inputs.at)
    if not plan.inputs.source:
        load = "no load" if plan.inputs.decision is None else "the load as assumed"
        return f"On no observations (every cluster up, {load}), at {moment}."
    decision = plan.inputs.decision
    decided = "" if decision is None else f", decision {decision.id}"
    return f"On what {plan.inputs.source} knew at {moment}{decided}."


def sections(plan: Plan, verdicts: Sequence[Verdict]) -> tuple[Section, ...]:
    """Tell a plan, section by section; those with nothing to say are left out."""
    told = (
        _alarms(plan),
        Section("Bear in mind", tuple(Line(condition, Mark.ALARM) for condition in plan.conditions)),
        _documents(plan),
        _weights(plan),
        _residency(plan),
        _service(plan),
        _configuration(plan),
        _rules(verdicts),
    )
    return tuple(section for section in told if section.lines or section.tables)


def _alarms(plan: Plan) -> Section:
    lines = []
    if plan.barred:
        lines.append(Line(f"The control plane would refuse this edit: {plan.barred}", Mark.ALARM))
        lines.append(
            Line("Make it in two edits: first the routes (the policies' clusters), then the clusters.", level=1)
        )
    return Section("Refused", tuple(lines))


def _documents(plan: Plan) -> Section:
    lines: list[Line] = []
    for document in plan.documents:
        place = f" ({document.origin})" if document.origin else ""
        lines.append(Line(f"{document.kind} {document.name}{place}", _MARKS[document.change]))
        lines += [Line(f"{each.path}: {each.before} {ARROW} {each.after}", level=1) for each in document.fields]
    return Section("Policy", tuple(lines))


def _weights(plan: Plan) -> Section:
    lines = [Line(each.sentence, Mark.ALARM) for each in plan.drained]
    for row in plan.rows:
        if row.refused:
            what = "find no route" if row.change is Change.REMOVED else f"be refused. {row.reason}"
            lines.append(Line(f"requests of {row_name(row.key)} would {what}", Mark.ALARM))
    # The largest moves first: where a form has room for some rows alone, those are what people must see.
    ordered = sorted(plan.rows, key=lambda row: (-round(row.shift, 3), row.key))
    rows = [cells for row in ordered for cells in _row_cells(row)]
    columns = ("ROW", "REQUESTS/S#", "CLUSTER", "BEFORE#", "AFTER#", "FIRST STEP#")
    return Section("Weights", tuple(lines), (Table(columns, tuple(rows)),) if rows else ())


def _row_cells(row: RowChange) -> Iterator[tuple[str, ...]]:
    names = sorted({*row.before, *row.after, *row.step}, key=lambda name: (-row.after.get(name, 0.0), name))
    label = f"{_MARKS[row.change]} {row_name(row.key)}"
    if not names:
        yield (label, f"{row.demand:.1f}", "(refused)", "-", "-", "-")
    for index, name in enumerate(names):
        yield (
            label if index == 0 else "",
            f"{row.demand:.1f}" if index == 0 else "",
            name,
            "-" if row.change is Change.ADDED else f"{row.before.get(name, 0.0):.1%}",
            "-" if row.change is Change.REMOVED else f"{row.after.get(name, 0.0):.1%}",
            "-" if row.change is Change.REMOVED else f"{row.step.get(name, 0.0):.1%}",
        )


def _residency(plan: Plan) -> Section:
    effect = plan.residency
    lines = [
        Line(f"LOOSENED: {each.data_class} data may newly go to {each.subject}: {each.why}", Mark.ALARM)
        for each in effect.loosened
    ]
    lines += [
        Line(f"tightened: {each.data_class} data may no longer go to {each.subject}: {each.why}", Mark.CHANGED)
        for each in effect.tightened
    ]
    lines += [Line(f"{each.data_class} data newly reaches {_place(each)}", Mark.ADDED) for each in effect.gained]
    lines += [Line(f"{each.data_class} data no longer reaches {_place(each)}", Mark.REMOVED) for each in effect.lost]
    return Section("Residency", tuple(lines))


def _place(reach: Reach) -> str:
    return f"endpoint {reach.endpoint} of {reach.cluster}" if reach.endpoint else reach.cluster


def _service(plan: Plan) -> Section:
    before, after = plan.before, plan.after
    policies = tuple(
        _policy_cells(name, before.policies.get(name), after.policies.get(name))
        for name in sorted({*before.policies, *after.policies})
        if before.policies.get(name) != after.policies.get(name)
    )
    clusters = tuple(
        (name, _load(before.clusters.get(name)), _load(after.clusters.get(name)), _limit(after.clusters.get(name)))
        for name in sorted({*before.clusters, *after.clusters})
        if _moved(before.clusters.get(name), after.clusters.get(name))
    )
    tables = []
    if policies:
        columns = ("POLICY", "REQUESTS/S#", "USD/H#", "USD/MTOK#", "TTFT P95#", "SLO AT RISK#", "REFUSED#")
        tables.append(Table(columns, policies))
    if clusters:
        tables.append(Table(("CLUSTER", "IN FLIGHT BEFORE#", "AFTER#", "LIMITED BY"), clusters))
    return Section("Cost and service", tuple(money(plan)), tuple(tables))


def _policy_cells(name: str, before: PolicyFigures | None, after: PolicyFigures | None) -> tuple[str, ...]:
    def change(figure: str, form: str) -> str:
        old, new = _figure(getattr(before, figure, None), form), _figure(getattr(after, figure, None), form)
        return old if old == new else f"{old} {ARROW} {new}"

    return (
        name,
        change("requests", ".1f"),
        change("usd_per_hour", ".2f"),
        change("usd_per_million_tokens", ".4g"),
        change("ttft_p95", ".2f"),
        change("at_risk", ".1%"),
        change("refused", ".1%"),
    )


def _figure(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    return format(value, form) if math.isfinite(value) else "unbounded"


def _limit(cluster: ClusterFigures | None) -> str:
    return "" if cluster is None else cluster.limited_by


def _load(cluster: ClusterFigures | None) -> str:
    return "-" if cluster is None else f"{cluster.load:.1f} of {cluster.capacity:.0f}"


def _moved(before: ClusterFigures | None, after: ClusterFigures | None) -> bool:
    if before is None or after is None:
        return True
    capacity = max(before.capacity, after.capacity)
    return abs(before.load - after.load) > _ALIKE * capacity or abs(before.capacity - after.capacity) > _ALIKE


def _configuration(plan: Plan) -> Section:
    lines: list[Line] = []
    for node_cluster, connected in plan.unserved:
        lines.append(Line(f"{counted(connected, 'Envoy')} of {node_cluster} would belong to no group", Mark.ALARM))
    for group in plan.groups:
        lines += _group(group)
    return Section("Envoy configuration", tuple(lines))


def _group(group: GroupPlan) -> Iterator[Line]:
    change = group.change
    envoys = "" if group.envoys is None else f", {counted(group.envoys.connected, 'Envoy')} connected"
    yield Line(f"group {change.group} (node.cluster {change.node_cluster}{envoys})", _MARKS[change.change])
    if group.envoys is not None and group.envoys.refusing:
        refusing = f"{counted(group.envoys.refusing, 'Envoy')} of it refuse some of their configuration already"
        yield Line(refusing, Mark.ALARM, level=1)
    for each in change.resources[:_MOST_RESOURCES]:
        yield Line(f"{short_type(each.type_url)} {each.name}{_when(each)}", _MARKS[each.change], level=1)
    rest = len(change.resources) - _MOST_RESOURCES
    if rest > 0:
        yield Line(f"and {counted(rest, 'more resource')}", level=1)


def _when(resource: ResourceChange) -> str:
    if not resource.at_once:
        return " (later, as weights come to their targets)"
    return "" if resource.change is Change.REMOVED else f" (version {resource.version})"


def _rules(verdicts: Sequence[Verdict]) -> Section:
    lines: list[Line] = []
    for verdict in verdicts:
        if verdict.because:
            lines.append(Line(f"{verdict.rule.text}: broken", Mark.ALARM))
            lines += [Line(why, level=1) for why in verdict.because]
        else:
            lines.append(Line(f"{verdict.rule.text}: kept"))
    return Section("Rules", tuple(lines))
