"""The engine's notes for people: figures rounded and with their units. Programs have the notes themselves. Pure."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from penstock_policies.decision import Note

_SPANS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_GREATEST_SHARE: Final = 1.0
_LEAST_MOMENT: Final = 1e9
"""A figure from here on, with no other unit, is Unix seconds: since September 2001."""


def span(seconds: float) -> str:
    """Return a span of time in its natural unit."""
    for size, unit in _SPANS:
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def _percent(value: float) -> str:
    return f"{value:.1%}" if abs(value) <= _GREATEST_SHARE else f"{value:.4g}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 and value != int(value) else f"{value:.0f} s"


def _usd(value: float) -> str:
    return f"{value:,.2f} USD"


def _usd_per_hour(value: float) -> str:
    return f"{value:,.2f} USD/h"


_UNITS: Final[Mapping[str, Callable[[float], str]]] = {
    "age": _seconds,
    "amount": _usd,
    "dwell": _seconds,
    "forecast": _usd,
    "from": _percent,
    "gap": _percent,
    "limit": _usd_per_hour,
    "spent": _usd,
    "step": _percent,
    "to": _percent,
    "waited": _seconds,
}


def note_text(note: Note) -> str:
    """Return a note in words."""
    told = _SENTENCES.get(note.message)
    if told is not None and told[0] <= note.fields.keys():
        return told[1]({name: _shown(name, value) for name, value in note.fields.items()})
    fields = ", ".join(f"{name} {_shown(name, value)}" for name, value in sorted(note.fields.items()))
    return note.message + (f" ({fields})" if fields else "")


def _shown(name: str, value: str | float) -> str:
    if isinstance(value, str):
        return value
    if name in _UNITS:
        return _UNITS[name](value)
    if value >= _LEAST_MOMENT:
        return f"until {datetime.fromtimestamp(value, UTC):%H:%M:%S} UTC"
    return _percent(value) if 0 < value < 1 else f"{value:.4g}"


def _waiting(fields: Mapping[str, str]) -> str:
    return (
        f"waits out its dwell, {fields['waited']} of {fields['dwell']}: {fields['gap']} still to move, "
        f"for {fields['move']}"
    )


def _stepping(fields: Mapping[str, str]) -> str:
    return f"step limited to {fields['step']} of the {fields['gap']} to move, for {fields['move']}"


_SENTENCES: Final[Mapping[str, tuple[frozenset[str], Callable[[Mapping[str, str]], str]]]] = {
    "waits out its dwell": (frozenset({"waited", "dwell", "gap", "move"}), _waiting),
    "step limited": (frozenset({"step", "gap", "move"}), _stepping),
}
"""Message to the fields it needs and its sentence, for the notes that people meet every day."""
