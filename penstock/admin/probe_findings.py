"""What probing found that people should know and that moves no traffic, or not all of it."""

from collections.abc import Iterator, Sequence

from penstock.admin.finding import Finding
from penstock.admin.ports import ControlPlane
from penstock.admin.probe_view import is_limited
from penstock.signals.generation_probe import Verdict
from penstock.signals.probe_book import ProbeFacts
from penstock_policies.schema import Cluster

_Known = Sequence[tuple[str, ProbeFacts]]


def probe_findings(control: ControlPlane) -> Iterator[Finding]:
    """Tell, cluster by cluster and each matter once, with its first endpoint."""
    policy = control.policy_set
    if policy is None:
        return
    for _, cluster in sorted(policy.clusters.items()):
        known = list(control.probed(cluster).endpoints.items())
        yield from _credential(cluster, known)
        yield from _models(cluster, known)
        yield from _generations(cluster, known)
        limited = [key for key, facts in known if is_limited(facts, control.now())]
        if limited:
            message = (
                f"{_where(cluster, limited)} told a probe that too much is asked for (429): planned with less there"
            )
            yield Finding("warning", "probe-limited", message)


def _credential(cluster: Cluster, known: _Known) -> Iterator[Finding]:
    refused = [key for key, facts in known if facts.credential]
    if refused:
        why = next(facts.credential for _, facts in known if facts.credential)
        message = f"Credential alarm: probes of {_where(cluster, refused)}: {why}. No traffic moves for it"
        yield Finding("warning", "credential-refused", message)


def _models(cluster: Cluster, known: _Known) -> Iterator[Finding]:
    missing = [key for key, facts in known if facts.missing]
    if missing:
        models = sorted({model for _, facts in known for model in facts.missing or ()})
        message = f"{_where(cluster, missing)} does not list {', '.join(models)}: requests for that are refused there"
        yield Finding("warning", "models-missing", message)


def _generations(cluster: Cluster, known: _Known) -> Iterator[Finding]:
    unfit = [(key, facts.generation) for key, facts in known if facts.generation.verdict is Verdict.UNFIT]
    if unfit:
        message = (
            f"The generation that probes ask of {_where(cluster, [key for key, _ in unfit])} is not understood "
            f"({unfit[0][1].detail}): mend health.generation"
        )
        yield Finding("warning", "generation-unfit", message)
    slow = [(key, facts.generation.ttft) for key, facts in known if facts.generation.slow]
    if slow:
        worst = max(ttft for _, ttft in slow if ttft is not None)
        message = f"First tokens of {_where(cluster, [key for key, _ in slow])} took a probe {worst:.2f} s"
        yield Finding("warning", "generation-slow", message)


def _where(cluster: Cluster, keys: Sequence[str]) -> str:
    if len(keys) == len(cluster.spec.endpoints):
        return f"cluster {cluster.name}"
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0]}{more} of {cluster.name}"
