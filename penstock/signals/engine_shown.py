"""What an engine's page tells people: this moment's gauges, and shares and percentiles of the last seconds. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.signals.engine_figures import Buckets, Figures, merged
from penstock.signals.engine_readings import Window, percentile

_MEDIAN: Final = 0.5
_SLOW: Final = 0.95


@dataclass(frozen=True, slots=True)
class EngineShown:
    """One endpoint's page, or those of a cluster together. None is unknown."""

    at: float
    """When it was read, the oldest of several."""
    waiting: float | None = None
    running: float | None = None
    kv_used: float | None = None
    """Share of the KV cache in use; of several endpoints the fullest, since that is where requests will wait."""
    prefix_hit_share: float | None = None
    """Of what was looked up in the prefix cache lately, the share that was there."""
    ttft_p50: float | None = None
    """Seconds, as all below."""
    ttft_p95: float | None = None
    inter_token_p50: float | None = None
    inter_token_p95: float | None = None
    ready: bool | None = None
    """Of several endpoints: all that say."""
    revisions: tuple[str, ...] = ()
    """Versions of the model, sorted; more than one is a rollout, or a mistake."""
    models: tuple[str, ...] = ()


def shown(windows: Sequence[Window]) -> EngineShown | None:
    """Put together what pages say; None of none. What one of several does not tell is unknown of all."""
    latest = [reading for window in windows if (reading := window.latest()) is not None]
    if not latest:
        return None
    figures = [reading.figures for reading in latest]
    grown = [found[1] for window in windows if (found := window.grown()) is not None]
    ttft = merged([each.ttft for each in grown if each.ttft is not None])
    inter_token = merged([each.inter_token for each in grown if each.inter_token is not None])
    said = [each.ready for each in figures if each.ready is not None]
    return EngineShown(
        at=min(reading.at for reading in latest),
        waiting=_known([each.waiting for each in figures], math.fsum),
        running=_known([each.running for each in figures], math.fsum),
        kv_used=_known([each.kv_used for each in figures], max),
        prefix_hit_share=_hits(grown, figures),
        ttft_p50=_percentile(ttft, _MEDIAN),
        ttft_p95=_percentile(ttft, _SLOW),
        inter_token_p50=_percentile(inter_token, _MEDIAN),
        inter_token_p95=_percentile(inter_token, _SLOW),
        ready=all(said) if said else None,
        revisions=tuple(sorted({each.revision for each in figures if each.revision is not None})),
        models=tuple(sorted({model for each in figures for model in each.models})),
    )


def _known(parts: Sequence[float | None], together: Callable[[list[float]], float]) -> float | None:
    known = [part for part in parts if part is not None]
    return together(known) if known and len(known) == len(parts) else None


def _percentile(buckets: Buckets | None, share: float) -> float | None:
    return None if buckets is None else percentile(buckets, share)


def _hits(grown: Sequence[Figures], figures: Sequence[Figures]) -> float | None:
    hits = _known([each.prefix_hits for each in grown], math.fsum)
    lookups = _known([each.prefix_lookups for each in grown], math.fsum)
    if hits is not None and lookups is not None and lookups > 0:
        return min(1.0, hits / lookups)
    rates = [each.prefix_hit_rate for each in figures if each.prefix_hit_rate is not None]
    return math.fsum(rates) / len(rates) if rates and len(rates) == len(figures) else None
