"""An explanation as text for a terminal or a ticket: the same facts as the structured one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from penstock.admin.bindings import Binding
from penstock.admin.fleet import unnamed_clusters, unnamed_lines
from penstock.admin.note_text import note_text, span
from penstock.admin.observed import MEAN_SECONDS
from penstock.admin.occasion import Occasion
from penstock.admin.reasons import why
from penstock.admin.rows import row_title
from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState, Note, Row, Rung, Stage
from penstock_policies.engine.schedule import Wishes
from penstock_policies.schema import TrafficPolicy

_DOUBTFUL_AGE = 10.0
"""Seconds after which a load report or a probe says little about now."""
_TOLD_WITH_BUDGETS = {"budget paced", "budget exhausted"}
"""Notes of the fleet that the lines about budgets say better."""


def explanation_text(  # noqa: PLR0917 - what an explanation consists of, in the order in which it is told
    policy: TrafficPolicy,
    wanted: Wishes,
    rows: Sequence[Row],
    occasion: Occasion,
    inputs: Sequence[Mapping[str, Any]],
    bound: Sequence[Binding],
) -> str:
    """Return the explanation of a policy's rows, many lines, ending in a newline."""
    decision = occasion.decision
    lines = [*_heading(policy, wanted, occasion)]
    for row in rows:
        lines.extend(("", *_row_lines(row, occasion, [each for each in bound if each.row == row_title(row.key)])))
    unnamed = [*unnamed_lines(unnamed_clusters(occasion.policies, policy))]
    if unnamed:
        lines.extend(("", "The rest of the fleet:", *unnamed))
    lines.extend(("", "What it went by:", *(line for item in inputs for line in _input_lines(item))))
    scarce = [each.sentence for each in bound if not each.row]
    scarce = scarce or ["nothing: no cluster is full, no budget is near"]
    lines.extend(("", "What binds:", *(f"  {sentence}" for sentence in scarce)))
    if decision.budgets:
        lines.extend(("", "Budgets:", *(_budget_line(name, occasion) for name in sorted(decision.budgets))))
    notes = [note for note in decision.notes if note.message not in _TOLD_WITH_BUDGETS]
    if notes:
        lines.extend(("", "The whole fleet:", *map(_note_line, notes)))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _heading(policy: TrafficPolicy, wanted: Wishes, occasion: Occasion) -> Iterator[str]:
    decision, past, spec = occasion.decision, occasion.past, policy.spec
    parts = [
        str(measure) if part == 1 else f"{part:.0%} {measure}"
        for measure, part in sorted(wanted.objective.parts.items())
    ]
    yield f"Policy {policy.name}: {spec.data_class} data, minimize {', '.join(parts)}."
    yield f"Steps of at most {spec.limits.max_step:.0%} every {spec.limits.min_dwell:g} s."
    if policy.spec.schedules:
        yield f"{_schedules(wanted)}."
    yield f"Decision {decision.id} of {_moment(decision.at)}, solved by {_rungs(decision)}."
    if past is not None:
        yield "Nothing but figures has changed since." if past.until is None else f"Replaced at {_moment(past.until)}."
    elif occasion.recorded_as is not None and occasion.recorded_as != decision.id:
        yield (
            f"Recorded as {occasion.recorded_as}, which says the same but for figures: "
            f"`penstock explain --decision {occasion.recorded_as} --verify` verifies it."
        )
    if occasion.older_than_asked is not None:
        yield f"Its figures are {span(occasion.older_than_asked)} older than asked."
    if decision.frozen:
        yield f"FROZEN: {decision.frozen}"
    for region, frozen in sorted(decision.frozen_regions.items()):
        yield f"FROZEN for {region}: {frozen}"


def _rungs(decision: Decision) -> str:
    counts = Counter(row.rung for row in decision.rows.values())
    if len(counts) <= 1:
        return decision.rung
    return " and ".join(
        f"{rung} ({counts[rung]} {'row' if counts[rung] == 1 else 'rows'})" for rung in Rung if rung in counts
    )


def _schedules(wanted: Wishes) -> str:
    told = f"Schedule {' and '.join(wanted.in_force)} in force" if wanted.in_force else "No schedule in force"
    return told if wanted.changes_at is None else f"{told} until {_moment(wanted.changes_at)}"


