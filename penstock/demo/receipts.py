"""What data reached an endpoint, by data class: the demo's and the tests' evidence on residency.

Counted from what really arrived, before any fault answers, and from the request's own marks (never from what the
control plane says): header ``x-demo-class``, header ``x-data-class``, or the marker in the body. The strictest wins.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

from penstock_policies.words import DataClass

DEMO_CLASS_HEADER = "x-demo-class"
"""Carried by the load generator's requests; no proxy gives it a meaning."""

DATA_CLASS_HEADER = "x-data-class"

RESTRICTED_MARKER = b"[[restricted-record]]"
"""In the prompt of every restricted request of the load generator: it travels even where headers are dropped."""

UNMARKED = "unmarked"


class ReceiptsView(TypedDict):
    """Receipts as JSON."""

    requests: dict[str, int]
    bytes: dict[str, int]


def class_of(headers: Mapping[str, str], body: bytes) -> str:
    """The strictest data class the request shows, or :data:`UNMARKED`."""
    known = {str(data_class): data_class for data_class in DataClass}
    shown = [
        known[value]
        for header in (DEMO_CLASS_HEADER, DATA_CLASS_HEADER)
        if (value := headers.get(header, "").strip().lower()) in known
    ]
    if RESTRICTED_MARKER in body:
        shown.append(DataClass.RESTRICTED)
    return str(max(shown, key=lambda data_class: data_class.strictness)) if shown else UNMARKED


class Receipts:
    """Counters of requests and body bytes by class."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def count(self, data_class: str, size: int) -> None:
        """Note a request of this class with a body of ``size`` bytes."""
        self._requests[data_class] += 1
        self._bytes[data_class] += size

    def view(self) -> ReceiptsView:
        """All classes, with zeros for those never seen."""
        names = [*(str(data_class) for data_class in DataClass), UNMARKED]
        return {
            "requests": {name: self._requests[name] for name in names},
            "bytes": {name: self._bytes[name] for name in names},
        }
