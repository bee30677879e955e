"""AWS's spot prices and price list, in the shape of their documentation."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from penstock.signals.asking import Ask
from penstock.signals.aws_signature import AwsCredentials
from penstock.signals.price_aws_list import ask_aws_list
from penstock.signals.price_aws_spot import ask_aws_spot
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.readings import Reading
from penstock_policies.feed_apis import AwsPriceFigure, AwsSpotFigure
from tests.signals.price_answers import ZONES, fault, listed, product, spot
from tests.signals.talking import answer, talk

NOW = 1_795_000_000.0
KEY = AwsCredentials("AKID", "hunter2")


def wanted(**more: Any) -> AwsSpotFigure:
    return AwsSpotFigure.model_validate({"key": "p5", "region": "eu-west-1", "instanceType": "p5.48xlarge", **more})


def read_spot(*pages: Any, **more: Any) -> tuple[Reading, list[Ask]]:
    return talk(ask_aws_spot(None, [wanted(**more)], KEY, NOW), pages)


@pytest.mark.parametrize(("zone", "price"), [(None, 40.25), ("eu-west-1a", 31.5)])
def test_the_last_price_of_a_zone_or_of_the_dearest_is_taken(zone: str | None, price: float) -> None:
    reading, asked = read_spot(spot(*ZONES), zone=zone)
    assert reading.figures == {"p5": price}
    form = parse_qs((asked[0].body or b"").decode())
    assert asked[0].url == "https://ec2.eu-west-1.amazonaws.com/"
    assert (form["Action"], form["InstanceType.1"]) == (["DescribeSpotPriceHistory"], ["p5.48xlarge"])
    assert form["StartTime"] == form["EndTime"] == ["2026-11-18T11:06:40Z"]
    assert form.get("AvailabilityZone") == (None if zone is None else [zone])
    assert "eu-west-1/ec2/aws4_request" in asked[0].headers["authorization"]


def test_pages_are_followed_empty_ones_too() -> None:
    reading, asked = read_spot(spot(ZONES[0], token="t1"), spot(token="t2"), spot(ZONES[1]))
    assert reading.figures == {"p5": 40.25}
    tokens = [parse_qs((ask.body or b"").decode()).get("NextToken") for ask in asked]
    assert tokens == [None, ["t1"], ["t2"]]


def test_china_has_endpoints_of_its_own() -> None:
    _, asked = read_spot(spot(ZONES[0]), region="cn-north-1")
    assert asked[0].url == "https://ec2.cn-north-1.amazonaws.com.cn/"


@pytest.mark.parametrize("code", ["AuthFailure", "UnauthorizedOperation", "RequestExpired", "SignatureDoesNotMatch"])
def test_a_refusal_is_an_error_of_the_feed_that_tells_the_code_alone(code: str) -> None:
    with pytest.raises(PriceSourceError, match=f"^HTTP 403: EC2 answers {code}$"):
        read_spot(answer(fault(code), 403))


def test_an_instance_type_that_is_not_known_leaves_the_others() -> None:
    figures = [wanted(key="bad", instanceType="p9.none"), wanted()]

    def answers(ask: Ask) -> Any:
        return answer(fault("InvalidParameterValue"), 400) if b"p9.none" in (ask.body or b"") else spot(*ZONES)

    reading, _ = talk(ask_aws_spot(None, figures, KEY, NOW), answers)
    assert (set(reading.figures), reading.refused) == ({"p5"}, {"bad": "EC2 answers InvalidParameterValue"})


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (spot(), r"EC2 has no spot price of p5\.48xlarge \(Linux/UNIX\) in eu-west-1"),
        (spot(*ZONES, kind="p4d.24xlarge"), "EC2 has no spot price"),
        (spot(("eu-west-1a", "cheap", "2026-11-18T05:00:00.000Z")), "text, not a number"),
        ("<html/>", "not an answer of EC2"),
        ("{}", "Invalid XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "document type declaration, which is refused"),
        ("<a>" * 50, "more than any price document has"),
    ],
)
def test_an_answer_without_the_price_is_refused_whole(page: str, why: str) -> None:
    with pytest.raises(PriceDocumentError, match=why):
        read_spot(page)


def read_list(*pages: Any) -> tuple[Reading, list[Ask]]:
    figure = AwsPriceFigure.model_validate({"key": "p5", "region": "eu-west-1", "instanceType": "p5.48xlarge"})
    return talk(ask_aws_list(None, [figure], KEY, NOW), pages)


def test_the_on_demand_price_is_found_over_pages() -> None:
    reading, asked = read_list(listed(product("0.0000000000"), token="next"), listed(product()))
    assert reading.figures == {"p5": 98.32}
    assert asked[0].url == "https://api.pricing.us-east-1.amazonaws.com/"
    assert asked[0].headers["x-amz-target"] == "AWSPriceListService.GetProducts"
    assert "us-east-1/pricing/aws4_request" in asked[0].headers["authorization"]
    first, second = (json.loads(ask.body or b"") for ask in asked)
    assert {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"} in first["Filters"]
    assert (first.get("NextToken"), second["NextToken"]) == (None, "next")


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (listed(), r"AWS lists no price of p5\.48xlarge \(Linux\) in eu-west-1"),
        (listed(product(region="us-east-1")), "AWS lists no price"),
        (listed(product(unit="Quantity")), "AWS lists no price"),
        (listed(product(), product("99.0")), "AWS lists 2 prices"),
        (listed(product("n/a")), "text, not a number"),
        (listed("{"), "Invalid JSON"),
        ({"PriceList": 3}, "no PriceList"),
        ("<html>", "Invalid JSON"),
    ],
)
def test_a_list_without_the_one_price_is_refused_whole(page: Any, why: str) -> None:
    with pytest.raises(PriceDocumentError, match=why):
        read_list(page)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"__type": "com.amazon#AccessDeniedException", "Message": "AKID may not"}, "AccessDeniedException"),
        ({"message": "?"}, "without a code"),
        ("<html>", "nothing readable"),
    ],
)
def test_a_refusal_of_the_list_tells_the_code_alone(body: Any, told: str) -> None:
    with pytest.raises(PriceSourceError, match=f"^HTTP 400: AWS answers {told}$"):
        read_list(answer(body, 400))
