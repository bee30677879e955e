"""What a row of probe results means: consecutive counts, and when a threshold is crossed. Pure.

A probe has three answers. *Alive*: any 2xx; also 401 and 403, which say that our credential is refused, and 429, which
says that the server is busy: none of them says it is down, and taking them for it would move traffic for a mistake of
ours. *Failed*: any other status, refused, timed out. *Unknown*: the prober itself was too busy to tell.
"""

from dataclasses import dataclass
from enum import Enum, auto

from penstock_policies.observations import EndpointProbe


class Answer(Enum):
    """What one probe says of an endpoint."""

    ALIVE = auto()
    FAILED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe."""

    answer: Answer
    latency: float | None = None
    """Seconds, when there was an answer."""
    detail: str = ""
    """What was odd about it, for people; empty when nothing was."""
    credential_refused: bool = False


def judge_status(status: int, latency: float) -> ProbeResult:
    """Judge the HTTP status of an answered probe. Redirects are not followed, so they are failures."""
    if 200 <= status < 300:
        return ProbeResult(Answer.ALIVE, latency)
    if status in {401, 403}:
        return ProbeResult(Answer.ALIVE, latency, f"HTTP {status}: the probe's credential is refused", True)  # noqa: FBT003 - the field's name says what it is
    if status == 429:
        return ProbeResult(Answer.ALIVE, latency, "HTTP 429: alive and busy")
    return ProbeResult(Answer.FAILED, latency, f"HTTP {status}")


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
