"""What all probing has found so far, endpoint by endpoint: for metrics, people, alarms and the board.

Written by the prober and by the generations, on the event loop's thread. A refused key is an alarm of its cluster, told
when it begins and when it ends, in the log and in the audit log, and not again within the hour however it flickers.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from penstock.signals.board import ObservationBoard, Signs
from penstock.signals.generation_probe import Generated, Verdict
from penstock.signals.probe_count import Answer, ProbeResult
from penstock.signals.questions import Layer
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)

TOLD_AGAIN: Final = 3600.0
"""Seconds within which an alarm of a cluster that ended and begins again is not told again."""

Key = tuple[str, str]
"""Cluster, and the endpoint's ``address:port``."""


@dataclass(frozen=True, slots=True)
class GenerationFacts:
    """How the generations of one endpoint have gone since this process began."""

    asked: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    verdict: Verdict | None = None
    """Of the last; None while there was none."""
    detail: str = ""
    at: float | None = None
    """When the last ended, Unix time."""
    ttft: float | None = None
    """Seconds to the first token, of the last that streamed one."""
    slow: bool = False
    """That took longer than the policy wants people to be told of."""
    paused: bool = False
    """None was needed when the last was due: requests prove that the cluster generates."""
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """How the probing of one endpoint has gone since it began, for metrics and people."""

    probes: int = 0
    failures: int = 0
    unknown: int = 0
    """Probes that were not counted, because this process was held up."""
    layer: Layer | None = None
    """Where the last probe failed; None where it did not."""
    credential: str = ""
    """Why our key was refused or could not be had; empty when neither. Traffic does not move for it."""
    limited_at: float | None = None
    """When a probe or generation was last answered that too much is asked for, Unix time."""
    missing: tuple[str, ...] | None = None
    """Models of the cluster that it does not list; None where it was not asked or keeps no list."""
    generation: GenerationFacts = GenerationFacts()


class ProbeMeter(Protocol):
    """Who counts probes, for metrics."""

    def probed(self, cluster: str, layer: str, outcome: str) -> None:
        """Count a probe, or a generation, by the highest layer that it came to."""
        ...

    def generated(self, cluster: str, ttft: float | None, prompt_tokens: int, output_tokens: int) -> None:
        """Take what a generation cost, and the seconds to its first token where one came."""
        ...


class _Unmetered:
    def probed(self, cluster: str, layer: str, outcome: str) -> None:
        pass

    def generated(self, cluster: str, ttft: float | None, prompt_tokens: int, output_tokens: int) -> None:
        pass


