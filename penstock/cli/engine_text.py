"""What engines say of themselves, in a few words."""

from typing import Any


def share(value: float | None) -> str:
    """Return a share in whole percent, or a dash for none."""
    return "-" if value is None else f"{value:.0%}"


def timing(percentiles: dict[str, float | None] | None) -> str:
    """Return the 95th percentile of a time."""
    slow = None if percentiles is None else percentiles["p95"]
    return "-" if slow is None else f"{slow:.3g} s"


def engine_text(figures: dict[str, Any]) -> str:
    """Return what is known, and where from."""
    if figures["source"] == "edges":
        return "pages silent, judged by Envoy" if figures["readsPage"] else "judged by Envoy, has no metrics page"
    parts = [
        ("waiting", None if figures["waiting"] is None else f"{figures['waiting']:.0f}"),
        ("KV", None if figures["kvUsed"] is None else share(figures["kvUsed"])),
        ("prefix hits", None if figures["prefixHitShare"] is None else share(figures["prefixHitShare"])),
        ("TTFT p95", timing(figures["ttftSeconds"]) if figures["ttftSeconds"] else None),
    ]
    told = [f"{name} {value}" for name, value in parts if value is not None]
    if figures["ready"] is False:
        told.insert(0, "NOT READY")
    if figures["source"] == "answers":
        told.append("from answers")
    return ", ".join(told) or "nothing told"
