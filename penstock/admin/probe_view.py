"""How the probing of a cluster goes, as the API shows it: what each layer found, and what generations cost."""

from penstock.admin.ports import ControlPlane
from penstock.admin.wire import timestamp
from penstock.signals.probe_book import GenerationFacts, ProbeFacts
from penstock.signals.probing import Probed
from penstock_policies.schema import Cluster

LIMITED_SECONDS = 60.0
"""For which a cluster is shown to be at its limit after a probe was told so: the longest usual window of a quota."""


def is_limited(facts: ProbeFacts, now: float) -> bool:
    """Tell whether an endpoint has lately said that too much is asked of it."""
    return facts.limited_at is not None and now - facts.limited_at <= LIMITED_SECONDS


def endpoint_probing(facts: ProbeFacts | None, now: float) -> dict[str, object] | None:
    """Return what probing found of one endpoint; None where it was never probed from here."""
    if facts is None:
        return None
    return {
        "probes": facts.probes,
        "failures": facts.failures,
        "unknown": facts.unknown,
        "failedAt": facts.layer,
        "credential": facts.credential,
        "limited": is_limited(facts, now),
        "limitedSecondsAgo": None if facts.limited_at is None else max(0.0, now - facts.limited_at),
        "missingModels": facts.missing,
        "generation": _generation(facts.generation, now),
    }


def _generation(facts: GenerationFacts, now: float) -> dict[str, object] | None:
    if facts.verdict is None and not facts.paused:
        return None
    return {
        "verdict": facts.verdict,
        "detail": facts.detail,
        "secondsAgo": None if facts.at is None else max(0.0, now - facts.at),
        "ttftSeconds": facts.ttft,
        "slow": facts.slow,
        "paused": facts.paused,
        "asked": facts.asked,
        "failed": facts.failed,
        "failedInARow": facts.failed_in_a_row,
        "promptTokens": facts.prompt_tokens,
        "outputTokens": facts.output_tokens,
    }


def cluster_probing(cluster: Cluster, probed: Probed, control: ControlPlane) -> dict[str, object]:
    """Return what probing a cluster comes to: what is wrong with any endpoint, and what generations cost."""
    now, purse = control.now(), probed.purse
    of = list(probed.endpoints.values())
    generated = [facts.generation for facts in of]
    return {
        "credential": next((facts.credential for facts in of if facts.credential), ""),
        "limited": any(is_limited(facts, now) for facts in of),
        "missingModels": sorted({model for facts in of for model in facts.missing or ()}),
        "generation": None
        if purse is None
        else {
            "model": _model(cluster),
            "tokensPerDay": purse.tokens_per_day,
            "tokensHeld": purse.held,
            "everySeconds": purse.period,
            "paused": bool(generated) and all(each.paused for each in generated),
            "promptTokens": sum(each.prompt_tokens for each in generated),
            "outputTokens": sum(each.output_tokens for each in generated),
            "since": timestamp(control.started_at),
        },
    }


def _model(cluster: Cluster) -> str | None:
    generation = cluster.spec.health.generation
    return None if generation is None else generation.model or cluster.spec.models[0]
