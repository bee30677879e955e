"""From the text of an engine's metrics page to its figures, by the engine's row of the table. Pure.

A figure that is missing, or of which a single series is nothing a server could have (negative, NaN, infinite, no
number), is unknown: a sum of some of its parts, taken for the whole, would be a lie. Only a page of which nothing at
all can be used is refused.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from penstock.signals.engine_figures import COUNTERS, HISTOGRAMS, MOST, Buckets, Figures, merged
from penstock.signals.engine_samples import Sample, number, samples
from penstock.signals.engine_table import ADAPTERS, Adapter, Series, Sums, Timing
from penstock_policies.words import Engine

_COUNTS: Final = ("running", "waiting", "prefix_hit_rate", "kv_used", "kv_blocks_used", "kv_blocks", "ready", *COUNTERS)
_BUCKET: Final = "_bucket"

Page = Mapping[str, Sequence[Sample]]
_Values = list[tuple[Mapping[str, str], float]]
"""Labels and value of each series."""


class EngineTextError(Exception):
    """The text holds no figure of the engine; says so."""


def parse(text: str, engine: Engine) -> Figures:
    """Read a page of metrics.

    Raises:
        EngineTextError: there is nothing of this engine in it.

    """
    adapter = ADAPTERS[engine]
    page = samples(text, _names(engine))
    kv_used = _share(page, adapter.kv_used, adapter)
    figures = Figures(
        running=_sum(page, adapter.running, adapter),
        waiting=_sum(page, adapter.waiting, adapter),
        prompt_tokens=_sum(page, adapter.prompt_tokens, adapter),
        output_tokens=_sum(page, adapter.output_tokens, adapter),
        prefix_hits=_sum(page, adapter.prefix_hits, adapter),
        prefix_lookups=_sum(page, adapter.prefix_lookups, adapter),
        prefix_hit_rate=_share(page, adapter.prefix_hit_rate, adapter),
        kv_used=kv_used if kv_used is not None else _of_blocks(page, adapter),
        ttft=_timing(page, adapter.ttft, adapter),
        inter_token=_timing(page, adapter.inter_token, adapter),
        ready=_any(page, adapter.ready, adapter),
        models=tuple(sorted(_told(page, adapter.model))),
        revision=_only(_told(page, adapter.revision)) if adapter.revision else None,
    )
    if figures.empty:
        raise EngineTextError(f"no figure of {engine} in it")
    return figures


@lru_cache(maxsize=len(Engine))
def _names(engine: Engine) -> frozenset[str]:
    adapter = ADAPTERS[engine]
    counts = [each for figure in _COUNTS for alternative in getattr(adapter, figure) for each in alternative]
    series = {name for each in counts for name in (each.name, each.queue) if name}
    return frozenset(series | {each.name + _BUCKET for figure in HISTOGRAMS for each in getattr(adapter, figure)})


def _values(page: Page, alternatives: Sums, adapter: Adapter) -> Iterator[tuple[Series, _Values | None]]:
    """Give what the page has of the first alternative it has; None for what holds an absurdity."""
    for alternative in alternatives:
        chosen = [[each for each in page.get(series.name, ()) if _fits(each, series)] for series in alternative]
        if all(chosen):
            for series, found in zip(alternative, chosen, strict=True):
                yield series, _distinct(found, adapter)
            return


def _fits(sample: Sample, series: Series) -> bool:
    return series.where is None or sample.labels.get(series.where[0]) == series.where[1]


def _distinct(found: Sequence[Sample], adapter: Adapter) -> _Values | None:
    kept: dict[frozenset[tuple[str, str]], tuple[Mapping[str, str], float]] = {}
    for sample in found:
        if sample.value is None or not 0 <= sample.value <= MOST:
            return None
        key = frozenset(item for item in sample.labels.items() if item[0] not in adapter.copies)
        if key not in kept or kept[key][1] < sample.value:
            kept[key] = (sample.labels, sample.value)
    return list(kept.values())


def _sum(page: Page, alternatives: Sums, adapter: Adapter) -> float | None:
    total: float | None = None
    for series, values in _values(page, alternatives, adapter):
        if values is None:
            return None
        queued = _distinct(page.get(series.queue, ()), adapter) if series.queue else []
        if queued is None:
            return None
        total = (total or 0.0) + _added(values, queued, series.greatest_by)
    return total


def _added(values: _Values, queued: _Values, by: str | None) -> float:
    sums, waiting = _by(by, values), _by(by, queued)
    elsewhere = math.fsum(waiting.values())
    return max(max(0.0, count - (elsewhere - waiting.get(group, 0.0))) for group, count in sums.items())


def _by(label: str | None, values: _Values) -> dict[str, float]:
    sums: dict[str, float] = {}
    for labels, value in values:
        group = labels.get(label, "") if label else ""
        sums[group] = sums.get(group, 0.0) + value
    return sums


def _share(page: Page, alternatives: Sums, adapter: Adapter) -> float | None:
    for _, values in _values(page, alternatives, adapter):
        if values is None or any(value > 1 for _, value in values):
            return None
        return math.fsum(value for _, value in values) / len(values)
    return None


def _of_blocks(page: Page, adapter: Adapter) -> float | None:
    used, blocks = _sum(page, adapter.kv_blocks_used, adapter), _sum(page, adapter.kv_blocks, adapter)
    return used / blocks if used is not None and blocks and used <= blocks else None


def _any(page: Page, alternatives: Sums, adapter: Adapter) -> bool | None:
    for _, values in _values(page, alternatives, adapter):
        return None if values is None else any(value > 0 for _, value in values)
    return None


def _timing(page: Page, alternatives: Sequence[Timing], adapter: Adapter) -> Buckets | None:
    for timing in alternatives:
        found = page.get(timing.name + _BUCKET)
        if found:
            return _histogram(found, timing.scale, adapter)
    return None


def _histogram(found: Sequence[Sample], scale: float, adapter: Adapter) -> Buckets | None:
    """Add up the histograms of all labels; None where one of them is no histogram."""
    parts: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
    for sample in found:
        bound = number(sample.labels.get("le", ""))
        if bound is None or math.isnan(bound) or sample.value is None or not 0 <= sample.value <= MOST:
            return None
        key = frozenset(item for item in sample.labels.items() if item[0] != "le" and item[0] not in adapter.copies)
        part = parts.setdefault(key, {})
        part[bound * scale] = max(sample.value, part.get(bound * scale, 0.0))
    whole = [dict(sorted(part.items())) for part in parts.values()]
    return merged(list(whole)) if all(_sound(part) for part in whole) else None


def _sound(part: Buckets) -> bool:
    counts = list(part.values())
    return max(part) == math.inf and counts == sorted(counts)


def _told(page: Page, label: str) -> set[str]:
    """Collect a label's values. Buckets are many and tell nothing new."""
    counts = (found for name, found in page.items() if not name.endswith(_BUCKET))
    return {value for found in counts for sample in found if (value := sample.labels.get(label))}


def _only(values: set[str]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None
