"""AWS's price list, asked product by product: ``GetProducts`` of the Price List Query API. Pure.

The bulk offer files of EC2 have hundreds of megabytes; a filtered query answers with the one product that is meant. A
signed POST of JSON; ``PriceList`` holds each product as JSON in text, ``NextToken`` leads on.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from penstock.signals.asking import Answer, Ask
from penstock.signals.aws_signature import AwsCredentials, signed_headers
from penstock.signals.conversation import Conversation
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.price_json import NoFigureError, figure_of, read_json
from penstock.signals.readings import some
from penstock_policies.feed_apis import AwsPriceFigure

_BUSY: Final = (b"ThrottlingException", b"TooManyRequests", b"InternalErrorException")
_FIXED: Final = {"tenancy": "Shared", "capacitystatus": "Used", "preInstalledSw": "NA", "marketoption": "OnDemand"}
"""Of the many products of an instance type, the plain one."""


def ask_aws_list(
    url: str | None, figures: Sequence[AwsPriceFigure], credentials: AwsCredentials, now: float
) -> Conversation:
    """Ask for every figure, page by page."""
    found: dict[str, float] = {}
    refused: dict[str, str] = {}
    for figure in figures:
        token: str | None = ""
        prices: set[float] = set()
        try:
            while token is not None:
                answer = yield _ask(url, figure, credentials, token, now=now)
                page = _page(answer)
                for product in _products(page):
                    prices |= set(_prices(product, figure))
                token = _token(page)
            found[figure.key] = _only(figure, prices)
        except NoFigureError as error:
            refused[figure.key] = str(error)
    return some(found, refused)


def _ask(url: str | None, figure: AwsPriceFigure, credentials: AwsCredentials, token: str, *, now: float) -> Ask:
    terms = {
        **_FIXED,
        "regionCode": figure.region,
        "instanceType": figure.instance_type,
        "operatingSystem": figure.operating_system,
    }
    question: dict[str, Any] = {
        "ServiceCode": "AmazonEC2",
        "FormatVersion": "aws_v1",
        "Filters": [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in terms.items()],
    }
    if token:
        question["NextToken"] = token
    body = json.dumps(question, separators=(",", ":")).encode()
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AWSPriceListService.GetProducts"}
    where = url or f"https://api.pricing.{figure.endpoint}.amazonaws.com/"
    return Ask(
        where,
        method="POST",
        headers=signed_headers(where, headers, body, credentials, region=figure.endpoint, service="pricing", at=now),
        body=body,
        secrets=credentials.secrets,
        busy_words=_BUSY,
        read_errors=True,
    )


def _page(answer: Answer) -> Mapping[str, Any]:
    if answer.status != 200:
        raise PriceSourceError(f"HTTP {answer.status}: AWS answers {_code(answer)}")
    page = read_json(answer.body)
    if not isinstance(page, dict) or not isinstance(page.get("PriceList"), list):
        raise PriceDocumentError("not an answer of AWS's price list: it has no PriceList")
    return page


def _code(answer: Answer) -> str:
    """Give an error's code; its message may name accounts."""
    try:
        told = read_json(answer.body)
    except PriceDocumentError:
        return "nothing readable"
    kind = told.get("__type", "") if isinstance(told, dict) else ""
    return str(kind).rpartition("#")[2][:60] or "without a code"


def _token(page: Mapping[str, Any]) -> str | None:
    token = page.get("NextToken")
    return token if isinstance(token, str) and token else None


def _products(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for text in page["PriceList"]:
        product = read_json(text.encode()) if isinstance(text, str) else text
        if isinstance(product, dict):
            yield product


def _prices(product: Mapping[str, Any], figure: AwsPriceFigure) -> Iterator[float]:
    attributes = _at(product, "product", "attributes")
    if attributes.get("instanceType") != figure.instance_type or attributes.get("regionCode") != figure.region:
        return
    for term in _at(product, "terms", "OnDemand").values():
        for dimension in _at(term, "priceDimensions").values():
            if isinstance(dimension, dict) and dimension.get("unit") == "Hrs":
                yield figure_of(_at(dimension, "pricePerUnit").get("USD"), 1.0)


def _at(value: Any, *path: str) -> Mapping[str, Any]:  # noqa: ANN401 - JSON is anything
    """Give the object that a path of names leads to; an empty one where it leads nowhere."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _only(figure: AwsPriceFigure, prices: set[float]) -> float:
    # Capacity that is reserved and lies idle is listed at nothing.
    paid = prices - {0.0}
    what = f"{figure.instance_type} ({figure.operating_system}) in {figure.region}"
    if not paid:
        raise NoFigureError(f"AWS lists no price of {what}")
    if len(paid) > 1:
        raise NoFigureError(f"AWS lists {len(paid)} prices of {what}")
    return paid.pop()