class ProbeBook:
    """The facts. ``audit`` takes an entry for the audit log; ``meter`` counts."""

    def __init__(
        self,
        board: ObservationBoard,
        clock: Callable[[], float],
        *,
        audit: Callable[[str, Mapping[str, object]], None] = lambda _, __: None,
        meter: ProbeMeter | None = None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._audit = audit
        self._meter: ProbeMeter = meter or _Unmetered()
        self._facts: dict[Key, ProbeFacts] = {}
        self._refused: dict[Key, dict[Layer, str]] = {}
        """Endpoint to the layers that do not take our key."""
        self._alarms: set[str] = set()
        """Clusters whose alarm was told and not ended."""
        self._told: dict[str, float] = {}

    def apply(self, policy_set: PolicySet) -> None:
        """Keep what is known of this policy set's endpoints, drop the rest."""
        keys: set[Key] = set()
        for name, cluster in policy_set.clusters.items():
            of = {(name, endpoint.key) for endpoint in cluster.spec.endpoints}
            keys |= of
            if cluster.spec.health.generation is None:
                for key in of & self._facts.keys():
                    self._facts[key] = replace(self._facts[key], generation=GenerationFacts())
                    self._forget_refusal(key, Layer.GENERATION)
                    self._pin(key)
            if cluster.spec.health.credential is None:
                # There is no key any more that could be refused; a server that wants one says so at the next probe.
                for key in of & self._refused.keys():
                    del self._refused[key]
                    self._told_of(key)
        self._facts = {key: facts for key, facts in self._facts.items() if key in keys}
        self._refused = {key: layers for key, layers in self._refused.items() if key in keys}
        self._alarms &= policy_set.clusters.keys()
        self._told = {name: at for name, at in self._told.items() if name in policy_set.clusters}

    def facts(self) -> Mapping[Key, ProbeFacts]:
        """Return how the probing goes, by cluster and endpoint key."""
        return dict(self._facts)

    def found(self, key: Key) -> ProbeFacts | None:
        """Return how the probing of one endpoint goes; None where it has not begun."""
        return self._facts.get(key)

    def of(self, key: Key) -> ProbeFacts:
        """Return how the probing of one endpoint goes, where it has not begun as well."""
        return self._facts.get(key, ProbeFacts())

    def probed(self, key: Key, result: ProbeResult) -> None:
        """Take a probe."""
        before = self.of(key)
        failed = result.answer is Answer.FAILED
        listed = result.layer is Layer.MODELS and not (failed and result.missing is None)
        self._facts[key] = replace(
            before,
            probes=before.probes + 1,
            failures=before.failures + failed,
            unknown=before.unknown + (result.answer is Answer.UNKNOWN),
            layer=before.layer if result.answer is Answer.UNKNOWN else result.layer if failed else None,
            limited_at=self._clock() if result.limited else before.limited_at,
            missing=result.missing if listed and result.answer is not Answer.UNKNOWN else before.missing,
        )
        self._meter.probed(key[0], result.layer, _outcome(result))
        if result.answer is Answer.ALIVE or result.credential:
            # A probe that came to the models speaks for /health, too; one that did not says nothing of the models.
            self._credential(key, Layer.MODELS if result.layer is Layer.MODELS else Layer.HEALTH, result.credential)
        if result.limited:
            self._pin(key)

    def generated(self, key: Key, generated: Generated, failed_in_a_row: int, *, slow: bool) -> None:
        """Take a generation, and how many have failed in a row now."""
        facts, verdict, now = self.of(key), generated.verdict, self._clock()
        before = facts.generation
        self._facts[key] = replace(
            facts,
            limited_at=now if verdict is Verdict.LIMITED else facts.limited_at,
            generation=GenerationFacts(
                asked=before.asked + 1,
                failed=before.failed + (verdict is Verdict.FAILED),
                failed_in_a_row=failed_in_a_row,
                verdict=verdict,
                detail=generated.detail,
                at=now,
                ttft=before.ttft if generated.ttft is None else generated.ttft,
                slow=before.slow if generated.ttft is None else slow,
                prompt_tokens=before.prompt_tokens + generated.prompt_tokens,
                output_tokens=before.output_tokens + generated.output_tokens,
            ),
        )
        self._meter.probed(key[0], Layer.GENERATION, verdict)
        self._meter.generated(key[0], generated.ttft, generated.prompt_tokens, generated.output_tokens)
        if verdict in {Verdict.GOOD, Verdict.REFUSED}:
            self._credential(key, Layer.GENERATION, generated.detail)
        self._pin(key)

    def generations_begin(self, key: Key, failed_in_a_row: int) -> None:
        """Hold so many failed generations against an endpoint, whatever was held before: of what is asked now."""
        facts = self.of(key)
        if facts.generation.failed_in_a_row != failed_in_a_row:
            self._facts[key] = replace(facts, generation=replace(facts.generation, failed_in_a_row=failed_in_a_row))
            self._pin(key)

    def paused(self, key: Key) -> None:
        """Note that no generation was needed."""
        facts = self.of(key)
        if not facts.generation.paused:
            self._facts[key] = replace(facts, generation=replace(facts.generation, paused=True))

    def _pin(self, key: Key) -> None:
        facts = self.of(key)
        self._board.set_signs(*key, Signs(facts.generation.failed_in_a_row, facts.limited_at))

    def _credential(self, key: Key, layer: Layer, refused: str) -> None:
        if refused:
            self._refused.setdefault(key, {})[layer] = refused
        else:
            self._forget_refusal(key, layer)
        if layer is Layer.MODELS:
            self._forget_refusal(key, Layer.HEALTH)
        self._told_of(key)

    def _told_of(self, key: Key) -> None:
        """Have the facts and the alarm say what is known of an endpoint's refusals."""
        why = next(iter(self._refused.get(key, {}).values()), "")
        self._facts[key] = replace(self.of(key), credential=why)
        self._alarm(key, why)

    def _forget_refusal(self, key: Key, layer: Layer) -> None:
        layers = self._refused.get(key)
        if layers is not None:
            layers.pop(layer, None)
            if not layers:
                del self._refused[key]

    def _alarm(self, key: Key, why: str) -> None:
        cluster, endpoint = key
        now = self._clock()
        if why and cluster not in self._alarms:
            if now - self._told.get(cluster, -TOLD_AGAIN) < TOLD_AGAIN:
                return
            self._alarms.add(cluster)
            self._told[cluster] = now
            told = {"cluster": cluster, "endpoint": endpoint, "detail": why}
            logger.warning("probe credential refused", extra=told)
            self._audit("probe.credential-refused", told)
        elif cluster in self._alarms and not any(name == cluster for name, _ in self._refused):
            self._alarms.discard(cluster)
            logger.info("probe credential accepted again", extra={"cluster": cluster})
            self._audit("probe.credential-accepted", {"cluster": cluster})


def _outcome(result: ProbeResult) -> str:
    if result.credential:
        return Verdict.REFUSED
    if result.limited:
        return Verdict.LIMITED
    return Verdict.GOOD if result.answer is Answer.ALIVE else result.answer
