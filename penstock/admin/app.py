"""The admin server: builds the aiohttp application and runs it on an address.

Everything runs on the control plane's own event loop, so a handler may read the control plane without locks and must
not block. Requests are cheap (memory reads); the store is only reached by decisions, drains and the audit log.
"""

import logging
from collections.abc import Collection

from aiohttp import web

from penstock.admin.address import AddressError, parse_address
from penstock.admin.dashboard import assets
from penstock.admin.decision_summary import DecisionSummaries
from penstock.admin.keys import CONTROL, METRICS, SUMMARIES
from penstock.admin.metrics import Metrics
from penstock.admin.ports import ControlPlane
from penstock.admin.problem_details import problems
from penstock.admin.requests import MAX_BODY_BYTES
from penstock.admin.resources import (
    audit,
    budgets,
    cluster,
    clusters,
    costs,
    decision_log,
    decisions,
    drains,
    explain,
    health,
    inputs,
    nodes,
    notices,
    quarantine,
    status,
    weights,
)
from penstock.admin.resources import metrics as metrics_resource
from penstock.admin.security import add_security_headers, guard, is_loopback

__all__ = ["AddressError", "AdminServer", "build_app"]

logger = logging.getLogger(__name__)

RESOURCES = (
    health,
    status,
    clusters,
    cluster,
    weights,
    budgets,
    costs,
    nodes,
    quarantine,
    decisions,
    decision_log,
    explain,
    drains,
    notices,
    audit,
    inputs,
    metrics_resource,
    assets,
)

# Seconds that requests under way are given at shutdown. They are short; a slow reader must not hold up a restart.
SHUTDOWN_SECONDS = 2.0


def build_app(
    control: ControlPlane, metrics: Metrics, *, loopback: bool, allowed_hosts: Collection[str] = ()
) -> web.Application:
    """Return the admin application.

    Args:
        control: what is shown and commanded.
        metrics: served at ``/metrics``; the caller has called :meth:`Metrics.watch` or will.
        loopback: the application is reached only on a loopback address.
        allowed_hosts: further host names to accept on a loopback address.

    """
    app = web.Application(
        middlewares=[problems, guard(loopback=loopback, allowed_hosts=allowed_hosts)],
        client_max_size=MAX_BODY_BYTES,
    )
    app[CONTROL] = control
    app[METRICS] = metrics
    app[SUMMARIES] = DecisionSummaries()
    app[assets.ASSETS] = assets.Assets()
    app.on_response_prepare.append(add_security_headers)
    for resource in RESOURCES:
        app.router.add_routes(resource.ROUTES)
    return app


class AdminServer:
    """The admin port: :meth:`start`, then :meth:`stop` once."""

    def __init__(self, control: ControlPlane, metrics: Metrics, *, allowed_hosts: Collection[str] = ()) -> None:
        self._control = control
        self._metrics = metrics
        self._allowed_hosts = tuple(allowed_hosts)
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> tuple[str, int]:
        """Listen on ``HOST:PORT`` (port 0: any free one) and return the address bound.

        Raises:
            AddressError: ``address`` is malformed.
            OSError: it cannot be bound.

        """
        host, port = parse_address(address)
        loopback = is_loopback(host)
        app = build_app(self._control, self._metrics, loopback=loopback, allowed_hosts=self._allowed_hosts)
        # No access log: the dashboard and probes ask every second. Drains are logged by their handler.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        bound_host, bound_port = runner.addresses[0][:2]
        logger.info("admin server listens", extra={"host": bound_host, "port": bound_port})
        if not loopback:
            logger.warning("admin port has no login and is open beyond loopback", extra={"host": bound_host})
        return bound_host, bound_port

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
