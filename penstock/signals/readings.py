"""What was read of a feed, whatever its shape: figures by key, and the keys it has none for. Pure.

One key without a figure does not take the others with it; a document with no figure at all is refused whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock.signals.price_document import MOST_SHOWN, PriceDocumentError
from penstock.signals.price_series import Series
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
    series: Mapping[str, Series] = field(default_factory=dict)
    """Key to figures that were published for hours to come."""
    until: float | None = None
    """Unix time at which the figures may be others with nobody being asked; None: they stand until the next read."""

    def as_of(self, now: float) -> "Reading":
        """Give the reading with the figures that hold at a moment."""
        if not self.series:
            return self
        found = {key: one.at(now) for key, one in self.series.items()}
        missing = {key: "no price was published for this hour" for key, usd in found.items() if usd is None}
        changes = [change for one in self.series.values() if (change := one.next_change(now)) is not None]
        return replace(
            self,
            figures={**self.figures, **{key: usd for key, usd in found.items() if usd is not None}},
            refused={**self.refused, **missing},
            until=min(changes, default=None),
        )

    def prices(self, spec: CostFeedSpec, at: Mapping[str, float]) -> dict[str, Price]:
        """Give the prices of tokens, each as of its time."""
        bases = spec.bases()
        return {
            key: Price(at[key], usd, self.prompt_ratios.get(key))
            for key, usd in self.figures.items()
            if bases.get(key, Basis.TOKENS) is Basis.TOKENS
        }

    def rates(self, spec: CostFeedSpec, at: Mapping[str, float]) -> dict[str, Rate]:
        """Give the prices of something else, each as of its time."""
        bases = spec.bases()
        return {
            key: Rate(at[key], usd, basis.value)
            for key, usd in self.figures.items()
            if (basis := bases.get(key, Basis.TOKENS)) is not Basis.TOKENS
        }

    @property
    def trouble(self) -> str:
        """What was refused, in few words for people; empty when nothing was."""
        return _words(self.refused)


def some(
    figures: Mapping[str, float], refused: Mapping[str, str], prompt_ratios: Mapping[str, float] | None = None
) -> Reading:
    """Make a reading of what was found and what was not.

    Raises:
        PriceDocumentError: nothing was found.

    """
    if refused and not figures:
        raise PriceDocumentError(_words(refused))
    return Reading(figures, refused, prompt_ratios or {})


def _words(refused: Mapping[str, str]) -> str:
    shown = [f"{key}: {why}" for key, why in sorted(refused.items())]
    more = f"; and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return "; ".join(shown[:MOST_SHOWN]) + more
