"""What was decided before, as if the clock had always gone as it goes now.

Wall clocks are stepped back: by NTP, by a person, by a machine that wakes up. Every dwell, hold and age would then wait
for the clock to come round again, for an hour or a day, and a cluster that is well would stay DOWN for as long. So the
last decision is taken to have been made a moment ago, and all that it remembers to lie as far back as it did then.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from penstock_policies.decision import ClusterHealth, Decision, EngineMemory, Row, Turns

_PAUSE: Final = 1.0
"""Seconds taken to lie between the two decisions, as usual: how many there were nobody can tell."""

_Timed = Mapping[str, Mapping[str, tuple[float, float]]]


def rebased(previous: Decision | None, now: float) -> Decision | None:
    """Give ``previous`` with its times moved so that it is earlier than ``now``; itself where it is not later."""
    if previous is None or previous.at <= now:
        return previous
    back = previous.at - now + _PAUSE
    return replace(
        previous,
        at=previous.at - back,
        rows={key: _row(row, back) for key, row in previous.rows.items()},
        health={name: _health(one, back) for name, one in previous.health.items()},
        memory=_memory(previous.memory, back),
        edge_health={
            region: {name: _health(one, back) for name, one in by.items()}
            for region, by in previous.edge_health.items()
        },
    )


def _earlier(moment: float, back: float) -> float:
    # 0 stands for never.
    return moment - back if moment > 0 else moment


def _row(row: Row, back: float) -> Row:
    return replace(
        row,
        changed_at=_earlier(row.changed_at, back),
        moved_at=_earlier(row.moved_at, back),
        cost_moved_at=_earlier(row.cost_moved_at, back),
        turns={name: _turns(one, back) for name, one in row.turns.items()},
    )


def _turns(turns: Turns, back: float) -> Turns:
    return replace(turns, at=tuple(at - back for at in turns.at), held_until=_earlier(turns.held_until, back))


def _health(health: ClusterHealth, back: float) -> ClusterHealth:
    return replace(
        health,
        since=_earlier(health.since, back),
        fell_at=_earlier(health.fell_at, back),
        erring_since=_earlier(health.erring_since, back),
        late_since=_earlier(health.late_since, back),
    )


def _memory(memory: EngineMemory, back: float) -> EngineMemory:
    return replace(
        memory,
        prices=_timed(memory.prices, back),
        doubts=_timed(memory.doubts, back),
        carbon=_timed(memory.carbon, back),
        trim={name: (part, _earlier(at, back)) for name, (part, at) in memory.trim.items()},
    )


def _timed(known: _Timed, back: float) -> dict[str, dict[str, tuple[float, float]]]:
    return {feed: {key: (value, at - back) for key, (value, at) in by.items()} for feed, by in known.items()}
