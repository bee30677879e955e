"""What the edge says by itself: OpenAI-shaped JSON errors, and the list of models.

SDKs show ``error.message`` to their users and branch on the status and ``error.code``; operators read the header
``x-penstock-reason``. Nothing here names an address of an endpoint.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.google import protobuf

from penstock_envoy.matching import METADATA, MODEL_KEY

REASON_HEADER: Final = "x-penstock-reason"
CLUSTER_HEADER: Final = "x-penstock-cluster"
ATTEMPTS_HEADER: Final = "x-penstock-attempts"

_JSON: Final = "application/json"
_Append = core.HeaderValueOptionHeaderAppendAction


@dataclass(frozen=True, slots=True)
class Error:
    """An error as OpenAI's API words it. ``code`` is also the reason given to operators."""

    status: int
    code: str
    message: str
    retry_after: int = 1
    """Of a 503, in seconds. OpenAI's SDKs wait as long before they try again, unless it is more than a minute; without
    it they come back within half a second."""
    retriable: bool = True
    """Whether trying again soon could help; if not, OpenAI's SDKs are told not to."""

    def body(self) -> str:
        """The response body."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        return json.dumps({"error": error})


NO_POLICY: Final = Error(404, "no_policy", "No policy serves this path and model for data of this class.")
NO_CLUSTER: Final = Error(503, "no_cluster_available", "No cluster may serve this request at the moment. Try again.")
BUDGET_EXHAUSTED: Final = Error(
    503,
    "budget_exhausted",
    "The budget for this traffic is spent, and no cluster outside it may serve this request.",
    retry_after=60,
    retriable=False,
)
REFUSALS: Final = (NO_CLUSTER, BUDGET_EXHAUSTED)
"""What a row without clusters can be refused for: the codes of ``Row.refusal``."""

_ANY_FLAG: Final[tuple[str, ...]] = ()
# Status and Envoy response flags to error, first match wins. Direct responses pass through these mappers too: they
# carry no flags, so statuses that routes answer by themselves (404, 503) are mapped only with a flag.
_LOCAL_REPLIES: Final[tuple[tuple[Error, tuple[str, ...] | None], ...]] = (
    (Error(503, "no_healthy_cluster", "No cluster that may serve this request is healthy. Try again."), ("UH",)),
    (Error(503, "edge_overloaded", "The edge is overloaded. Try again."), ("OM", "DO")),
    (Error(503, "cluster_overflow", "The cluster accepts no more requests. Try again."), ("UO",)),
    (Error(503, "cluster_not_configured", "The edge does not know this cluster yet. Try again."), ("NC",)),
    (
        Error(503, "cluster_unreachable", "No cluster that may serve this request could be reached. Try again."),
        _ANY_FLAG,
    ),
    (Error(404, "no_route", "Nothing is served here."), ("NR",)),
    (Error(400, "bad_request", "The request is not valid HTTP, or its path has escaped slashes."), None),
    (Error(408, "request_timeout", "The request did not arrive in time."), None),
    (Error(413, "request_too_large", "The request is larger than this listener accepts."), None),
    (Error(426, "upgrade_required", "Use HTTP/1.1 or HTTP/2."), None),
    (Error(431, "headers_too_large", "The request's headers are too large."), None),
    (Error(500, "edge_error", "The edge failed to handle the request."), _ANY_FLAG),
    (Error(502, "bad_gateway", "The cluster's answer was not valid HTTP."), _ANY_FLAG),
    (Error(504, "upstream_timeout", "The cluster did not answer in time."), _ANY_FLAG),
)


def refuse(error: Error) -> tuple[route.DirectResponseAction, list[core.HeaderValueOption]]:
    """A direct response with an error, and the headers its route adds."""
    action = route.DirectResponseAction(status=error.status, body=core.DataSource(inline_string=error.body()))
    return action, _reply_headers(error)


def unknown_model() -> tuple[route.DirectResponseAction, list[core.HeaderValueOption]]:
    """A direct response to a request for a model that nobody serves; it names the model, escaped by Envoy."""
    message = f"The model `%DYNAMIC_METADATA({METADATA}:{MODEL_KEY})%` does not exist for data of this class."
    error = {"message": message, "type": "invalid_request_error", "param": MODEL_KEY, "code": "model_not_found"}
    fields = {key: protobuf.Value(string_value=text) for key, text in error.items()}
    shape = protobuf.Struct(fields={"error": protobuf.Value(struct_value=protobuf.Struct(fields=fields))})
    action = route.DirectResponseAction(
        status=404, body_format=core.SubstitutionFormatString(json_format=shape, content_type=_JSON)
    )
    return action, _reply_headers(Error(404, "model_not_found", ""))


def model_list(models: Iterable[str]) -> tuple[route.DirectResponseAction, list[core.HeaderValueOption]]:
    """A direct response with the models, as ``GET /v1/models`` has it."""
    data = [{"id": model, "object": "model", "created": 0, "owned_by": "penstock"} for model in models]
    body = json.dumps({"object": "list", "data": data})
    return route.DirectResponseAction(status=200, body=core.DataSource(inline_string=body)), [
        header("content-type", _JSON)
    ]


def local_replies() -> hcm.LocalReplyConfig:
    """How Envoy words the errors that it makes itself."""
    return hcm.LocalReplyConfig(mappers=[_mapper(error, flags) for error, flags in _LOCAL_REPLIES])


def header(
    name: str, value: str, action: core.HeaderValueOptionHeaderAppendAction = _Append.OVERWRITE_IF_EXISTS_OR_ADD
) -> core.HeaderValueOption:
    """A header to set, in place of any of that name."""
    return core.HeaderValueOption(header=core.HeaderValue(key=name, value=value), append_action=action)


def _reply_headers(error: Error) -> list[core.HeaderValueOption]:
    headers = [header("content-type", _JSON), header(REASON_HEADER, error.code)]
    if error.status == 503:
        headers.append(header("retry-after", str(error.retry_after)))
    if not error.retriable:
        headers.append(header("x-should-retry", "false"))
    return headers


def _mapper(error: Error, flags: Sequence[str] | None) -> hcm.ResponseMapper:
    filters = [
        accesslog.AccessLogFilter(
            status_code_filter=accesslog.StatusCodeFilter(
                comparison=accesslog.ComparisonFilter(
                    op=accesslog.ComparisonFilterOp.EQ,
                    value=core.RuntimeUInt32(default_value=error.status, runtime_key="penstock.local_reply_status"),
                )
            )
        )
    ]
    if flags is not None:
        filters.append(accesslog.AccessLogFilter(response_flag_filter=accesslog.ResponseFlagFilter(flags=list(flags))))
    chosen = filters[0] if len(filters) == 1 else accesslog.AccessLogFilter(and_filter=accesslog.AndFilter(filters))
    return hcm.ResponseMapper(
        filter=chosen,
        body=core.DataSource(inline_string=error.body()),
        body_format_override=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string="%LOCAL_REPLY_BODY%"), content_type=_JSON
        ),
        # The route has named the last cluster tried; none served.
        headers_to_add=[*_reply_headers(error)[1:], header(CLUSTER_HEADER, "none", _Append.OVERWRITE_IF_EXISTS)],
    )
