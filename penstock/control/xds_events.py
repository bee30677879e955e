"""What happens on the xDS streams, turned into metrics and, for a refusal, a log that names the policy line behind it.

The callbacks of :class:`penstock_xds.Listener`; called by the xDS server on the event loop's thread.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from penstock.admin.metrics import Metrics
from penstock.control.envoys import origins
from penstock_policies.policyset import PolicySet
from penstock_xds import WRITE_TIMED_OUT, Acked, Client, Nacked, Pushed

logger = logging.getLogger(__name__)


_REMEMBERED: Final = 256


class XdsEvents:
    """Logs and counts."""

    def __init__(self, metrics: Metrics, policy: Callable[[], PolicySet | None]) -> None:
        self._metrics = metrics
        self._policy = policy
        self._told: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()
        """Group, type, version and message of the latest refusals in the log."""

    def on_connect(self, client: Client) -> None:
        """An Envoy was admitted to its group."""
        self._metrics.on_connect(client)

    def on_disconnect(self, client: Client, reason: str) -> None:
        """A stream has ended."""
        self._metrics.on_disconnect(client, reason)
        if reason.startswith(WRITE_TIMED_OUT):
            self._metrics.write_timed_out(client)

    def on_push(self, client: Client, pushed: Pushed) -> None:
        """A response is being written."""
        self._metrics.on_push(client, pushed)

    def on_ack(self, client: Client, acked: Acked) -> None:
        """An Envoy has accepted a response."""
        self._metrics.on_ack(client, acked)

    def on_nack(self, client: Client, nacked: Nacked) -> None:
        """An Envoy has refused a response; it goes on with what it had.

        When a thousand Envoys refuse the same, the first one's line tells it all; the metrics count every one.
        """
        self._metrics.on_nack(client, nacked)
        told = (client.group, nacked.type_url, nacked.version, nacked.message)
        if told in self._told:
            return
        self._told[told] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        logger.warning(
            "envoy refused configuration",
            extra={
                "node": client.node.id,
                "group": client.group,
                "type": nacked.type_url,
                "names": ",".join(nacked.names),
                "version": nacked.version,
                "policy": ",".join(origins(self._policy(), nacked.type_url, nacked.names)),
                "error": nacked.message,
            },
        )

    def on_suppressed(self, client: Client, type_url: str, count: int) -> None:
        """Resources needed no sending: the Envoy holds them in that very version."""
        self._metrics.on_suppressed(client, type_url, count)
