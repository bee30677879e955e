"""The board, as seen by those who know of notices: an endpoint about to go away fails, whatever its probes say yet."""

from penstock.control.notices import Notices
from penstock.signals.board import ObservationBoard
from penstock_policies.observations import Observations
from penstock_policies.policyset import PolicySet


class NoticedBoard(ObservationBoard):
    """A board whose snapshots are what decisions are made of, recorded with them and made again from."""

    def __init__(self, notices: Notices) -> None:
        super().__init__()
        self._notices = notices

    def apply(self, policy_set: PolicySet) -> None:
        """Keep what this policy set names; notices are told of its endpoints too."""
        super().apply(policy_set)
        self._notices.apply(policy_set)

    def snapshot(self, now: float) -> Observations:
        """Everything known, notices included."""
        return self._notices.seen(super().snapshot(now), now)
