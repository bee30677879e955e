"""The shape of a page of Prometheus metrics: names, types, labels and buckets, without any figure, as lines of text."""

import re
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)

_FREE = frozenset({"model_name", "engine", "le"})
"""Labels whose values are no part of the shape."""


def shape(text: str, prefix: str) -> list[str]:
    """One line for each metric whose name begins so: type, name, labels with their values, bounds of seconds.

    Of an ``_info`` metric, whose labels are the server's settings, type and name alone. Buckets of tokens go by the
    longest context of the model, so only those of times are told. ``_created`` is the client library's own, by a switch
    that all of a process shares.
    """
    samples = {
        family.name: [(sample.name, sample.labels) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }
    return sorted(
        " ".join([name, kind, *_details(name, kind, samples)])
        for name, kind in _TYPE.findall(text)
        if name.startswith(prefix) and not name.endswith("_created")
    )


def _details(name: str, kind: str, samples: dict[str, list[tuple[str, dict[str, str]]]]) -> Iterator[str]:
    if name.endswith("_info"):
        return
    found = samples[name.removesuffix("_total") if kind == "counter" else name]
    values: dict[str, set[str]] = {}
    for _, labels in found:
        for label, value in labels.items():
            values.setdefault(label, set()).add(value)
    yield from (
        label if label in _FREE else f"{label}={'|'.join(sorted(values[label]))}"
        for label in sorted(values)
        if label != "le"
    )
    if kind == "histogram" and "_seconds" in name:
        yield "le=" + "|".join(dict.fromkeys(labels["le"] for sample, labels in found if sample.endswith("_bucket")))
