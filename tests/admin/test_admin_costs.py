"""``/api/v1/costs`` as programs call it."""

import asyncio
import csv
import io
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest

from penstock.admin import focus
from penstock.admin.costs import MOST_LINES, PARTS
from penstock.admin.focus import COLUMNS
from penstock.state.costs import Asked, Found, Line
from penstock.state.ledger import HOUR_SECONDS, Amounts
from tests.admin.conftest import Api
from tests.admin.costs_world import CLOUD, HOUR, ON_PREM, REPORT, line
from tests.admin.fake_control import NOW, FakeControlPlane

THIS_HOUR = int(NOW) // HOUR_SECONDS * HOUR_SECONDS


def coarse(found: Found, *parts: str) -> Found:
    """The same lines as they come for fewer parts, without hours."""
    lines = tuple(replace(each, hour=None, of={part: each.of[part] for part in parts}) for each in found.lines)
    return Found(lines, tuple(replace(each, hour=None) for each in found.idle))


async def test_costs_are_told_by_part_with_what_is_estimated_and_what_they_would_have_been(
    api: Api, control: FakeControlPlane
) -> None:
    control.found = coarse(REPORT, "cluster", "policy")
    control.clock = NOW + 600
    body = (await api.get("/api/v1/costs?by=cluster,policy")).json
    assert control.asked == [
        Asked(THIS_HOUR - 86400, THIS_HOUR + 3600, ("cluster", "policy"), hourly=False, most=MOST_LINES)
    ]
    cloud, home, _ = body["items"]
    assert (cloud["cluster"], cloud["policy"], "hour" in cloud) == ("cloud-eu-west", "chat", False)
    assert home["requests"] == 100
    assert home["tokens"] == {"prompt": 90_000, "cachedPrompt": 30_000, "output": 10_000}
    assert home["marginalUsd"] == 0.002
    assert home["amortizedUsd"] == 8.56
    assert home["usdPerMillionTokens"] == {"marginal": pytest.approx(0.02), "amortized": pytest.approx(85.6)}
    assert home["estimated"] == {"requests": 0, "tokens": 1000, "usd": 0.00002, "tokenShare": 0.01}
    assert home["whatIf"]["allCloud"] == {"usd": 0.09, "keptUsd": 0}
    assert body["idle"] == [
        {"cluster": "onprem-ams", "site": "on_prem", "clusterRegion": "eu-west", "hours": 0.5, "usd": 4.28}
    ]
    total = body["total"]
    assert total["marginalUsd"] == pytest.approx(0.047)
    assert total["amortizedUsd"] == pytest.approx(8.605)
    assert total["amortizedWithIdleUsd"] == pytest.approx(12.885)
    assert total["estimated"]["tokenShare"] == pytest.approx(51 / 150)
    assert total["whatIf"]["allOnPrem"]["usd"] == pytest.approx(0.003)


async def test_hours_are_told_apart_when_asked_for(api: Api, control: FakeControlPlane) -> None:
    control.found = Found((Line(HOUR, {"edge_region": "eu-west"}, CLOUD, 0.045),), ())
    body = (await api.get("/api/v1/costs?by=region&step=hour&since=2h&until=1h")).json
    assert control.asked[0].hourly
    assert body["since"] == datetime.fromisoformat(body["since"]).strftime("%Y-%m-%dT%H:00:00.000Z")
    assert (body["items"][0]["hour"], body["items"][0]["region"]) == ("2027-01-15T07:00:00.000Z", "eu-west")


async def test_a_time_without_traffic_has_no_price_a_token(api: Api) -> None:
    body = (await api.get("/api/v1/costs")).json
    assert body["items"] == []
    assert body["total"]["usdPerMillionTokens"] == {"marginal": None, "amortized": None}
    assert body["total"]["estimated"]["tokenShare"] is None


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("by=clusters", "unknown part 'clusters' (did you mean 'cluster'?); expected some of policy, class"),
        ("by=cluster,policy,cluster", "'cluster' is given twice"),
        ("by=,", "expected some of policy, class"),
        ("since=yesterday", "since: expected a moment such as"),
        ("since=1e308", "since: expected a moment such as"),
        ("until=253402300800", "until: expected a moment such as"),
        ("since=1h&until=2h", "is after until"),
        ("since=500d", "kept for 400 days"),
        ("until=2030-01-01", "expected a moment that has passed"),
        ("step=day", "step: Input should be 'none' or 'hour'"),
        ("sinse=1h", "did you mean 'since'?"),
        ("by=cluster&by=policy", "by: given twice"),
    ],
)
async def test_what_cannot_be_asked_is_said_in_words(api: Api, query: str, says: str) -> None:
    answer = await api.get(f"/api/v1/costs?{query}")
    assert answer.status == 422
    assert says in answer.json["detail"]


async def test_more_lines_than_an_answer_holds_are_refused_and_not_cut(api: Api, control: FakeControlPlane) -> None:
    control.found = Found((Line(None, {"cluster": "c"}, Amounts(), 0.0),) * (MOST_LINES + 1), ())
    answer = await api.get("/api/v1/costs")
    assert answer.status == 422
    assert "more than 5000 lines" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/api/v1/costs", "/api/v1/costs.csv"])
