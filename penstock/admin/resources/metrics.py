"""``GET /metrics``: Prometheus' text format."""

from aiohttp import web

from penstock.admin.keys import METRICS
from penstock.admin.metrics import CONTENT_TYPE


async def get_metrics(request: web.Request) -> web.Response:
    """``GET /metrics``."""
    return web.Response(body=await request.app[METRICS].scrape(), headers={"Content-Type": CONTENT_TYPE})


ROUTES = (web.get("/metrics", get_metrics),)
