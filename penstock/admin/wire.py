"""How values look on the wire: camelCase names, RFC 3339 times in UTC, and never a NaN (JSON has none)."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from aiohttp import web
from pydantic.alias_generators import to_camel

TYPE_NAMES: Final = {
    "envoy.config.cluster.v3.Cluster": "CDS",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "EDS",
    "envoy.config.listener.v3.Listener": "LDS",
    "envoy.config.route.v3.RouteConfiguration": "RDS",
    "envoy.extensions.transport_sockets.tls.v3.Secret": "SDS",
    "envoy.service.runtime.v3.Runtime": "RTDS",
    "envoy.config.core.v3.TypedExtensionConfig": "ECDS",
    "envoy.config.route.v3.ScopedRouteConfiguration": "SRDS",
    "envoy.config.route.v3.VirtualHost": "VHDS",
}
"""What operators call the resource types of xDS."""


def short_type(type_url: str) -> str:
    """``RDS`` for the type URL of route configurations, and so on; an unknown type keeps its full name."""
    name = type_url.rpartition("/")[2]
    return TYPE_NAMES.get(name, name)


def timestamp(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond, of a Unix time; None for None and for what is no time at all."""
    if seconds is None or not math.isfinite(seconds):
        return None
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(value: object) -> object:
    """``value`` as JSON types: dataclass fields in camelCase, NaN and the infinities as null.

    Raises:
        TypeError: a value that has no JSON form.

    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {to_camel(f.name): plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_response(
    body: Mapping[str, object],
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return a JSON response of anything :func:`plain` takes."""
    text = json.dumps(plain(body), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
    return web.Response(text=text, status=status, content_type=content_type, headers=headers)