async def test_a_store_that_is_away_is_said(api: Api, control: FakeControlPlane, path: str) -> None:
    control.store_fails = True
    answer = await api.get(path)
    assert answer.status == 503
    assert answer.json["type"] == "urn:penstock:problem:store-unavailable"


# FOCUS 1.2: the columns that must be there, and those that may hold nothing.
MANDATORY = {
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
}
NEVER_NULL = MANDATORY - {"ChargeClass"} | {"SkuId", "SkuPriceId", "ListUnitPrice", "ContractedUnitPrice"}
NUMBERS = {name for name in COLUMNS if name.endswith(("Cost", "Quantity", "UnitPrice", "Tokens", "Requests"))}


async def exported(api: Api, control: FakeControlPlane) -> list[dict[str, str]]:
    control.found = REPORT
    answer = await api.get("/api/v1/costs.csv?since=1h&until=1h")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_the_export_is_shaped_as_focus_has_it(api: Api, control: FakeControlPlane) -> None:
    rows = await exported(api, control)
    assert len(rows) == 4
    assert set(rows[0]) >= MANDATORY
    for row in rows:
        assert all(row[name] for name in NEVER_NULL)
        assert all(float(row[name]) >= 0 for name in NUMBERS if row[name])
        assert row["BillingCurrency"] == "USD"
        assert row["ChargeCategory"] == "Usage"
        assert row["ServiceCategory"] == "AI and Machine Learning"
        start, end, opens, closes = (
            datetime.strptime(row[name], "%Y-%m-%dT%H:%M:%S%z")
            for name in ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd")
        )
        assert (end - start).total_seconds() == HOUR_SECONDS
        assert opens <= start < end <= closes
        assert (opens.day, opens.hour, closes.day, closes.hour) == (1, 0, 1, 0)
        for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
            assert float(row[price]) * float(row["PricingQuantity"]) == pytest.approx(float(row[cost]))
        assert isinstance(json.loads(row["Tags"]), dict)
    assert all(name.startswith("x_") or name in COLUMNS for name in rows[0])


async def test_the_export_sums_to_the_ledger(api: Api, control: FakeControlPlane) -> None:
    rows = await exported(api, control)
    assert sum(float(row["BilledCost"]) for row in rows) == pytest.approx(ON_PREM.usd + CLOUD.usd)
    assert sum(float(row["EffectiveCost"]) for row in rows) == pytest.approx(0.045 + 8.56 + 4.28)
    tokens = [float(row["ConsumedQuantity"]) for row in rows if row["ConsumedUnit"] == "Tokens"]
    assert sum(tokens) == 150_000
    idle = rows[-1]
    assert (idle["ConsumedUnit"], idle["ConsumedQuantity"], idle["BilledCost"]) == ("Hours", "0.5", "0")


async def test_nothing_in_the_export_is_taken_for_a_formula(api: Api, control: FakeControlPlane) -> None:
    for row in await exported(api, control):
        assert not any(value.startswith(("=", "+", "-", "@")) for value in row.values())


async def test_an_export_reads_hour_by_hour_and_every_part(api: Api, control: FakeControlPlane) -> None:
    control.clock = NOW + 600
    lines = (await api.get("/api/v1/costs.csv?since=2h")).text.splitlines()
    assert lines == [",".join(COLUMNS)]
    assert [each.since for each in control.asked] == [THIS_HOUR - 7200, THIS_HOUR - 3600, THIS_HOUR]
    assert {each.by for each in control.asked} == {tuple(PARTS.values())}


async def test_an_export_that_cannot_be_ended_breaks_off_and_never_seems_whole(
    api: Api, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reading = control.costs

    async def fails_later(asked: Asked) -> Found:
        control.store_fails = len(control.asked) >= 2
        return await reading(asked)

    monkeypatch.setattr(control, "costs", fails_later)
    async with asyncio.timeout(20):
        with pytest.raises(aiohttp.ClientPayloadError):
            await api.get("/api/v1/costs.csv?since=5h")
    assert "export of costs broken off" in caplog.text


async def test_an_hour_of_a_large_fleet_is_exported_beside_the_event_loop_and_whole(
    api: Api, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    writing = focus.rows

    def rows(found: Found) -> str:
        threads.add(threading.get_ident())
        return writing(found)

    monkeypatch.setattr(focus, "rows", rows)
    control.found = Found(tuple(line(f"p{n}", "onprem-fra", ON_PREM, 1.0) for n in range(2500)), REPORT.idle)
    text = (await api.get("/api/v1/costs.csv?since=1h&until=1h")).text
    told = [row["ChargeDescription"] for row in csv.DictReader(io.StringIO(text))]
    assert len(told) == len(set(told)) == 2501
    assert threading.get_ident() not in threads


def test_december_is_billed_until_january() -> None:
    hour = int(datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp())
    text = focus.rows(Found((line("chat", "cloud-eu-west", CLOUD, 0.045, hour=hour),), ()))
    (row,) = csv.DictReader(io.StringIO(focus.header() + text))
    assert row["BillingPeriodEnd"] == row["ChargePeriodEnd"] == "2027-01-01T00:00:00Z"
