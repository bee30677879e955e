"""An explanation as text for a terminal or a ticket: the same facts as the structured one."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from penstock.admin.reasons import why
from penstock_policies.decision import TOTAL_WEIGHT, Decision, Note, Row
from penstock_policies.policyset import ANY_MODEL
from penstock_policies.schema import TrafficPolicy


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _note_line(note: Note) -> str:
    fields = ", ".join(f"{name}={value}" for name, value in sorted(note.fields.items()))
    return f"    [{note.stage}] {note.message}" + (f" ({fields})" if fields else "")


def _inputs(cluster: str, decision: Decision) -> str:
    view = decision.clusters.get(cluster)
    if view is None:
        return ""
    age = "" if view.price_age is None else f", {view.price_age:.0f} s old"
    return (
        f"${view.price:.2f} per million tokens ({view.price_source}{age}), "
        f"{view.in_flight:.0f} of {view.capacity:.0f} in flight"
    )


def _row_lines(row: Row, decision: Decision, now: float) -> Iterator[str]:
    model = "no model named" if row.key.model == ANY_MODEL else row.key.model
    yield f"{row.key.region}, {model}: {row.reason}"
    if not row.weights:
        yield "  no cluster may serve it: requests are refused with 503"
    for cluster in sorted(row.weights, key=lambda name: (-row.weights[name], name)):
        yield f"  {row.weights[cluster] / TOTAL_WEIGHT:7.2%}  {cluster}: {why(cluster, row, decision)}"
        yield f"           {_inputs(cluster, decision)}"
        if len(row.legs.get(cluster, ())) > 1:
            yield f"           if it fails within a request: {', then '.join(row.legs[cluster][1:])}"
    for cluster in sorted(row.excluded.keys() - row.weights.keys()):
        yield f"  excluded {cluster}: {row.excluded[cluster]}"
    yield (
        f"  demand about {row.demand:.1f} requests/s; "
        f"unchanged since {_moment(row.changed_at)} ({max(0.0, now - row.changed_at):.0f} s)"
    )
    if row.notes:
        yield "  what each stage did:"
        yield from map(_note_line, row.notes)


def explanation_text(policy: TrafficPolicy, rows: Sequence[Row], decision: Decision, now: float) -> str:
    """Return the explanation of a policy's rows, many lines, ending in a newline."""
    lines = [
        f"Policy {policy.name}: {policy.spec.data_class} data, minimize {policy.spec.objective.minimize}.",
        f"Steps of at most {policy.spec.limits.max_step:.0%} every {policy.spec.limits.min_dwell:g} s.",
        f"Decision {decision.id} of {_moment(decision.at)}, solved by {decision.rung}.",
    ]
    if decision.frozen:
        lines.append(f"FROZEN: {decision.frozen}")
    for row in rows:
        lines.extend(("", *_row_lines(row, decision, now)))
    if decision.notes:
        lines.extend(("", "The whole fleet:", *map(_note_line, decision.notes)))
    return "\n".join(line.rstrip() for line in lines) + "\n"
