"""Signals made of plain values: on-prem tells all, one of its endpoints fails; the cloud's engines say nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.admin.signals import ClusterReport, EndpointLoad, EngineShown, EngineSummary, LoadFacts, Outcome
from penstock.signals.load_reports import Figures


@dataclass
class FakeSignals:
    """What a test sets is what the admin side sees."""

    engines: dict[str, EngineSummary] = field(default_factory=dict)
    pages: dict[str, dict[str, EngineShown | None]] = field(default_factory=dict)
    reports: dict[str, ClusterReport] = field(default_factory=dict)
    ended: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    facts: LoadFacts = field(default_factory=lambda: LoadFacts(streams=2, reports=100))

    def engine(self, cluster: str) -> EngineSummary:
        return self.engines.get(cluster, EngineSummary(has_page=True))

    def engine_pages(self, cluster: str) -> Mapping[str, EngineShown | None]:
        return self.pages.get(cluster, {})

    def cluster_report(self, cluster: str) -> ClusterReport:
        return self.reports.get(cluster, ClusterReport())

    def outcomes(self) -> Mapping[tuple[str, str], Outcome]:
        return self.ended

    def drops(self) -> Mapping[tuple[str, str], int]:
        return self.dropped

    def load_reporting(self) -> LoadFacts:
        return self.facts


def busy_signals(now: float) -> FakeSignals:
    """On-prem as its page and the edges tell of it, one of two endpoints gone bad."""
    shown = EngineShown(
        at=now - 2,
        waiting=3.0,
        running=40.0,
        kv_used=0.45,
        prefix_hit_share=0.3,
        ttft_p50=0.2,
        ttft_p95=0.9,
        inter_token_p50=0.02,
        inter_token_p95=0.05,
        ready=True,
        revisions=("v7",),
        models=("llama-3-70b",),
    )
    bad = EndpointLoad(now - 1, 4, 40.0, 2.0, 1.5, 0.5)
    good = EndpointLoad(now - 1, 6, 60.0, 3.0, 0.0, 3.0, {"num_requests_waiting": 2.0}, now - 1)
    return FakeSignals(
        engines={
            "onprem-fra": EngineSummary(has_page=True, shown=shown),
            "cloud-eu-west": EngineSummary(has_page=False),
        },
        pages={"onprem-fra": {"10.0.1.11:8000": shown, "10.0.1.12:8000": None}},
        reports={
            "onprem-fra": ClusterReport(
                localities={"eu-west": {b"\n\x0aeu-central": Figures(10, 5_000_000, 1_500_000, 3_500_000)}},
                endpoints={"eu-west": {"10.0.1.11:8000": bad, "10.0.1.12:8000": good}},
                drops={"overflow": 7},
            )
        },
        ended={
            ("onprem-fra", "10.0.1.11:8000"): Outcome(4, 40.0, 30.0),
            ("onprem-fra", "10.0.1.12:8000"): Outcome(6, 60.0, 0.0),
        },
        dropped={("onprem-fra", "overflow"): 7},
    )
