"""What happens on the xDS streams, turned into metrics and, for a refusal, a log that names the policy line behind it.

The callbacks of :class:`penstock_xds.Listener`; called by the xDS server on the event loop's thread.
"""

import logging
from collections.abc import Callable

from penstock.admin.metrics import Metrics
from penstock_envoy.origins import origin_of
from penstock_policies.policyset import PolicySet
from penstock_xds import StreamView

logger = logging.getLogger(__name__)


class XdsEvents:
    """Logs and counts."""

    def __init__(self, metrics: Metrics, policy: Callable[[], PolicySet | None]) -> None:
        self._metrics = metrics
        self._policy = policy

    def on_connect(self, view: StreamView) -> None:
        """An Envoy was admitted to its group."""
        self._metrics.on_connect(view)

    def on_disconnect(self, view: StreamView, reason: str) -> None:
        """A stream has ended."""
        self._metrics.on_disconnect(view, reason)

    def on_push(self, view: StreamView, type_url: str, size: int) -> None:
        """A response was written."""
        self._metrics.on_push(view, type_url, size)

    def on_ack(self, view: StreamView, type_url: str, version: str, seconds: float) -> None:
        """An Envoy has accepted a response, ``seconds`` after it was committed."""
        self._metrics.on_ack(view, type_url, version, seconds)

    def on_nack(self, view: StreamView, type_url: str, names: tuple[str, ...], version: str, message: str) -> None:
        """An Envoy has refused a response; it goes on with what it had."""
        self._metrics.on_nack(view, type_url, names, version, message)
        policy = self._policy()
        origins = {str(o) for name in names for o in origin_of(policy, type_url, name)} if policy is not None else set()
        logger.error(
            "envoy refused configuration",
            extra={
                "node": view.node_id,
                "group": view.group,
                "type": type_url,
                "names": ",".join(names),
                "version": version,
                "policy": ",".join(sorted(origins)),
                "error": message,
            },
        )
