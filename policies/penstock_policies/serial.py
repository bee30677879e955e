"""Decisions as canonical JSON, and the hashes made of it.

Canonical: keys sorted, no spaces, floats in their shortest exact form, so equal decisions are equal bytes and
``from_json(to_json(decision)) == decision``. Pure. Used to persist a decision, to restore ``previous`` after a restart,
for a decision's id, and to tell whether a new decision is worth publishing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from penstock_policies.decision import (
    BudgetView,
    ClusterHealth,
    ClusterView,
    Decision,
    EngineMemory,
    HealthState,
    Move,
    Note,
    Row,
    Rung,
    Stage,
    Turns,
)
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass

_ID_LENGTH = 16
"""Hex digits: 64 bits, far past chance collision for the decisions one fleet makes in its life."""


class SerialError(ValueError):
    """A text is not a decision this version can read."""


_FIELDS = {
    kind: tuple(one.name for one in fields(kind))
    for kind in (BudgetView, ClusterHealth, ClusterView, EngineMemory, Note, Turns)
}
_LATER = frozenset(
    {"edge_health", "frozen_regions", "edge_outcomes", "prompt_ratios", "paces", "prompt_price_ratio", "usd_per_hour"}
)
"""Fields younger than many a recorded decision: left out where they say nothing, so that decisions they do not change
hash as they always did."""
_DECISION_FIELDS = tuple(one.name for one in fields(Decision))
_ROW_FIELDS = tuple(one.name for one in fields(Row) if one.name != "key")


def row_name(key: RowKey) -> str:
    """``policy/region/model``: a row's name in JSON and messages. Only the model may itself hold a slash."""
    return f"{key.policy}/{key.region}/{key.model}"


def parse_row_name(name: str) -> RowKey:
    """Read the key that :func:`row_name` wrote.

    Raises:
        SerialError: ``name`` has fewer than three parts.

    """
    parts = name.split("/", 2)
    if len(parts) != 3:
        raise SerialError(f"not a row name: {name!r}")
    return RowKey(*parts)


def to_json(decision: Decision) -> str:
    """Write a decision as canonical JSON."""
    return _canonical(_plain(decision)).decode()


def from_json(text: str) -> Decision:
    """Read a decision that :func:`to_json` wrote.

    Raises:
        SerialError: ``text`` is not JSON, or not a decision of this version.

    """
    try:
        return _decision(json.loads(text))
    except SerialError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SerialError(f"not a decision: {type(error).__name__}: {error}") from error


def decision_id(decision: Decision) -> str:
    """Hash everything in a decision but its id."""
    plain = _plain(decision)
    del plain["id"]
    return _digest(plain)


def material_digest(decision: Decision) -> str:
    """Hash what Envoy would see and an auditor would ask about; publish and record only when it changes.

    Leaves out what moves by itself every second: times, ages, measured load, wording with numbers in it.
    """
    return _digest(
        {
            "policy": decision.policy_digest,
            "rung": decision.rung,
            "frozen": bool(decision.frozen),
            "draining": sorted(decision.draining),
            "exhausted": sorted(name for name, budget in decision.budgets.items() if budget.exhausted),
            "health": {
                name: [health.state, health.ceiling, sorted(health.unhealthy_endpoints)]
                for name, health in decision.health.items()
            },
            **_edges_material(decision),
            "rows": {
                row_name(key): {
                    "weights": row.weights,
                    "legs": row.legs,
                    "excluded": sorted(row.excluded),
                    "refusal": row.refusal,
                    "rung": row.rung,
                    "why": sorted({note.message for note in row.notes if note.stage is Stage.SOLVE}),
                }
                for key, row in decision.rows.items()
            },
        }
    )


def _edges_material(decision: Decision) -> dict[str, Any]:
    if not decision.edge_health:
        return {}
    return {
        "frozen_regions": sorted(decision.frozen_regions),
        "edge_health": {
            region: {
                name: [health.state, health.ceiling, sorted(health.unhealthy_endpoints)] for name, health in by.items()
            }
            for region, by in decision.edge_health.items()
        },
    }


