"""All probing of endpoints from here, put together: the shallow probes, the generations, and the book both write.

Made and stopped by the composition root.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from penstock.signals.board import ObservationBoard
from penstock.signals.credentials import Keyring
from penstock.signals.generations import EndpointLoads, Generations, PurseFacts
from penstock.signals.probe_book import Key, ProbeBook, ProbeFacts, ProbeMeter
from penstock.signals.probes import Prober
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster


@dataclass(frozen=True, slots=True)
class Probed:
    """What probing found of one cluster, at one moment."""

    endpoints: Mapping[str, ProbeFacts] = field(default_factory=dict)
    """By ``address:port``; those never probed from here are left out."""
    purse: PurseFacts | None = None
    """What generations there may cost; None where there are none."""


class Probing:
    """Probes the endpoints of the policy set in force."""

    def __init__(
        self,
        board: ObservationBoard,
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        keyring: Keyring,
        audit: Callable[[str, Mapping[str, object]], None],
        meter: ProbeMeter,
        failed: Callable[[str], None],
        endpoint_loads: EndpointLoads,
        failed_before: Mapping[Key, int],
    ) -> None:
        self._book = ProbeBook(board, clock, audit=audit, meter=meter)
        self._prober = Prober(board, self._book, clock, notify, keyring=keyring, failed=failed)
        self._generations = Generations(
            board,
            self._book,
            clock,
            notify,
            keyring=keyring,
            endpoint_loads=endpoint_loads,
            failed_before=failed_before,
        )

    async def apply(self, policy_set: PolicySet) -> None:
        """Probe the endpoints of this policy set and no others."""
        self._book.apply(policy_set)
        await self._prober.apply(policy_set)
        await self._generations.apply(policy_set)

    def probed(self, cluster: Cluster) -> Probed:
        """Return what was found of a cluster so far."""
        found = {endpoint.key: self._book.found((cluster.name, endpoint.key)) for endpoint in cluster.spec.endpoints}
        known = {key: facts for key, facts in found.items() if facts is not None}
        return Probed(known, self._generations.purse(cluster.name))

    async def stop(self) -> None:
        """End all probing. It may begin again by :meth:`apply`."""
        await self._generations.stop()
        await self._prober.stop()
