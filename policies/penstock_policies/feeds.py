"""Where prices and carbon intensities come from, as an SRE writes it: source, shape, currency, and how long to believe.

The words only; fields that need or exclude one another are judged in :mod:`penstock_policies.feed_checks`.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from penstock_policies.model import Model
from penstock_policies.quantities import Seconds

USD: Final = "USD"
"""What the engine reckons in, and what every rate is in."""


class FigureUnit(StrEnum):
    """What a figure of somebody else's document is a price of, and whether it says itself that it is in USD."""

    USD_PER_MILLION_TOKENS = "usdPerMillionTokens"
    USD_PER_THOUSAND_TOKENS = "usdPerThousandTokens"
    USD_PER_TOKEN = "usdPerToken"  # noqa: S105 - a unit, no secret
    PER_MILLION_TOKENS = "perMillionTokens"
    PER_THOUSAND_TOKENS = "perThousandTokens"
    PER_TOKEN = "perToken"  # noqa: S105 - a unit, no secret

    @property
    def in_usd(self) -> bool:
        """Whether the unit leaves no other currency; the others are in the feed's."""
        return self.value.startswith("usd")

    @property
    def per_million(self) -> float:
        """What turns a figure into one for a million tokens."""
        if self in {FigureUnit.USD_PER_TOKEN, FigureUnit.PER_TOKEN}:
            return 1e6
        return 1e3 if self in {FigureUnit.USD_PER_THOUSAND_TOKENS, FigureUnit.PER_THOUSAND_TOKENS} else 1.0


class MappedFigure(Model):
    """Where a JSON document of any shape has one price."""

    pointer: str
    """A JSON pointer (RFC 6901), such as ``/data/0/price``."""
    key: Annotated[str, Field(min_length=1)]
    """What clusters call the price by in ``cost.key``."""
    unit: FigureUnit
    """What the number is; ``usdPer...`` is in USD, ``per...`` in the feed's ``currency``."""


class CostFeedSpec(Model):
    """Where prices or carbon intensities come from.

    As ``{"prices": [{"key": ..., "usdPerMillionTokens": ...}]}`` or ``{"carbon": [{"key": ...,
    "gramsPerMillionTokens": ...}]}``, unless ``map`` or ``format`` says otherwise.
    """

    measures: Literal["price", "carbon"] = "price"
    """What its figures are."""

    type: Literal["file", "http"]
    """Whether ``path`` or ``url`` says where."""
    path: str | None = None
    """For ``file``: relative to the policy directory, unless absolute."""
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """For ``http``."""
    format: Literal["penstock", "litellm"] = "penstock"
    """Whose shape the document has: ``litellm`` is LiteLLM's ``model_prices_and_context_window.json``, whose keys are
    its names of models and whose price is that of an output token."""
    # `map` would shadow the built-in in this class.
    figures: Annotated[tuple[MappedFigure, ...], Field(alias="map")] = ()
    """Where a JSON document of any other shape has its prices; in place of ``format``."""
    currency: str = USD
    """Of the mapped figures whose unit does not say USD; three capital letters (ISO 4217)."""
    rates: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]] = Field(default_factory=dict)
    """Currency to the USD that one unit of it is worth."""
    refresh: Annotated[Seconds, Field(ge=0.1, le=86400)] = 60.0
    """How often the prices are read."""
    max_age: Annotated[Seconds, Field(ge=1)] = 3600.0
    """A price older than this is stale: it moves no traffic any more."""
    max_unchanged: Annotated[Seconds, Field(ge=1)] | None = None
    """A price read again and again without a change for this long is taken for frozen, and is stale. Omitted: a price
    may stay as it is for ever."""

    @property
    def usd_per_unit(self) -> float | None:
        """USD for one unit of the feed's currency; None where no rate is given, which the loader refuses."""
        return 1.0 if self.currency == USD else self.rates.get(self.currency)
