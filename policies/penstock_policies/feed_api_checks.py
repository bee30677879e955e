"""Does a feed that asks a price API make sense by itself? Its block of figures, its address, its credentials."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from penstock_policies.catalogue import Written
from penstock_policies.feed_apis import AzureFigure, OpenCostFigure, Reach
from penstock_policies.feeds import API_TYPES, PUBLIC_TYPES, CostFeedSpec, FeedType
from penstock_policies.problems import Path, Problem, listed
from penstock_policies.quantities import format_duration
from penstock_policies.schema import CostFeed

_AWS: Final = frozenset({FeedType.AWS_SPOT, FeedType.AWS_PRICE_LIST})
_WITH_TOKEN: Final = frozenset({FeedType.HTTP, FeedType.OPENCOST, FeedType.ENTSOE})
_LEAST_PERIOD: Final = 300.0
"""Seconds: spot prices move within minutes at most, list prices within months, electricity is published once a day."""


def check_api(feed: Written[CostFeed]) -> Iterator[Problem]:
    """Tell what keeps an API from being asked, or its answer from being understood."""
    spec = feed.document.spec
    yield from _blocks(feed, spec)
    yield from _credentials(feed, spec)
    if spec.type not in API_TYPES:
        return
    for field, given in (("format", "format" in spec.model_fields_set), ("map", bool(spec.figures))):
        if given:
            yield feed.problem(
                ("spec", field), f"a feed of type {spec.type} has a shape of its own", expected=f"no {field}"
            )
    if spec.measures == "carbon":
        yield feed.problem(("spec", "measures"), f"a feed of type {spec.type} tells prices alone", expected="price")
    if spec.type in _AWS and spec.currency != "USD":
        yield feed.problem(("spec", "currency"), "AWS's prices are in USD", expected="no currency")
    if spec.type in PUBLIC_TYPES and spec.period < _LEAST_PERIOD:
        yield feed.warning(
            ("spec", "refresh"),
            "asks a public service more often than its prices change",
            expected=f"at least {format_duration(_LEAST_PERIOD)}",
        )
    for index, figure in enumerate(spec.opencost):
        yield from _opencost(feed, ("spec", "opencost", index), figure)
    for index, price in enumerate(spec.azure):
        yield from _azure(feed, ("spec", "azure", index), price)


def _blocks(feed: Written[CostFeed], spec: CostFeedSpec) -> Iterator[Problem]:
    blocks: Mapping[FeedType, tuple[str, Sequence[object]]] = {
        FeedType.OPENCOST: ("opencost", spec.opencost),
        FeedType.AZURE: ("azure", spec.azure),
        FeedType.AWS_SPOT: ("awsSpot", spec.aws_spot),
        FeedType.AWS_PRICE_LIST: ("awsPriceList", spec.aws_price_list),
        FeedType.ENTSOE: ("entsoe", spec.entsoe),
    }
    for kind, (field, figures) in blocks.items():
        if spec.type is kind and not figures:
            yield feed.problem(
                ("spec", "type"), f"a feed of type {kind} without figures", expected=f"spec.{field} with at least one"
            )
        if spec.type is not kind and figures:
            yield feed.problem(
                ("spec", field),
                f"a feed of type {spec.type} has no {field}",
                expected=f"spec.type {kind}, or no {field}",
            )


def _credentials(feed: Written[CostFeed], spec: CostFeedSpec) -> Iterator[Problem]:
    given = spec.credentials
    path: Path = ("spec", "credentials")
    if given is None:
        if spec.type is FeedType.ENTSOE:
            yield feed.problem(
                ("spec", "type"), "ENTSO-E is asked with a token", expected="spec.credentials with env or file"
            )
        return
    if spec.type in _AWS:
        if given.file is None or given.env is not None:
            yield feed.problem(
                path,
                "AWS's credentials are a key and its secret",
                expected="file, a shared credentials file; or no credentials for the variables AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
            )
        return
    if spec.type not in _WITH_TOKEN:
        yield feed.problem(
            path,
            f"a feed of type {spec.type} has no credentials",
            expected=f"none, or a type of {listed(sorted(_WITH_TOKEN | _AWS))}",
        )
    elif (given.env is None) == (given.file is None):
        yield feed.problem(path, "credentials are in one place", expected="env or file, and not both")
    if "profile" in given.model_fields_set:
        yield feed.problem((*path, "profile"), "only AWS's files have profiles", expected="no profile")
    if spec.url is not None and spec.url.startswith("http://") and spec.reach is not Reach.PRIVATE:
        yield feed.warning(
            ("spec", "url"), "the credentials travel unencrypted", expected="https, or spec.addresses private"
        )


def _opencost(feed: Written[CostFeed], path: Path, figure: OpenCostFigure) -> Iterator[Problem]:
    if figure.path == "/assets":
        if figure.aggregate is not None:
            yield feed.problem((*path, "aggregate"), "assets are taken node by node", expected="name or label")
        if (figure.name is None) == (figure.label is None):
            yield feed.problem(path, "assets are picked by name or by label", expected="one of name and label")
        return
    if figure.label is not None:
        yield feed.problem((*path, "label"), "only assets are picked by label", expected="aggregate: label:NAME")
    for field in ("aggregate", "name"):
        if getattr(figure, field) is None:
            yield feed.problem(path, f"an allocation without {field}", expected="aggregate and name")


def _azure(feed: Written[CostFeed], path: Path, figure: AzureFigure) -> Iterator[Problem]:
    if figure.sku is None and figure.meter is None:
        yield feed.problem(path, "a price without sku and meter", expected="sku (armSkuName), meter, or both")
