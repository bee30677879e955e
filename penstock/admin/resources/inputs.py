"""``GET /api/v1/inputs``: everything the next decision is made on, for plans and replays elsewhere.

The policy's text, what was observed, what operators asked for, the decision in force and how many Envoys are connected.
Credentials in URLs of the policy are left out. Reads what it tells at one moment; writing it down, which for a large
fleet takes a while, happens on a worker thread.
"""

import asyncio
import logging
from collections.abc import Mapping
from importlib.metadata import version

from aiohttp import web

from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane, StoreUnavailableError
from penstock.admin.xds_state import SyncStatus
from penstock.plan.inputs import Envoys, inputs_document
from penstock_policies.inputs import DecisionInputs

logger = logging.getLogger(__name__)


async def get_inputs(request: web.Request) -> web.Response:
    """``GET /api/v1/inputs``."""
    control = request.app[CONTROL]
    policy = control.policy_set
    inputs = DecisionInputs(
        policy_digest="" if policy is None else policy.digest,
        observations=control.observations(),
        overrides=control.overrides,
        previous=control.decision,
        now=control.now(),
        engine=version("penstock"),
    )
    envoys = connected(control)
    files = None if policy is None else await _files(control, policy.digest)
    text = await asyncio.to_thread(inputs_document, inputs, files, envoys)
    return web.Response(text=text, content_type="application/json")


async def _files(control: ControlPlane, digest: str) -> Mapping[str, str] | None:
    """Return the policy's text; None when the store cannot tell, which is no reason to withhold the rest."""
    try:
        return await control.policy_files(digest)
    except StoreUnavailableError as error:
        logger.warning("inputs told without the policy's text", extra={"error": str(error)})
        return None


def connected(control: ControlPlane) -> dict[str, Envoys]:
    """Count Envoys by ``node.cluster``; one that takes each type on a stream of its own is one all the same."""
    nodes: dict[str, dict[str, bool]] = {}
    for stream in control.streams():
        refuses = any(state.status is SyncStatus.NACKED for state in stream.types)
        of_cluster = nodes.setdefault(stream.node_cluster, {})
        name = stream.node or stream.stream
        of_cluster[name] = of_cluster.get(name, False) or refuses
    return {name: Envoys(len(found), sum(found.values())) for name, found in sorted(nodes.items())}


ROUTES = (web.get("/api/v1/inputs", get_inputs),)
