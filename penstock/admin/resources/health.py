"""Probes and identity: ``/healthz`` and ``/livez`` (alive), ``/readyz`` (Envoys get a configuration), ``/version``.

Readiness is about Envoys, not about a broken policy edit: while a good policy is in force a refused edit shows in the
details and leaves the answer 200, so that no orchestrator takes a working control plane away.
"""

import platform
from http import HTTPStatus
from importlib.metadata import version

from aiohttp import web

from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane
from penstock.admin.wire import json_response, timestamp


def readiness_view(control: ControlPlane) -> dict[str, object]:
    """Ready or not, and everything that bears on it."""
    readiness = control.ready()
    errors = [str(problem) for problem in control.policy_problems if problem.severity == "error"]
    decision = control.decision
    return {
        "ready": readiness.ready,
        "details": readiness.details,
        "policy": {
            "digest": None if control.policy_set is None else control.policy_set.digest,
            "loadedAt": timestamp(control.policy_loaded_at),
            "rejectedAt": timestamp(control.policy_rejected_at),
            "errors": errors,
        },
        "decision": None if decision is None else decision.id,
        "frozen": "" if decision is None else decision.frozen,
    }


async def get_alive(_request: web.Request) -> web.Response:
    """``GET /healthz`` and ``/livez``: the event loop turns."""
    return json_response({"status": "ok"})


async def get_ready(request: web.Request) -> web.Response:
    """``GET /readyz``: 200 with a complete snapshot, else 503; the details either way."""
    view = readiness_view(request.app[CONTROL])
    return json_response(view, status=HTTPStatus.OK if view["ready"] else HTTPStatus.SERVICE_UNAVAILABLE)


async def get_version(_request: web.Request) -> web.Response:
    """``GET /version``."""
    return json_response({"name": "penstock", "version": version("penstock"), "python": platform.python_version()})


ROUTES = (
    web.get("/healthz", get_alive),
    web.get("/livez", get_alive),
    web.get("/readyz", get_ready),
    web.get("/version", get_version),
)
