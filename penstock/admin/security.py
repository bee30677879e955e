"""What keeps the admin port from being driven by somebody else's web page.

The port has no logins: whoever reaches it may drain. So a browser must not be talked into it from another site:

* DNS rebinding: on a loopback address, requests must name a loopback host.
* Cross-site requests: a change must come from our own page or from no page at all (``Sec-Fetch-Site``, ``Origin``), and
  carry JSON, which no HTML form can send.
* Our page runs only our own scripts (Content-Security-Policy) and is never framed.
"""

import ipaddress
from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from penstock.admin.problem_details import ApiError, Handler

SAFE_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    # Plotly sets style attributes on the SVG it draws; attributes cannot load or run anything under this policy.
    "style-src-attr 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


async def add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on every response; what a handler set itself stays."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers[hdrs.SERVER] = "penstock"


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(authority: str) -> str:
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _refuse(detail: str, kind: str) -> ApiError:
    return ApiError(HTTPStatus.FORBIDDEN, detail, kind=kind)


def _check_same_site(request: web.Request) -> None:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        raise _refuse("changes from another site's page are refused", "cross-site")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get(hdrs.HOST, "").lower():
        raise _refuse("changes from another site's page are refused", "cross-site")
    if request.can_read_body and request.content_type != "application/json":
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as Content-Type: application/json", kind="not-json"
        )


def guard(*, loopback: bool, allowed_hosts: Collection[str] = ()) -> Middleware:
    """Return the middleware that refuses what a foreign page could send.

    Args:
        loopback: the port is bound to a loopback address, so every honest request names one.
        allowed_hosts: further host names under which the port is reached (a reverse proxy's, say).

    """
    allowed = {host.lower() for host in allowed_hosts}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        authority = request.headers.get(hdrs.HOST)
        if loopback and authority is not None:
            host = _host_of(authority)
            if not is_loopback(host) and host.lower() not in allowed:
                raise ApiError(HTTPStatus.MISDIRECTED_REQUEST, "this host name is not served here", kind="wrong-host")
        if request.method not in SAFE_METHODS:
            _check_same_site(request)
        return await handler(request)

    return check
