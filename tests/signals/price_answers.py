"""Answers of price APIs in the shape of their documentation."""

import json
from collections.abc import Mapping
from typing import Any


def allocation(name: str, **figures: float | None) -> dict[str, Any]:
    known = {"minutes": 1440.0, "gpuHours": 192.0, "gpuCost": 384.0, "gpuCostAdjustment": 0.0, "totalCost": 480.0}
    properties = {"cluster": "cluster-one", "namespace": name}
    window = {"start": "2026-11-26T00:00:00Z", "end": "2026-11-27T00:00:00Z"}
    return {"name": name, "properties": properties, "window": window, "cpuCost": 20.0, **known, **figures}


def node(name: str, labels: Mapping[str, str], **figures: float) -> dict[str, Any]:
    known = {"minutes": 1440.0, "gpuCount": 8.0, "gpuCost": 384.0, "totalCost": 480.0}
    properties = {"category": "Compute", "cluster": "cluster-one", "name": name}
    return {"type": "Node", "properties": properties, "labels": dict(labels), "preemptible": 0, **known, **figures}


SKU = "Standard_ND96isr_H100_v5"


def item(**more: Any) -> dict[str, Any]:
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": 98.32,
        "unitPrice": 98.32,
        "armRegionName": "westeurope",
        "location": "EU West",
        "effectiveStartDate": "2026-01-01T00:00:00Z",
        "meterId": "m",
        "meterName": "ND96isr H100 v5",
        "productId": "p",
        "skuId": "p/s",
        "productName": "Virtual Machines NDsr H100 v5 Series",
        "skuName": "ND96isr H100 v5",
        "serviceName": "Virtual Machines",
        "serviceId": "s",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": SKU,
        **more,
    }


NEIGHBOURS = [
    item(skuName="ND96isr H100 v5 Spot", meterName="ND96isr H100 v5 Spot", retailPrice=19.0),
    item(skuName="ND96isr H100 v5 Low Priority", meterName="ND96isr H100 v5 Low Priority", retailPrice=20.0),
    item(productName="Virtual Machines NDsr H100 v5 Series Windows", retailPrice=102.7),
    item(type="DevTestConsumption", retailPrice=90.0),
    item(type="Reservation", reservationTerm="1 Year", retailPrice=550_000.0),
    item(effectiveStartDate="2025-01-01T00:00:00Z", retailPrice=120.0),
    item(effectiveStartDate="2027-01-01T00:00:00Z", retailPrice=80.0),
    item(isPrimaryMeterRegion=False, retailPrice=99.0),
    item(savingsPlan=[{"unitPrice": 60.0, "retailPrice": 60.0, "term": "1 Year"}]),
    item(armRegionName="northeurope", retailPrice=1.0),
]


def page(*items: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    return {
        "BillingCurrency": "USD",
        "CustomerEntityId": "Default",
        "CustomerEntityType": "Retail",
        "Items": list(items),
        "NextPageLink": following,
        "Count": len(items),
    }


def spot(*items: tuple[str, str, str], token: str = "", kind: str = "p5.48xlarge") -> str:
    listed = "".join(
        f"<item><instanceType>{kind}</instanceType><productDescription>Linux/UNIX</productDescription>"
        f"<spotPrice>{price}</spotPrice><timestamp>{at}</timestamp><availabilityZone>{zone}</availabilityZone></item>"
        for zone, price, at in items
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        "<requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>"
        f"<spotPriceHistorySet>{listed}</spotPriceHistorySet><nextToken>{token}</nextToken>"
        "</DescribeSpotPriceHistoryResponse>"
    )


def fault(code: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error>'
        f"<Code>{code}</Code><Message>AKID of account 123 said no</Message></Error></Errors>"
        "<RequestID>r</RequestID></Response>"
    )


ZONES = (
    ("eu-west-1a", "31.5000", "2026-11-18T05:00:00.000Z"),
    ("eu-west-1b", "40.2500", "2026-11-18T04:00:00.000Z"),
    ("eu-west-1a", "29.0000", "2026-11-17T05:00:00.000Z"),
)


def product(price: str = "98.3200000000", *, unit: str = "Hrs", region: str = "eu-west-1") -> str:
    attributes = {"instanceType": "p5.48xlarge", "regionCode": region, "operatingSystem": "Linux", "tenancy": "Shared"}
    dimension = {"unit": unit, "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": price}}
    terms = {"S.J": {"offerTermCode": "J", "sku": "S", "priceDimensions": {"S.J.6": dimension}}}
    reserved = {"S.R": {"priceDimensions": {"S.R.6": {**dimension, "pricePerUnit": {"USD": "50.0"}}}}}
    told = {
        "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": "S"},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": terms, "Reserved": reserved},
        "version": "20261101000000",
    }
    return json.dumps(told)


def listed(*products: str, token: str | None = None) -> dict[str, Any]:
    return {"FormatVersion": "aws_v1", "PriceList": list(products), **({"NextToken": token} if token else {})}


MIDNIGHT = 1_795_046_400.0
"""2026-11-19T00:00:00Z."""


def period(points: Mapping[int, float | str], resolution: str = "PT60M", *, hours: int = 24, day: int = 19) -> str:
    listed = "".join(
        f"<Point><position>{position}</position><price.amount>{price}</price.amount></Point>"
        for position, price in points.items()
    )
    end = f"2026-11-{day + hours // 24:02}T{hours % 24:02}:00Z"
    return (
        f"<Period><timeInterval><start>2026-11-{day:02}T00:00Z</start><end>{end}</end></timeInterval>"
        f"<resolution>{resolution}</resolution>{listed}</Period>"
    )


def series(*periods: str, curve: str = "A03", more: str = "", currency: str = "EUR", agreement: str = "A01") -> str:
    return (
        f"<TimeSeries><mRID>1</mRID><auction.type>A01</auction.type><businessType>A62</businessType>{more}"
        f"<contract_MarketAgreement.type>{agreement}</contract_MarketAgreement.type>"
        f"<currency_Unit.name>{currency}</currency_Unit.name><price_Measure_Unit.name>MWH</price_Measure_Unit.name>"
        f"<curveType>{curve}</curveType>{''.join(periods)}</TimeSeries>"
    )


def document(*all_series: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><Publication_MarketDocument '
        'xmlns="urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3">'
        f"<mRID>m</mRID><type>A44</type>{''.join(all_series)}</Publication_MarketDocument>"
    )


def acknowledgement(code: str, text: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Acknowledgement_MarketDocument '
        'xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"><mRID>a</mRID>'
        f"<Reason><code>{code}</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
    )