def _canonical(plain: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(plain, _plainer, orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # Names from outside may hold half a character or a number past 64 bits, which orjson refuses.
        return json.dumps(plain, default=_plainer, sort_keys=True, separators=(",", ":")).encode()


def _plainer(value: Any) -> Any:  # noqa: ANN401 whatever an encoder meets and does not know
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not to be written as JSON: {type(value).__name__}")


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(plain)).hexdigest()[:_ID_LENGTH]


def _plain(decision: Decision) -> dict[str, Any]:
    plain = {name: getattr(decision, name) for name in _DECISION_FIELDS}
    plain["rows"] = {row_name(key): _plain_row(row) for key, row in decision.rows.items()}
    plain["notes"] = [_shallow(note) for note in decision.notes]
    plain["memory"] = _without_empty(_shallow(decision.memory))
    for part in ("health", "clusters", "budgets"):
        plain[part] = {name: _shallow(value) for name, value in plain[part].items()}
    plain["clusters"] = {name: _without_empty(view) for name, view in plain["clusters"].items()}
    plain["edge_health"] = {
        region: {name: _shallow(health) for name, health in by.items()} for region, by in decision.edge_health.items()
    }
    return _without_empty(plain)


def _without_empty(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if value or value == 0 or name not in _LATER}


def _plain_row(row: Row) -> dict[str, Any]:
    plain = {name: getattr(row, name) for name in _ROW_FIELDS}
    plain["notes"] = [_shallow(note) for note in row.notes]
    if row.turns:
        plain["turns"] = {name: _shallow(turns) for name, turns in row.turns.items()}
    return plain


def _shallow(value: BudgetView | ClusterHealth | ClusterView | EngineMemory | Note | Turns) -> dict[str, Any]:
    # dataclasses.asdict copies every leaf deeply, which for a large fleet costs more than deciding.
    plain = {name: getattr(value, name) for name in _FIELDS[type(value)]}
    if plain.get("late_since") == 0:
        # Younger than many a record, and seldom anything else.
        del plain["late_since"]
    return plain


def _decision(plain: dict[str, Any]) -> Decision:
    rung = Rung(plain["rung"])
    rows = [_row(parse_row_name(name), row, rung) for name, row in plain["rows"].items()]
    return Decision(
        id=plain["id"],
        at=plain["at"],
        policy_digest=plain["policy_digest"],
        rung=rung,
        frozen=plain["frozen"],
        rows={row.key: row for row in rows},
        health=_healths(plain["health"]),
        clusters={
            name: ClusterView(**{**view, "tokens": _pair(view["tokens"])}) for name, view in plain["clusters"].items()
        },
        draining=plain["draining"],
        notes=_notes(plain["notes"]),
        memory=_memory(plain["memory"]),
        budgets={name: BudgetView(**view) for name, view in plain["budgets"].items()},
        edge_health={region: _healths(by) for region, by in plain.get("edge_health", {}).items()},
        frozen_regions=plain.get("frozen_regions", {}),
    )


def _healths(plain: dict[str, Any]) -> dict[str, ClusterHealth]:
    return {
        name: ClusterHealth(
            state=HealthState(health["state"]),
            since=health["since"],
            ceiling=health["ceiling"],
            unhealthy_endpoints=tuple(health["unhealthy_endpoints"]),
            reason=health["reason"],
            hold=health["hold"],
            fell_at=health["fell_at"],
            erring_since=health["erring_since"],
            late_since=health.get("late_since", 0.0),
        )
        for name, health in plain.items()
    }


def _row(key: RowKey, plain: dict[str, Any], rung: Rung) -> Row:
    """Read a row of a decision on ``rung``, on which all rows were before each had its own."""
    return Row(
        key=key,
        data_class=DataClass(plain["data_class"]),
        weights=plain["weights"],
        legs={name: tuple(leg) for name, leg in plain["legs"].items()},
        target=plain["target"],
        excluded=plain["excluded"],
        reason=plain["reason"],
        notes=_notes(plain["notes"]),
        changed_at=plain["changed_at"],
        moved_at=plain["moved_at"],
        cost_moved_at=plain["cost_moved_at"],
        demand=plain["demand"],
        move=Move(plain["move"]),
        gaps=plain["gaps"],
        tokens=_pair(plain["tokens"]),
        turns={name: Turns(**{**turns, "at": tuple(turns["at"])}) for name, turns in plain["turns"].items()},
        refusal=plain["refusal"],
        rung=Rung(plain.get("rung", rung)),
    )


def _notes(plain: list[dict[str, Any]]) -> tuple[Note, ...]:
    return tuple(Note(Stage(note["stage"]), note["message"], note["fields"]) for note in plain)


def _memory(plain: dict[str, Any]) -> EngineMemory:
    return EngineMemory(
        prices=_pairs_by_feed(plain["prices"]),
        demand=plain["demand"],
        service_time=plain["service_time"],
        flow=_pairs(plain["flow"]),
        doubts=_pairs_by_feed(plain["doubts"]),
        carbon=_pairs_by_feed(plain["carbon"]),
        trim=_pairs(plain["trim"]),
        token_counts={name: _triple(one) for name, one in plain.get("token_counts", {}).items()},
        burn=plain["burn"],
        mixed=plain.get("mixed", {}),
        recent=plain.get("recent", {}),
        slots=plain.get("slots", {}),
        outcomes=_pairs(plain.get("outcomes", {})),
        speed=_pairs(plain.get("speed", {})),
        edge_outcomes={region: _pairs(by) for region, by in plain.get("edge_outcomes", {}).items()},
        prompt_ratios=plain.get("prompt_ratios", {}),
        paces=_pairs(plain.get("paces", {})),
    )


def _triple(plain: list[float]) -> tuple[float, float, float]:
    first, second, third = plain
    return first, second, third


def _pair(plain: list[float]) -> tuple[float, float]:
    first, second = plain
    return first, second


def _pairs(plain: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    return {name: _pair(pair) for name, pair in plain.items()}


def _pairs_by_feed(plain: dict[str, Any]) -> dict[str, dict[str, tuple[float, float]]]:
    return {feed: {key: (price, at) for key, (price, at) in keys.items()} for feed, keys in plain.items()}
