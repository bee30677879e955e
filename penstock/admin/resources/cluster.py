"""``GET /api/v1/clusters/{name}``: one cluster down to its endpoints, as engines and edges tell of them."""

from aiohttp import web

from penstock.admin.engine_view import endpoint_views, locality_views
from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane, UnknownClusterError
from penstock.admin.resources.clusters import cluster_view
from penstock.admin.wire import json_response, timestamp


def one_cluster_view(name: str, control: ControlPlane) -> dict[str, object]:
    """One cluster.

    Raises:
        UnknownClusterError: the policy in force has no such cluster.

    """
    known = {} if control.policy_set is None else control.policy_set.clusters
    if name not in known:
        raise UnknownClusterError(name, sorted(known))
    report = control.signals.cluster_report(name)
    return {
        "now": timestamp(control.now()),
        **cluster_view(known[name], control, control.edge_probing()),
        "endpoints": endpoint_views(known[name], control, report),
        "localities": locality_views(report),
        "drops": dict(sorted(report.drops.items())),
    }


async def get_cluster(request: web.Request) -> web.Response:
    """``GET /api/v1/clusters/{name}``."""
    return json_response(one_cluster_view(request.match_info["name"], request.app[CONTROL]))


ROUTES = (web.get("/api/v1/clusters/{name}", get_cluster),)
