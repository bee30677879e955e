"""Reading what a caller sent, strictly: unknown fields and parameters are errors, and every error names its field."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, NoReturn, TypeVar

from aiohttp import hdrs, web
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from penstock.admin.problem_details import ApiError
from penstock_policies.suggestions import closest

MAX_BODY_BYTES = 64 * 1024
"""The largest honest body is a drain with its reason: well under 1 KiB."""

_M = TypeVar("_M", bound=BaseModel)


def _printable(text: str) -> str:
    stripped = text.strip()
    if not stripped:
        raise ValueError("must not be empty")
    if not stripped.isprintable():
        raise ValueError("must not hold line breaks or control characters")
    return stripped


Words = Annotated[str, Field(max_length=500), AfterValidator(_printable)]
"""One line for people: it ends up in logs, terminals and the audit log."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"field {name!r} is given twice")
        members[name] = value
    return members


def _fields(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _explain(error: ErrorDetails, model: type[BaseModel]) -> dict[str, object]:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        meant = closest(path, _fields(model))
        message = f"unknown field; expected one of {', '.join(_fields(model))}"
        return {"path": path, "message": message, **({"suggestion": meant} if meant else {})}
    return {"path": path, "message": error["msg"].removeprefix("Value error, ")}


def _sentence(problem: Mapping[str, object]) -> str:
    hint = f" (did you mean {problem['suggestion']!r}?)" if "suggestion" in problem else ""
    return f"{problem['path'] or 'body'}: {problem['message']}{hint}"


def validated(model: type[_M], members: Mapping[str, object]) -> _M:
    """Return the members as a model.

    Raises:
        ApiError: 422, with every field that is wrong.

    """
    try:
        return model.model_validate(members)
    except ValidationError as error:
        problems = [_explain(detail, model) for detail in error.errors(include_url=False, include_input=False)]
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "; ".join(_sentence(problem) for problem in problems),
            kind="invalid-request",
            members={"errors": problems},
        ) from error


async def read_members(request: web.Request) -> dict[str, object]:
    """Return the JSON object that is the body of a request.

    Raises:
        ApiError: 415 without a JSON content type, 400 for what is no JSON object.

    """
    if request.headers.get(hdrs.CONTENT_TYPE) is None or request.content_type != "application/json":
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body as Content-Type: application/json", kind="not-json"
        )
    raw = await request.read()
    try:
        members = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}", kind="not-json") from error
    if not isinstance(members, dict):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object", kind="not-json")
    return members


async def read_body(request: web.Request, model: type[_M]) -> _M:
    """Return the JSON body of a request as a model.

    Raises:
        ApiError: 415 without a JSON content type, 400 for what is no JSON object, 422 for wrong fields.

    """
    return validated(model, await read_members(request))


def read_query(request: web.Request, model: type[_M]) -> _M:
    """Return the query parameters of a request as a model.

    Raises:
        ApiError: 422 for wrong, unknown or repeated parameters.

    """
    members: dict[str, object] = {}
    for name, value in request.query.items():
        if name in members:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: given twice", kind="invalid-request")
        members[name] = value
    return validated(model, members)
