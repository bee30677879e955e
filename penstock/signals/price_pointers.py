"""Prices out of a JSON document of any shape, by JSON pointers (RFC 6901). Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.signals.price_json import NoFigureError, figure_of, read_json
from penstock_policies.feeds import MappedFigure

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
"""RFC 6901, section 4: no leading zeros. Ten digits are more elements than fit the largest document."""


def mapped_prices(
    text: bytes, mapped: Sequence[MappedFigure], usd_per_unit: float | None
) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Return what the pointers lead to, in USD for each figure's basis, by key, and why other keys have no price.

    Args:
        text: the document.
        mapped: where it has which price.
        usd_per_unit: USD for one unit of the currency of figures that do not say they are in USD; None: not known.

    Raises:
        PriceDocumentError: the document is no JSON.

    """
    document = read_json(text)
    prices: dict[str, float] = {}
    refused: dict[str, str] = {}
    for figure in mapped:
        rate = 1.0 if figure.unit.in_usd else usd_per_unit
        try:
            if rate is None:
                raise NoFigureError("no rate for its currency")  # noqa: TRY301 - a refusal like the others
            prices[figure.key] = figure_of(value_at(document, figure.pointer), figure.unit.factor * rate)
        except NoFigureError as error:
            refused[figure.key] = f"{figure.pointer or 'the whole document'}: {error}"
    return prices, refused


def value_at(document: Any, pointer: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Return what a pointer leads to; the empty pointer leads to the whole document.

    Raises:
        NoFigureError: it leads nowhere, or is no pointer, which the policy loader refuses before.

    """
    start, *steps = pointer.split("/")
    if start:
        raise NoFigureError("not a JSON pointer")
    found = document
    for step in steps:
        # In this order (RFC 6901, section 4), or ~01 would become a slash.
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and _INDEX.fullmatch(name) and int(name) < len(found):
            found = found[int(name)]
        else:
            raise NoFigureError("nothing is there")
    return found
