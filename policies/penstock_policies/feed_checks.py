"""Does a cost feed make sense by itself? Fields that need or exclude one another, pointers, currencies."""

import re
from collections.abc import Iterator
from typing import Final

from penstock_policies.catalogue import Written
from penstock_policies.feed_api_checks import check_api
from penstock_policies.feeds import API_TYPES, USD, CostFeedSpec, FeedType
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.quantities import format_duration
from penstock_policies.schema import CostFeed
from penstock_policies.suggestions import closest

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
"""RFC 6901, section 3."""
_STEP: Final = re.compile(r"[^.\[\]/$]+")
"""A name or number in a path as jq, JavaScript or JSONPath write it."""
_WITH_CURRENCY: Final = API_TYPES
"""What is not in USD by itself; where it is all the same, the type's own check says so."""
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def check_feed(feed: Written[CostFeed]) -> Iterator[Problem]:
    """Tell what keeps a feed from being read, or its figures from being believed, whatever it answers."""
    yield from _source(feed)
    yield from check_api(feed)
    yield from _shape(feed)
    for index, figure in enumerate(feed.document.spec.figures):
        path: Path = ("spec", "map", index)
        yield from _pointer(feed, (*path, "pointer"), figure.pointer)
    yield from _money(feed)
    yield from _ages(feed)


def _source(feed: Written[CostFeed]) -> Iterator[Problem]:
    spec = feed.document.spec
    needed = {FeedType.FILE: "path", FeedType.HTTP: "url", FeedType.OPENCOST: "url"}.get(spec.type)
    values = {"path": spec.path, "url": spec.url}
    if needed is not None and not values[needed]:
        yield feed.problem(("spec", "type"), f"a feed of type {spec.type} without {needed}", expected=f"spec.{needed}")
    other = "url" if spec.type is FeedType.FILE else "path"
    if values[other] is not None:
        yield feed.problem(
            ("spec", other), f"a feed of type {spec.type} has no {other}", expected=f"spec.{needed or 'url'} alone"
        )
    if spec.type is FeedType.FILE and spec.addresses is not None:
        yield feed.problem(("spec", "addresses"), "a file has no address", expected="no addresses")
    if spec.url is not None and "@" in spec.url.split("/")[2]:
        yield feed.warning(
            ("spec", "url"), "a policy is no place for a password", expected="spec.credentials with env or file"
        )


def _shape(feed: Written[CostFeed]) -> Iterator[Problem]:
    """Judge whose shape the document has. Of carbon there is but Penstock's own."""
    spec = feed.document.spec
    if spec.figures and "format" in spec.model_fields_set:
        yield feed.problem(("spec", "format"), "a feed with both map and format", expected="one of them")
    if "figures" in spec.model_fields_set and not spec.figures:
        yield feed.problem(("spec", "map"), "the map is empty", expected="a pointer, key and unit, or no map")
    if spec.measures == "carbon":
        for field, given in (("map", bool(spec.figures)), ("format", spec.format != "penstock")):
            if given:
                yield feed.problem(
                    ("spec", field), f"a feed that measures carbon has no {field}", expected=f"no {field}"
                )


def _pointer(feed: Written[CostFeed], path: Path, pointer: str) -> Iterator[Problem]:
    if _POINTER.fullmatch(pointer):
        return
    steps = [step.strip("'\"") for step in _STEP.findall(pointer)]
    # A stray tilde is the one mistake that slashes do not mend.
    meant = pointer.replace("~", "~0") if pointer.startswith("/") else "".join(f"/{step}" for step in steps)
    yield feed.problem(
        path,
        f"malformed value {shown(pointer)}",
        expected="a JSON pointer such as /data/0/price, with ~1 for / and ~0 for ~ in a name",
        suggestion=meant if _POINTER.fullmatch(meant) else "",
    )


def _money(feed: Written[CostFeed]) -> Iterator[Problem]:
    spec = feed.document.spec
    for currency in spec.rates:
        path: Path = ("spec", "rates", currency)
        if currency == USD:
            yield feed.problem(path, "rates are in USD", expected="other currencies alone")
        elif not _CURRENCY.fullmatch(currency):
            yield feed.problem(
                path,
                f"malformed key {shown(currency)}",
                expected="a currency of three capital letters, such as EUR",
                suggestion=currency.upper() if _CURRENCY.fullmatch(currency.upper()) else "",
            )
    if spec.usd_per_unit is None:
        known = [USD, *sorted(code for code in spec.rates if code != USD and _CURRENCY.fullmatch(code))]
        yield feed.problem(
            ("spec", "currency"),
            f"no rate is given for the currency {shown(spec.currency)}",
            expected=f"one of {listed(known)}, or its USD a unit in spec.rates",
            suggestion=closest(spec.currency, known),
        )
    elif spec.currency != USD:
        yield from _in_currency(feed, spec)


def _in_currency(feed: Written[CostFeed], spec: CostFeedSpec) -> Iterator[Problem]:
    """Refuse a currency where the figures say that they are in USD: which of the two to believe would be a guess."""
    if not spec.figures and spec.type not in _WITH_CURRENCY:
        yield feed.problem(
            ("spec", "currency"),
            f"the document says itself that it is in {'grams' if spec.measures == 'carbon' else USD}",
            expected="a currency only with map",
        )
    for index, figure in enumerate(spec.figures):
        if figure.unit.in_usd:
            plain = figure.unit.value.removeprefix("usd")
            yield feed.problem(
                ("spec", "map", index, "unit"),
                f"a figure in USD in a feed in {spec.currency}",
                expected=f"a unit without a currency, or spec.currency {USD}",
                suggestion=plain[:1].lower() + plain[1:],
            )


def _ages(feed: Written[CostFeed]) -> Iterator[Problem]:
    spec = feed.document.spec
    if spec.max_age < spec.period:
        yield feed.warning(
            ("spec", "maxAge"),
            "every price is stale before the next refresh",
            expected="a maxAge of at least spec.refresh",
        )
    if spec.max_unchanged is not None and spec.max_unchanged < spec.max_age:
        yield feed.problem(
            ("spec", "maxUnchanged"),
            f"a price that is still believed for a maxAge of {format_duration(spec.max_age)} would be frozen already",
            expected="at least spec.maxAge",
        )
