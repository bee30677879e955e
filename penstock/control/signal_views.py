"""What engines and edges tell, for the admin side: :class:`penstock.admin.signals.Signals`, answered by the sources."""

from collections.abc import Callable, Mapping

from penstock.admin.signals import ClusterReport, EngineShown, EngineSummary, LoadFacts, Outcome
from penstock.signals.engine_metrics import EngineMetrics
from penstock.signals.engine_pages import engine_pages
from penstock.signals.lrs import LoadReports
from penstock_policies.policyset import PolicySet


class SignalViews:
    """Asks the sources."""

    def __init__(self, policy: Callable[[], PolicySet | None], engines: EngineMetrics, reports: LoadReports) -> None:
        self._policy = policy
        self._engines = engines
        self._reports = reports

    def engine(self, cluster: str) -> EngineSummary:
        """From the pages of its engines."""
        policy = self._policy()
        has_page = (
            policy is not None and cluster in policy.clusters and bool(engine_pages(policy.clusters[cluster].spec))
        )
        return EngineSummary(has_page, self._engines.shown(cluster))

    def engine_pages(self, cluster: str) -> Mapping[str, EngineShown | None]:
        """From each page of its engines."""
        return self._engines.pages(cluster)

    def cluster_report(self, cluster: str) -> ClusterReport:
        """From the edges' load reports."""
        return self._reports.cluster_report(cluster)

    def outcomes(self) -> Mapping[tuple[str, str], Outcome]:
        """From the edges' load reports."""
        return self._reports.outcomes()

    def drops(self) -> Mapping[tuple[str, str], int]:
        """From the edges' load reports."""
        return self._reports.drops()

    def load_reporting(self) -> LoadFacts:
        """How these come in."""
        return self._reports.facts()
