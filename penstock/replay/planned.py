"""How full a plan may make a cluster: what the policy asks of the engine, told again for whoever knows the future.

Headroom, the part of a spot cluster that may be counted on, and the tightest SLO of the policies that may use the
cluster are the policy's word and bind everybody. What the engine only learns (service times, trims) is known here.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from penstock.replay.queueing import speed
from penstock.replay.scenario import Scenario
from penstock_policies.engine.latency import greatest_utilisation, patience
from penstock_policies.policyset import RowKey

_ROUNDS: Final = 6
"""Of the fixed point of utilisation and service time: each shrinks what is off by a factor of three or more."""


class PlannedSlots:
    """Requests in flight up to which each cluster may be filled by plan."""

    def __init__(self, scenario: Scenario, eligible: Mapping[RowKey, Sequence[str]]) -> None:
        self._clusters = scenario.policy.clusters
        self._patience: dict[str, float] = {}
        """Cluster to the seconds of waiting that its tightest SLO leaves; none where no SLO bears on it."""
        for key, names in eligible.items():
            slo = scenario.policy.policies[key.policy].spec.slo.ttft_p95
            for name in names if slo is not None else ():
                seconds = patience(self._clusters[name], key.region, slo or 0.0)
                # An SLO that even an idle cluster misses bears on nothing, for the engine as for this.
                if seconds is not None and seconds >= 0:
                    self._patience[name] = min(seconds, self._patience.get(name, seconds))

    def of(self, name: str, slots: float, work: float) -> float:
        """Give the requests in flight a plan may come to.

        How long a request takes depends on how full the cluster is, and how full it may be on how long requests take:
        the pair is a fixed point.

        Args:
            name: the cluster.
            slots: those that are there.
            work: slot-seconds of the mean request when the cluster is full.

        """
        spec = self._clusters[name].spec
        full = slots * (spec.spot.confidence if spec.spot is not None else 1.0)
        planned = full * (1 - spec.capacity.headroom)
        if name not in self._patience or slots <= 0:
            return planned
        within = planned
        for _ in range(_ROUNDS):
            seconds = work * speed(within / slots)
            within = min(planned, full * greatest_utilisation(self._patience[name], full, seconds))
        return within
