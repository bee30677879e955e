"""Reading a feed's document by the shape that its specification gives it. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from penstock.signals.price_document import parse_carbon, parse_prices
from penstock.signals.price_litellm import litellm_prices
from penstock.signals.price_pointers import mapped_prices
from penstock.signals.readings import Reading, some
from penstock_policies.feeds import CostFeedSpec


def read_document(document: bytes, spec: CostFeedSpec, wanted: Iterable[str]) -> Reading:
    """Read a feed's document.

    Args:
        document: as it came.
        spec: whose shape it has, and in which currency it is.
        wanted: the keys that clusters ask for.

    Raises:
        PriceDocumentError: it is not of that shape, or has no figure at all.

    """
    wanted = sorted(wanted)
    if spec.measures == "carbon":
        reading = Reading(parse_carbon(document))
    elif spec.figures:
        reading = some(*mapped_prices(document, spec.figures, spec.usd_per_unit))
    elif spec.format == "litellm":
        reading = litellm_prices(document, wanted)
    else:
        reading = Reading(parse_prices(document))
    missing = {key: "not in the document" for key in wanted if key not in {**reading.figures, **reading.refused}}
    return replace(reading, refused={**reading.refused, **missing}) if missing else reading
