"""Errors as RFC 9457 problem details, for every answer that is one: ours, aiohttp's own, and the unforeseen.

An unforeseen error shows the caller an id and nothing of our insides; the same id stands in the log with the traceback.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import hdrs, web

from penstock.admin.notice_errors import (
    PlaceMissingError,
    TooManyNoticesError,
    UnknownEndpointError,
    UnknownNoticeError,
    UnmatchedNoticeError,
)
from penstock.admin.ports import (
    ControlPlaneError,
    DrainRefusedError,
    NoPolicyError,
    NotDrainedError,
    NotQuarantinedError,
    StoreUnavailableError,
    UnknownClusterError,
)
from penstock.admin.wire import json_response
from penstock_policies.suggestions import closest

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: the HTTP status.
        kind: names the kind of problem, stable for programs; ``about:blank`` where the status says it all.
        detail: what happened, for people.
        members: further members of the problem (RFC 9457, section 3.2).

    """

    def __init__(
        self, status: HTTPStatus, detail: str, *, kind: str = "", members: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = f"urn:penstock:problem:{kind}" if kind else "about:blank"
        self.members = dict(members or {})


def problem_response(
    error: ApiError, *, instance: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return the response for an error."""
    body: dict[str, object] = {
        "type": error.kind,
        "title": error.status.phrase,
        "status": int(error.status),
        "detail": error.detail,
        **error.members,
    }
    if instance is not None:
        body["instance"] = instance
    return json_response(body, status=int(error.status), content_type=CONTENT_TYPE, headers=headers)


def not_found(what: str, name: str, known: tuple[str, ...]) -> ApiError:
    """404 for a name, with the one that was probably meant."""
    meant = closest(name, known)
    hint = f"; did you mean {meant!r}?" if meant else ""
    members: dict[str, object] = {"known": known}
    if meant:
        members["suggestion"] = meant
    return ApiError(HTTPStatus.NOT_FOUND, f"no {what} {name!r}{hint}", kind=f"unknown-{what}", members=members)


def _from_notices(
    error: UnknownNoticeError | UnknownEndpointError | UnmatchedNoticeError | PlaceMissingError,
) -> ApiError:
    if isinstance(error, UnknownNoticeError):
        return not_found("notice", error.notice, error.known)
    if isinstance(error, UnknownEndpointError):
        told = f"{error}; expected one of {', '.join(error.known)}"
        return ApiError(HTTPStatus.NOT_FOUND, told, kind="unknown-endpoint", members={"known": error.known})
    members = {"lookedFor": error.names} if isinstance(error, UnmatchedNoticeError) else {}
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), kind="unmatched-notice", members=members)


def from_control_plane(error: ControlPlaneError) -> ApiError:
    """Tell what a refusal of the control plane is over HTTP."""
    match error:
        case UnknownClusterError():
            return not_found("cluster", error.cluster, error.known)
        case UnknownNoticeError() | UnknownEndpointError() | UnmatchedNoticeError() | PlaceMissingError():
            return _from_notices(error)
        case NotDrainedError() | NotQuarantinedError():
            kind = "not-drained" if isinstance(error, NotDrainedError) else "not-quarantined"
            return ApiError(HTTPStatus.NOT_FOUND, str(error), kind=kind)
        case DrainRefusedError():
            detail = f'{str(error).rstrip(".")}. With --force ("force": true) it is drained all the same.'
            return ApiError(HTTPStatus.CONFLICT, detail, kind="drain-refused", members={"impact": error.impact})
        case NoPolicyError() | StoreUnavailableError() | TooManyNoticesError():
            kinds = {NoPolicyError: "no-policy", StoreUnavailableError: "store-unavailable"}
            kind = kinds.get(type(error), "too-many-notices")
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), kind=kind)
        case _:
            return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def from_http(error: web.HTTPException) -> ApiError:
    """Tell what aiohttp's own refusal is as ours."""
    status = HTTPStatus(error.status)
    members: dict[str, object] = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        members["allowed"] = sorted(error.allowed_methods)
        detail = f"{error.method} is not allowed here"
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = "the request body is too large"
    elif status is HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this address"
    else:
        detail = error.reason
    return ApiError(status, detail, members=members)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong below into problem details."""
    try:
        return await handler(request)
    except ApiError as error:
        return problem_response(error, instance=request.path)
    except ControlPlaneError as error:
        return problem_response(from_control_plane(error), instance=request.path)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        kept = {str(hdrs.ALLOW): value for value in (error.headers.get(hdrs.ALLOW),) if value}
        return problem_response(from_http(error), instance=request.path, headers=kept)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        error_id = uuid.uuid4().hex
        logger.exception("admin request failed", extra={"error_id": error_id, "method": request.method})
        hidden = ApiError(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"something went wrong inside; the log tells more under {error_id}",
            members={"errorId": error_id},
        )
        return problem_response(hidden, instance=request.path)
