"""Static files, read and compressed once, served with validators.

Our own files are revalidated on every load, so a new version is never mixed with an old one. The chart library is
4.6 MB: it is compressed in a worker thread on first use and may be kept by browsers for a day.
"""

import asyncio
import gzip
import hashlib
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from aiohttp import hdrs, web

OWN_FILES: Final = (
    "style.css",
    "app.js",
    "api.js",
    "budgets.js",
    "charts.js",
    "clusters.js",
    "costs.js",
    "decisions.js",
    "dom.js",
    "drains.js",
    "envoys.js",
    "format.js",
    "quarantine.js",
    "banner.js",
    "icon.svg",
)
"""The names served under ``/assets/``: a closed list, so that no path can reach any other file."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to send."""

    body: bytes
    compressed: bytes
    content_type: str
    etag: str
    cache_control: str

    @classmethod
    def of(cls, body: bytes, content_type: str, cache_control: str) -> "Asset":
        """Return an asset of these bytes; slow for large ones."""
        digest = hashlib.sha256(body).hexdigest()[:16]
        # mtime 0: the same bytes in, the same bytes out.
        return cls(body, gzip.compress(body, 6, mtime=0), content_type, digest, cache_control)


def _read_own(name: str) -> Asset:
    body = files("penstock.admin.dashboard").joinpath("static", name).read_bytes()
    kind = mimetypes.types_map[f".{name.rpartition('.')[2]}"]
    return Asset.of(body, kind, "no-cache")


def _read_page() -> Asset:
    return _read_own("index.html")


def _read_plotly() -> Asset:
    body = files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return Asset.of(body, "text/javascript", "public, max-age=86400")


class Assets:
    """The files of the dashboard, each read on first use."""

    def __init__(self) -> None:
        self._known: dict[str, Asset] = {}
        self._reading = asyncio.Lock()

    async def get(self, name: str, read: Callable[[], Asset]) -> Asset:
        """Return the asset, read in a worker thread the first time it is asked for."""
        async with self._reading:
            if name not in self._known:
                self._known[name] = await asyncio.to_thread(read)
            return self._known[name]


ASSETS: Final[web.AppKey[Assets]] = web.AppKey("assets")


def _respond(request: web.Request, asset: Asset) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: asset.cache_control, hdrs.ETAG: f'"{asset.etag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if any(tag.value in (asset.etag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    body = asset.body
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        body = asset.compressed
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=body, content_type=asset.content_type, charset="utf-8", headers=headers)


async def get_page(request: web.Request) -> web.Response:
    """``GET /``: the dashboard."""
    return _respond(request, await request.app[ASSETS].get("index.html", _read_page))


async def get_own_file(request: web.Request) -> web.Response:
    """``GET /assets/{name}``: one of our own files."""
    name = request.match_info["name"]
    if name not in OWN_FILES:
        raise web.HTTPNotFound
    return _respond(request, await request.app[ASSETS].get(name, lambda: _read_own(name)))


async def get_plotly(request: web.Request) -> web.Response:
    """``GET /assets/plotly.min.js``: the chart library, out of the installed ``plotly`` package."""
    return _respond(request, await request.app[ASSETS].get("plotly.min.js", _read_plotly))


ROUTES = (
    web.get("/", get_page),
    web.get("/assets/plotly.min.js", get_plotly),
    web.get("/assets/{name}", get_own_file),
)
