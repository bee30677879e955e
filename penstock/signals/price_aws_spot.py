"""EC2's ``DescribeSpotPriceHistory``: what spot machines cost now, by region and zone. Pure.

A signed POST of the Query API, answered in XML; asked from now to now, it tells the last change of every zone before.
``nextToken`` leads on, and pages may be empty. Without a zone the dearest of the region's is taken.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode

from penstock.signals.asking import Answer, Ask
from penstock.signals.aws_signature import AwsCredentials, signed_headers
from penstock.signals.conversation import Conversation
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.price_json import NoFigureError, figure_of
from penstock.signals.readings import some
from penstock.signals.xml_document import Element, read_xml
from penstock_policies.feed_apis import AwsSpotFigure

_BUSY: Final = (b"RequestLimitExceeded", b"Throttling", b"Unavailable")
_FAULT_OF_ONE: Final = ("InvalidParameter", "MissingParameter", "InvalidInstanceType", "InvalidAvailabilityZone")
"""What the codes of errors begin with that are about one figure's words and not about the feed."""


def ask_aws_spot(
    url: str | None, figures: Sequence[AwsSpotFigure], credentials: AwsCredentials, now: float
) -> Conversation:
    """Ask for every figure at its region's endpoint, or all at ``url``."""
    found: dict[str, float] = {}
    refused: dict[str, str] = {}
    for figure in figures:
        token: str | None = ""
        zones: dict[str, tuple[str, float]] = {}
        try:
            while token is not None:
                answer = yield _ask(url or _endpoint(figure.region), figure, credentials, token, now=now)
                page = _page(answer)
                _take(page, figure, zones)
                token = page.words("nextToken") or None
            found[figure.key] = _price(figure, zones)
        except NoFigureError as error:
            refused[figure.key] = str(error)
    return some(found, refused)


def _endpoint(region: str) -> str:
    return f"https://ec2.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}/"


def _ask(url: str, figure: AwsSpotFigure, credentials: AwsCredentials, token: str, *, now: float) -> Ask:
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    form = {
        "Action": "DescribeSpotPriceHistory",
        "Version": "2016-11-15",
        "InstanceType.1": figure.instance_type,
        "ProductDescription.1": figure.product,
        "StartTime": moment,
        "EndTime": moment,
    }
    if figure.zone is not None:
        form["AvailabilityZone"] = figure.zone
    if token:
        form["NextToken"] = token
    body = urlencode(form, quote_via=quote).encode()
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return Ask(
        url,
        method="POST",
        headers=signed_headers(url, headers, body, credentials, region=figure.region, service="ec2", at=now),
        body=body,
        secrets=credentials.secrets,
        busy_words=_BUSY,
        read_errors=True,
    )


def _page(answer: Answer) -> Element:
    """Read an answer; an error's code is told, never its message, which may name accounts."""
    page = read_xml(answer.body)
    code = page.words("Errors", "Error", "Code")
    if code is not None:
        if code.startswith(_FAULT_OF_ONE):
            raise NoFigureError(f"EC2 answers {code[:60]}")
        raise PriceSourceError(f"HTTP {answer.status}: EC2 answers {code[:60]}")
    if answer.status != 200:
        raise PriceSourceError(f"HTTP {answer.status}")
    if page.name != "DescribeSpotPriceHistoryResponse":
        raise PriceDocumentError("not an answer of EC2 about spot prices")
    return page


def _take(page: Element, figure: AwsSpotFigure, zones: dict[str, tuple[str, float]]) -> None:
    for sets in page.each("spotPriceHistorySet"):
        for item in sets.each("item"):
            zone, at = item.words("availabilityZone") or "", item.words("timestamp") or ""
            if item.words("instanceType") != figure.instance_type or figure.zone not in {None, zone}:
                continue
            # Of UTC and one length all of them, so that text sorts as time does.
            if zone not in zones or at > zones[zone][0]:
                zones[zone] = (at, figure_of(item.words("spotPrice"), 1.0))


def _price(figure: AwsSpotFigure, zones: dict[str, tuple[str, float]]) -> float:
    if not zones:
        where = figure.zone or figure.region
        raise NoFigureError(f"EC2 has no spot price of {figure.instance_type} ({figure.product}) in {where}")
    return max(price for _, price in zones.values())
