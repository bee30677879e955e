"""All drains in force: operators', and those that notices ask for where no operator has spoken."""

from collections.abc import Callable, Mapping

from penstock.control.decider import Decider
from penstock.control.notices import Notices
from penstock_policies.overrides import Drain


class Drains:
    """What the decider is told to drain. Used on the event loop's thread alone."""

    def __init__(self, decider: Decider, notices: Notices, clock: Callable[[], float]) -> None:
        self._decider = decider
        self._notices = notices
        self._clock = clock
        self.operators: Mapping[str, Drain] = {}
        """Cluster to the drain an operator asked for, over or not."""

    def set(self, operators: Mapping[str, Drain]) -> None:
        """Put operators' drains in force, from the next decision on."""
        self.operators = dict(operators)
        self.refresh()

    def refresh(self) -> None:
        """Look at notices and at the time again."""
        now = self._clock()
        standing = {name: drain for name, drain in self.operators.items() if now < drain.until}
        self._decider.set_drains({**self._notices.effects(now).drains, **standing})

    def by_operator(self, cluster: str) -> Drain | None:
        """Return the operator's drain of a cluster, if it is in force."""
        drain = self.operators.get(cluster)
        return drain if drain is not None and drain.active(self._clock()) else None
