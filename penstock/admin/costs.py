"""What is asked of ``/api/v1/costs``, checked, and what is answered, in the API's words. Pure.

Hours are UTC and whole: a report begins with the hour that ``since`` is in, and ends with the one that ``until`` is in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from penstock.admin.moment import parse_moment
from penstock.admin.problem_details import ApiError
from penstock.admin.wire import timestamp
from penstock.state.costs import Asked, Found, Idle, Line
from penstock.state.ledger import HOUR_SECONDS, Amounts
from penstock_policies.suggestions import closest

PARTS: Final[Mapping[str, str]] = {
    "policy": "policy",
    "class": "data_class",
    "model": "model",
    "cluster": "cluster",
    "site": "site",
    "clusterRegion": "region",
    "region": "edge_region",
}
"""What costs may be told apart by, to the ledger's column. ``region`` is the edge's, as it is everywhere in the API."""

MOST_LINES: Final = 5_000
"""Of one answer, some 4 MB; the CSV has no such bound."""
LONGEST_SECONDS: Final = 401 * 86400.0
"""No row is older."""


class CostsQuery(BaseModel):
    """Which report is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str = "cluster"
    since: str = "24h"
    until: str | None = None
    step: Literal["none", "hour"] = "none"


class ExportQuery(BaseModel):
    """Which hours are to be exported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: str = "24h"
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Hours:
    """Whole hours, the last one exclusive; Unix seconds."""

    since: int
    until: int


def _wrong(detail: str, **members: object) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, kind="invalid-request", members=members)


def hours(since: str, until: str | None, now: float) -> Hours:
    """Return the hours that two moments are the first and the last of.

    Raises:
        ApiError: 422, they are no moments, or not in this order, or too far apart.

    """
    moments = {}
    for name, text in (("since", since), ("until", until)):
        try:
            moments[name] = now if text is None else parse_moment(text, now)
        except ValueError as error:
            raise _wrong(f"{name}: {error}") from error
    begin = int(moments["since"] // HOUR_SECONDS) * HOUR_SECONDS
    end = -int(-moments["until"] // HOUR_SECONDS) * HOUR_SECONDS
    if moments["since"] > moments["until"]:
        raise _wrong(f"since: {timestamp(moments['since'])} is after until, {timestamp(moments['until'])}")
    if end - begin > LONGEST_SECONDS:
        raise _wrong("since: costs are kept for 400 days")
    return Hours(begin, max(end, begin + HOUR_SECONDS))


def parts(by: str) -> tuple[str, ...]:
    """Return the parts of a list such as ``cluster,policy``.

    Raises:
        ApiError: 422, one is unknown, or named twice, or there is none.

    """
    named = tuple(each.strip() for each in by.split(",") if each.strip())
    for index, name in enumerate(named):
        if name not in PARTS:
            meant = closest(name, PARTS)
            hint = f" (did you mean {meant!r}?)" if meant else ""
            members = {"known": list(PARTS), **({"suggestion": meant} if meant else {})}
            raise _wrong(f"by: unknown part {name!r}{hint}; expected some of {', '.join(PARTS)}", **members)
        if name in named[:index]:
            raise _wrong(f"by: {name!r} is given twice")
    if not named:
        raise _wrong(f"by: expected some of {', '.join(PARTS)}", known=list(PARTS))
    return named


def asked(query: CostsQuery, now: float) -> Asked:
    """Return what is asked of the ledger.

    Raises:
        ApiError: 422 for what cannot be asked.

    """
    found = hours(query.since, query.until, now)
    columns = tuple(PARTS[name] for name in parts(query.by))
    return Asked(found.since, found.until, columns, hourly=query.step == "hour", most=MOST_LINES)


def report_view(query: CostsQuery, asked: Asked, found: Found, now: float) -> dict[str, object]:
    """Return a report as the API gives it.

    Raises:
        ApiError: 422, it is too long.

    """
    if len(found.lines) > MOST_LINES or len(found.idle) > MOST_LINES:
        raise _wrong(
            f"more than {MOST_LINES} lines: ask for fewer parts, for less time, or without step=hour;"
            " /api/v1/costs.csv has no such bound"
        )
    idle_usd = sum(each.usd for each in found.idle)
    return {
        "now": timestamp(now),
        "since": timestamp(asked.since),
        "until": timestamp(asked.until),
        "step": query.step,
        "by": list(parts(query.by)),
        "total": {
            **_figures(*_summed(found.lines)),
            "amortizedWithIdleUsd": sum(line.amortized_usd for line in found.lines) + idle_usd,
            "idleUsd": idle_usd,
        },
        "items": [_item(line) for line in found.lines],
        "idle": [_idle(each) for each in found.idle],
    }


def _summed(lines: Iterable[Line]) -> tuple[Amounts, float]:
    amounts, amortized = Amounts(), 0.0
    for line in lines:
        amounts += line.amounts
        amortized += line.amortized_usd
    return amounts, amortized


def _item(line: Line) -> dict[str, object]:
    named = {name: line.of[column] for name, column in PARTS.items() if column in line.of}
    return {**_hour(line.hour), **named, **_figures(line.amounts, line.amortized_usd)}


def _hour(hour: int | None) -> dict[str, object]:
    return {} if hour is None else {"hour": timestamp(hour)}


def _idle(of: Idle) -> dict[str, object]:
    return {
        **_hour(of.hour),
        "cluster": of.cluster,
        "site": of.site,
        "clusterRegion": of.region,
        "hours": of.seconds / HOUR_SECONDS,
        "usd": of.usd,
    }


def _figures(of: Amounts, amortized_usd: float) -> dict[str, object]:
    tokens = of.prompt_tokens + of.output_tokens
    return {
        "requests": of.requests,
        "failed": of.failed,
        "unmetered": of.unmetered,
        "tokens": {"prompt": of.prompt_tokens, "cachedPrompt": of.cached_prompt_tokens, "output": of.output_tokens},
        "marginalUsd": of.usd,
        "amortizedUsd": amortized_usd,
        "usdPerMillionTokens": {
            "marginal": _share(of.usd, tokens, 1e6),
            "amortized": _share(amortized_usd, tokens, 1e6),
        },
        "estimated": {
            "requests": of.estimated_requests,
            "tokens": of.estimated_tokens,
            "usd": of.estimated_usd,
            "tokenShare": _share(of.estimated_tokens, tokens),
        },
        "whatIf": {
            "allOnPrem": {"usd": of.on_prem_usd, "keptUsd": of.on_prem_kept_usd},
            "allCloud": {"usd": of.cloud_usd, "keptUsd": of.cloud_kept_usd},
        },
    }


def _share(part: float, whole: float, unit: float = 1.0) -> float | None:
    return part / whole * unit if whole > 0 else None
