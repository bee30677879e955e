"""How the story is told in a terminal: headlines, live figures, verdicts. On what is no terminal: plain lines."""

import time
from collections.abc import Mapping
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock.demo.fleet import CLUSTERS
from penstock.demo.gauge import Gauge

PLAIN_LINE_SECONDS: Final = 2.0
"""How often a log file, which keeps every line, gets the live figures."""

_BAR_CELLS: Final = 24


class Stage:
    """Where the story is shown. Use as a context manager; nothing else may print meanwhile."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._last_plain = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """One line that stays."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def headline(self, number: int, title: str, promise: str) -> None:
        """An act begins."""
        self._console.print()
        self._console.print(Text(f"Act {number}: {title}", style="bold cyan"), soft_wrap=True)
        self._console.print(Text(f"  promise: {promise}"), soft_wrap=True)

    def verdict(self, *, held: bool, detail: str, seconds: float) -> None:
        """An act has ended."""
        mark, style = ("held", "bold green") if held else ("BROKEN", "bold red")
        verdict = Text.assemble(("  " + mark, style), f" after {seconds:.1f} s: {detail}")
        self._console.print(verdict, soft_wrap=True)

    def show(self, gauge: Gauge, failed: int) -> None:
        """The figures of this moment."""
        if self._live is not None:
            self._live.update(_table(gauge, failed))
        elif time.monotonic() - self._last_plain >= PLAIN_LINE_SECONDS:
            self._last_plain = time.monotonic()
            self._console.print(Text(f"  {_line(gauge, failed)}"), soft_wrap=True)


def weights_by_region(gauge: Gauge, policy: str = "chat") -> Mapping[str, Mapping[str, int]]:
    """Region to the weights of the policy's row there."""
    return {row.region: row.weights for row in gauge.weights if row.policy == policy}


def _line(gauge: Gauge, failed: int) -> str:
    window = gauge.window
    share = window.share()
    rate = window.requests / max(0.1, gauge.window_seconds)
    shares = "  ".join(f"{name} {share.get(name, 0.0):4.0%}" for name in CLUSTERS)
    weights = "; ".join(
        f"{region} " + "/".join(f"{weights.get(name, 0) / 100:.0f}" for name in CLUSTERS)
        for region, weights in weights_by_region(gauge).items()
    )
    p95 = window.first_token.quantile(0.95)
    ttft = f"{p95 * 1000:.0f} ms" if p95 is not None else "-"
    return f"{rate:5.0f} req/s  traffic: {shares}  weights: {weights}  TTFT p95 {ttft}  failed {failed}"


def _table(gauge: Gauge, failed: int) -> Table:
    window = gauge.window
    share = window.share()
    regions = weights_by_region(gauge)
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    table.add_column("cluster")
    table.add_column("traffic now", min_width=_BAR_CELLS + 6)
    for region in regions:
        table.add_column(f"weight at {region}", justify="right")
    for name in CLUSTERS:
        part = share.get(name, 0.0)
        filled = round(part * _BAR_CELLS)
        bar = Text("█" * filled + "░" * (_BAR_CELLS - filled), style="cyan") + Text(f" {part:4.0%}")
        table.add_row(name, bar, *(f"{weights.get(name, 0) / 100:.1f} %" for weights in regions.values()))
    rate = window.requests / max(0.1, gauge.window_seconds)
    p95 = window.first_token.quantile(0.95)
    ttft = f"{p95 * 1000:.0f} ms" if p95 is not None else "-"
    table.caption = f"{rate:.0f} req/s   TTFT p95 {ttft}   retried {window.retried}   failed since the start {failed}"
    table.caption_justify = "left"
    return table
