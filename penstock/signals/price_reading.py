"""What a feed's document says, whatever its shape: figures by key, and the keys it has none for. Pure.

One key without a figure does not take the others with it; a document with no figure at all is refused whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from penstock.signals.price_document import MOST_SHOWN, PriceDocumentError, parse_carbon, parse_prices
from penstock.signals.price_litellm import litellm_prices
from penstock.signals.price_pointers import mapped_prices
from penstock_policies.feeds import Basis, CostFeedSpec
from penstock_policies.observations import Price, Rate


@dataclass(frozen=True, slots=True)
class Reading:
    """A document that was read."""

    figures: Mapping[str, float]
    """Key to USD for what the figure is a price of, or to grams of CO2 equivalent for a million tokens."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Keys that were looked for in vain, with the reason."""
    prompt_ratios: Mapping[str, float] = field(default_factory=dict)
    """Key to what a prompt token costs of a generated one, where the document tells."""
    until: float | None = None
    """Unix time at which the figures are others without anybody being asked; None: they stand until the next read."""

    def prices(self, spec: CostFeedSpec, at: Mapping[str, float]) -> dict[str, Price]:
        """Give the prices of tokens, each as of its time."""
        return {
            key: Price(at[key], usd, self.prompt_ratios.get(key))
            for key, usd in self.figures.items()
            if spec.basis_of(key) is Basis.TOKENS
        }

    def rates(self, spec: CostFeedSpec, at: Mapping[str, float]) -> dict[str, Rate]:
        """Give the prices of something else, each as of its time."""
        return {
            key: Rate(at[key], usd, basis.value)
            for key, usd in self.figures.items()
            if (basis := spec.basis_of(key)) is not Basis.TOKENS
        }

    @property
    def trouble(self) -> str:
        """What was refused, in few words for people; empty when nothing was."""
        return _words(self.refused)


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
        reading = _some(*mapped_prices(document, spec.figures, spec.usd_per_unit))
    elif spec.format == "litellm":
        reading = _some(*litellm_prices(document, wanted))
    else:
        reading = Reading(parse_prices(document))
    missing = {key: "not in the document" for key in wanted if key not in {**reading.figures, **reading.refused}}
    return replace(reading, refused={**reading.refused, **missing}) if missing else reading


def _some(figures: Mapping[str, float], refused: Mapping[str, str]) -> Reading:
    if refused and not figures:
        raise PriceDocumentError(_words(refused))
    return Reading(figures, refused)


def _words(refused: Mapping[str, str]) -> str:
    shown = [f"{key}: {why}" for key, why in sorted(refused.items())]
    more = f"; and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return "; ".join(shown[:MOST_SHOWN]) + more
