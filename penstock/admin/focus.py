"""The ledger as rows of FOCUS 1.2 (https://focus.finops.org/focus-specification/v1-2/), in CSV. Pure.

A row is of one hour and one policy, class, model, cluster and edge region, and charges its tokens. ``BilledCost``,
``ListCost`` and ``ContractedCost`` are the marginal cost, ``EffectiveCost`` is the amortized one. Hours in which a
cluster that is paid by the hour did nothing are rows of their own, which bill nothing and are effective all the same.

Nobody is billed by this: account, provider and invoice issuer are filled with what the specification does not let be
empty. Unit prices are means of the hour; columns that begin with ``x_`` are Penstock's own, as the specification has
it. Text that a spreadsheet would take for a formula gets an apostrophe before it.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from penstock.state.costs import Found, Idle, Line
from penstock.state.ledger import HOUR_SECONDS
from penstock_policies.words import Site

Field = str | float
Row = Mapping[str, Field]

_PROVIDERS: Final[Mapping[str, str]] = {Site.ON_PREM: "On-premises", Site.CLOUD: "Cloud", Site.EDGE: "Edge"}
_UNKNOWN: Final = "Unknown"
_TOKENS_PRICED_BY: Final = 1_000_000

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "Tags",
    "x_AllCloudCost",
    "x_AllCloudKeptCost",
    "x_AllOnPremCost",
    "x_AllOnPremKeptCost",
    "x_CachedPromptTokens",
    "x_EstimatedCost",
    "x_EstimatedRequests",
    "x_EstimatedTokens",
    "x_FailedRequests",
    "x_OutputTokens",
    "x_PromptTokens",
    "x_Requests",
    "x_UnmeteredRequests",
)


def header() -> str:
    """Return the line of column names."""
    return _lines([COLUMNS])


def rows(found: Found) -> str:
    """Return lines for a report by every part and hour; empty for an empty one."""
    charges = [*(_tokens(line) for line in found.lines), *(_hours(idle) for idle in found.idle)]
    return _lines([[_field(charge.get(column, "")) for column in COLUMNS] for charge in charges])


def _tokens(line: Line) -> Row:
    of, amounts = line.of, line.amounts
    tokens = amounts.prompt_tokens + amounts.output_tokens
    model = of["model"] or _UNKNOWN.lower()
    sku = f"tokens/{of['cluster']}/{model}"
    tags = {
        "penstock/policy": of["policy"],
        "penstock/class": of["data_class"],
        "penstock/model": of["model"],
        "penstock/site": of["site"],
        "penstock/edge-region": of["edge_region"],
    }
    return {
        **_common(line.hour, of["cluster"], of["site"], of["region"], tags),
        **_priced(amounts.usd, tokens / _TOKENS_PRICED_BY, f"{_TOKENS_PRICED_BY} Tokens"),
        "EffectiveCost": line.amortized_usd,
        "ConsumedQuantity": tokens,
        "ConsumedUnit": "Tokens",
        "ChargeDescription": f"Tokens of policy {of['policy']}, model {model}, at {of['cluster'] or 'no cluster'}",
        "ServiceName": "LLM inference",
        "SkuId": sku,
        "SkuPriceId": sku,
        "SkuMeter": "Tokens",
        "x_AllCloudCost": amounts.cloud_usd,
        "x_AllCloudKeptCost": amounts.cloud_kept_usd,
        "x_AllOnPremCost": amounts.on_prem_usd,
        "x_AllOnPremKeptCost": amounts.on_prem_kept_usd,
        "x_CachedPromptTokens": amounts.cached_prompt_tokens,
        "x_EstimatedCost": amounts.estimated_usd,
        "x_EstimatedRequests": amounts.estimated_requests,
        "x_EstimatedTokens": amounts.estimated_tokens,
        "x_FailedRequests": amounts.failed,
        "x_OutputTokens": amounts.output_tokens,
        "x_PromptTokens": amounts.prompt_tokens,
        "x_Requests": amounts.requests,
        "x_UnmeteredRequests": amounts.unmetered,
    }


def _hours(idle: Idle) -> Row:
    sku = f"idle-hours/{idle.cluster}"
    hours = idle.seconds / HOUR_SECONDS
    return {
        **_common(
            idle.hour, idle.cluster, idle.site, idle.region, {"penstock/site": idle.site, "penstock/idle": "true"}
        ),
        **_priced(0.0, hours, "Hours"),
        "EffectiveCost": idle.usd,
        "ConsumedQuantity": hours,
        "ConsumedUnit": "Hours",
        "ChargeDescription": f"Time in which {idle.cluster} served nothing",
        "ServiceName": "LLM inference, idle",
        "SkuId": sku,
        "SkuPriceId": sku,
        "SkuMeter": "Idle hours",
    }


def _common(hour: int | None, cluster: str, site: str, region: str, tags: Mapping[str, str]) -> Row:
    if hour is None:
        raise ValueError("a charge is of an hour")
    month = datetime.fromtimestamp(hour, UTC).replace(day=1, hour=0, minute=0)
    following = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    owner = _PROVIDERS.get(site, _UNKNOWN)
    return {
        "BillingAccountId": "penstock",
        "BillingAccountName": "Penstock",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _time(month),
        "BillingPeriodEnd": _time(following),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _time(datetime.fromtimestamp(hour, UTC)),
        "ChargePeriodEnd": _time(datetime.fromtimestamp(hour + HOUR_SECONDS, UTC)),
        "InvoiceIssuerName": owner,
        "ProviderName": owner,
        "PublisherName": owner,
        "RegionId": region,
        "RegionName": region,
        "ResourceId": cluster,
        "ResourceName": cluster,
        "ResourceType": "LLM cluster" if cluster else "",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "Tags": json.dumps({name: value for name, value in tags.items() if value}, ensure_ascii=False),
    }


def _priced(usd: float, quantity: float, unit: str) -> Row:
    price = usd / quantity if quantity > 0 else 0.0
    return {
        "BilledCost": usd,
        "ContractedCost": usd,
        "ListCost": usd,
        "ContractedUnitPrice": price,
        "ListUnitPrice": price,
        "PricingCategory": "Other",
        "PricingQuantity": quantity,
        "PricingUnit": unit,
    }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _field(value: Field) -> str:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    # A trillionth of a dollar is less than a thousandth of the cheapest token.
    return f"{value:.12f}".rstrip("0").rstrip(".")


def _lines(table: Iterable[Iterable[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(table)
    return written.getvalue()
