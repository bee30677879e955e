"""What a row of probe results means: consecutive counts, and when a threshold is crossed. Pure.

A probe has three answers. *Alive*: any 2xx; also 401 and 403, which say that our credential is refused, and 429, which
says that the server is at its limit: none of them says it is down, and taking them for it would move traffic for a
mistake of ours. *Failed*: any other status, refused, timed out. *Unknown*: the prober itself was too busy to tell.
"""

from dataclasses import dataclass
from enum import StrEnum

from penstock.signals.questions import Layer
from penstock_policies.observations import EndpointProbe


class Answer(StrEnum):
    """What one probe says of an endpoint."""

    ALIVE = "alive"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe."""

    answer: Answer
    latency: float | None = None
    """Seconds, when there was an answer."""
    detail: str = ""
    """What was odd about it, for people, beginning with the layer; empty when nothing was."""
    layer: Layer = Layer.HEALTH
    """The highest that was asked, which is where it failed if it did."""
    credential: str = ""
    """Why our key was refused, or could not be had; empty when neither."""
    limited: bool = False
    """The server said that it is asked for too much."""
    missing: tuple[str, ...] | None = None
    """Models of the cluster that the endpoint does not list; None where it was not asked, or keeps no list."""


def judge_status(status: int, latency: float, layer: Layer = Layer.HEALTH) -> ProbeResult:
    """Judge the HTTP status of an answered probe. Redirects are not followed, so they are failures."""
    if 200 <= status < 300:
        return ProbeResult(Answer.ALIVE, latency, layer=layer)
    told = f"{layer}: HTTP {status}"
    if status in {401, 403}:
        refused = f"{told}, the key is refused"
        return ProbeResult(Answer.ALIVE, latency, refused, layer, credential=refused)
    if status == 429:
        return ProbeResult(Answer.ALIVE, latency, f"{told}, alive and at its limit", layer, limited=True)
    return ProbeResult(Answer.FAILED, latency, told, layer)


class ProbeCount:
    """The counts of one endpoint."""

    def __init__(self, *, unhealthy_threshold: int, healthy_threshold: int) -> None:
        self._unhealthy_threshold = unhealthy_threshold
        self._healthy_threshold = healthy_threshold
        self._healthy: bool | None = None
        self._ok = 0
        self._failed = 0
        self._latency: float | None = None

    def add(self, result: ProbeResult, at: float) -> tuple[EndpointProbe | None, bool]:
        """Count a result; give what to observe now (None: nothing new) and whether a threshold was crossed by it."""
        if result.answer is Answer.UNKNOWN:
            return None, False
        before = self._healthy
        if result.answer is Answer.ALIVE:
            self._ok, self._failed = self._ok + 1, 0
            if self._ok >= self._healthy_threshold:
                self._healthy = True
        else:
            self._ok, self._failed = 0, self._failed + 1
            if self._failed >= self._unhealthy_threshold:
                self._healthy = False
        if result.latency is not None:
            self._latency = result.latency
        probe = EndpointProbe(
            at=at,
            consecutive_ok=self._ok,
            consecutive_failed=self._failed,
            latency=self._latency,
            detail=result.detail,
        )
        return probe, self._healthy is not before