def _row_lines(row: Row, occasion: Occasion, gaps: Sequence[Binding]) -> Iterator[str]:
    decision = occasion.decision
    yield f"{row_title(row.key)}: {row.reason}"
    if row.rung is not Rung.OPTIMUM:
        whys = [str(note.fields["why"]) for note in row.notes if note.stage is Stage.SOLVE and "why" in note.fields]
        yield f"  fell to the rung {row.rung}{f': {whys[-1]}' if whys else ''}"
    if not row.weights:
        why_refused = f" ({row.refusal})" if row.refusal else ""
        yield f"  no cluster may serve it: requests are refused with 503{why_refused}"
    for cluster in sorted(row.weights, key=lambda name: (-row.weights[name], name)):
        yield f"  {row.weights[cluster] / TOTAL_WEIGHT:7.2%}  {cluster}: {why(cluster, row, decision)}"
        yield f"           {_figures(cluster, decision)}"
        if len(row.legs.get(cluster, ())) > 1:
            yield f"           if it fails within a request: {', then '.join(row.legs[cluster][1:])}"
    for cluster in sorted(row.excluded.keys() - row.weights.keys()):
        yield f"  excluded {cluster}: {row.excluded[cluster]}"
    for gap in gaps:
        yield f"  {gap.sentence}"
    limits = [note for note in row.notes if note.stage in {Stage.PROJECT, Stage.LIMIT}]
    if limits:
        yield f"  what changed the plan's shares: {'; '.join(note_text(note) for note in limits)}"
    yield (
        f"  demand about {row.demand:.1f} requests/s of {row.tokens[0]:.0f} prompt and {row.tokens[1]:.0f} generated "
        f"tokens; unchanged since {_moment(row.changed_at)} ({max(0.0, occasion.now - row.changed_at):.0f} s)"
    )
    others = [note for note in row.notes if note not in limits]
    if others:
        yield "  what each other stage did:"
        yield from map(_note_line, others)


def _figures(cluster: str, decision: Decision) -> str:
    view = decision.clusters.get(cluster)
    if view is None:
        return ""
    age = "" if view.price_age is None else f", {view.price_age:.0f} s old"
    return (
        f"${view.price:.2f} per million tokens ({view.price_source}{age}), "
        f"{view.in_flight:.0f} of {view.capacity:.0f} in flight"
    )


def _input_lines(item: Mapping[str, Any]) -> Iterator[str]:
    health, capacity = item["health"], item["capacity"]
    state = "not known" if health is None else str(health["state"])
    because = f", {health['reason']}" if health is not None and health["reason"] else ""
    doubt = because if state != HealthState.UP else ""
    yield f"  {item['cluster']} ({item['site']}, {item['region']}{', spot' if item['spot'] else ''}): {state}{doubt}"
    for region, seen in item["healthByRegion"].items():
        told = f", {seen['reason']}" if seen["reason"] and seen["state"] != HealthState.UP else ""
        yield f"    from {region}: {seen['state']}{told}"
    if capacity is not None:
        limited = f", limited by {capacity['limitedBy']}" if capacity["limitedBy"] else ""
        yield (
            f"    room for {capacity['plannedUpTo']:.0f} of {capacity['declared']} declared{limited}; "
            f"{capacity['inFlight']:.0f} in flight, {capacity['inFlightByPlan']:.0f} by plan"
        )
    price, carbon = item["price"], item["carbon"]
    if price is not None:
        grams = f", {carbon['gramsPerMillionTokens']:.4g} g CO2/Mtok ({carbon['source']})"
        told = grams if carbon["gramsPerMillionTokens"] > 0 else ""
        yield f"    {price['usdPerMillionTokens']:.4g} USD/Mtok ({price['source']}){told}"
    if "probes" not in item:
        yield "    what was observed is not recorded"
        return
    probes = item["probes"]
    failing = f", {probes['failing']} failing" if probes["failing"] else ""
    if "regions" in probes:
        failing = f", by {probes['regions']} {'region' if probes['regions'] == 1 else 'regions'}{failing}"
    ages = [
        f"probes {_age(probes['ageSeconds'])} ({_endpoints(probes['endpoints'])}{failing})",
        f"load {_age(item['loadAgeSeconds'])}",
    ]
    if item["engine"] is not None:
        ages.append(f"engine metrics {_age(item['engine']['ageSeconds'])}")
    if price is not None and price["ageSeconds"] is not None:
        ages.append(f"price {price['ageSeconds']:.0f} s old")
    if carbon is not None and carbon["ageSeconds"] is not None:
        ages.append(f"carbon {carbon['ageSeconds']:.0f} s old")
    yield f"    {', '.join(ages)}"


def _endpoints(count: int) -> str:
    return f"{count} endpoint" if count == 1 else f"{count} endpoints"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "never seen"
    return f"{seconds:.0f} s old" + (", STALE" if seconds > _DOUBTFUL_AGE else "")


def _budget_line(name: str, occasion: Occasion) -> str:
    view, budget = occasion.decision.budgets[name], occasion.policies.budgets.get(name)
    seen = None if occasion.observations is None else occasion.observations.spend.get(name)
    counted = "" if seen is None else f", counted {max(0.0, occasion.now - seen.at):.0f} s ago"
    mean = "" if budget is None else f" as a mean over about {span(MEAN_SECONDS[budget.spec.per])}"
    line = (
        f"  {name}: {view.spent:.2f} of {view.amount:.2f} USD until {_moment(view.period_end)}{counted}; "
        f"{view.burn:.2f} USD/h now{mean}, {view.forecast:.2f} USD by then at that rate"
    )
    if view.exhausted:
        return f"{line}; EXHAUSTED"
    return line if view.limit is None else f"{line}; held to {view.limit:.2f} USD/h"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _note_line(note: Note) -> str:
    return f"    [{note.stage}] {note_text(note)}"
