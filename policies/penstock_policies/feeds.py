"""Where prices and carbon intensities come from, as an SRE writes it: source, shape, currency, and how long to believe.

The words only; fields that need or exclude one another are judged in :mod:`penstock_policies.feed_checks`.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from penstock_policies.feed_apis import (
    AwsPriceFigure,
    AwsSpotFigure,
    AzureFigure,
    Credentials,
    EntsoeFigure,
    Keyed,
    OpenCostFigure,
    Reach,
)
from penstock_policies.model import Model
from penstock_policies.quantities import Seconds

USD: Final = "USD"
"""What the engine reckons in, and what every rate is in."""


class FeedType(StrEnum):
    """How a feed is asked."""

    FILE = "file"
    HTTP = "http"
    OPENCOST = "opencost"
    AZURE = "azure"
    AWS_SPOT = "awsSpot"
    AWS_PRICE_LIST = "awsPriceList"
    ENTSOE = "entsoe"


API_TYPES: Final = frozenset(FeedType) - {FeedType.FILE, FeedType.HTTP}
"""Those that ask an API figure by figure, in place of reading a document."""
PUBLIC_TYPES: Final = API_TYPES - {FeedType.OPENCOST}
"""Those whose servers are on the internet, unless the policy says otherwise."""


class Basis(StrEnum):
    """What a figure, brought to USD, is a price of. All but tokens are turned into tokens by the engine."""

    TOKENS = "Mtok"
    GPU_HOUR = "GPU-hour"
    HOUR = "hour"
    KWH = "kWh"


_UNITS: Final[dict[str, tuple[Basis, float]]] = {
    "permilliontokens": (Basis.TOKENS, 1.0),
    "perthousandtokens": (Basis.TOKENS, 1e3),
    "pertoken": (Basis.TOKENS, 1e6),
    "pergpuhour": (Basis.GPU_HOUR, 1.0),
    "perhour": (Basis.HOUR, 1.0),
    "perkwh": (Basis.KWH, 1.0),
    "permwh": (Basis.KWH, 1e-3),
}


class FigureUnit(StrEnum):
    """What a figure of somebody else's document is a price of, and whether it says itself that it is in USD."""

    USD_PER_MILLION_TOKENS = "usdPerMillionTokens"
    USD_PER_THOUSAND_TOKENS = "usdPerThousandTokens"
    USD_PER_TOKEN = "usdPerToken"  # noqa: S105 - a unit, no secret
    USD_PER_GPU_HOUR = "usdPerGpuHour"
    USD_PER_HOUR = "usdPerHour"
    USD_PER_KWH = "usdPerKwh"
    USD_PER_MWH = "usdPerMwh"
    PER_MILLION_TOKENS = "perMillionTokens"
    PER_THOUSAND_TOKENS = "perThousandTokens"
    PER_TOKEN = "perToken"  # noqa: S105 - a unit, no secret
    PER_GPU_HOUR = "perGpuHour"
    PER_HOUR = "perHour"
    PER_KWH = "perKwh"
    PER_MWH = "perMwh"

    @property
    def in_usd(self) -> bool:
        """Whether the unit leaves no other currency; the others are in the feed's."""
        return self.value.startswith("usd")

    @property
    def basis(self) -> Basis:
        """What the figure is a price of."""
        return _UNITS[self.value.lower().removeprefix("usd")][0]

    @property
    def factor(self) -> float:
        """What turns a figure into one of its basis: a million tokens, a GPU-hour, an hour, a kilowatt hour."""
        return _UNITS[self.value.lower().removeprefix("usd")][1]


class MappedFigure(Model):
    """Where a JSON document of any shape has one price."""

    pointer: str
    """A JSON pointer (RFC 6901), such as ``/data/0/price``."""
    key: Annotated[str, Field(min_length=1)]
    """What clusters call the price by in ``cost.key``."""
    unit: FigureUnit
    """What the number is a price of; ``usdPer...`` is in USD, ``per...`` in the feed's ``currency``. A price of a
    GPU-hour, of an hour of a machine or of electricity becomes one of tokens by what the cluster declares."""


class CostFeedSpec(Model):
    """Where prices or carbon intensities come from.

    As ``{"prices": [{"key": ..., "usdPerMillionTokens": ...}]}`` or ``{"carbon": [{"key": ...,
    "gramsPerMillionTokens": ...}]}``, unless ``map`` or ``format`` says otherwise.
    """

    measures: Literal["price", "carbon"] = "price"
    """What its figures are."""

    type: FeedType
    """A document from a ``path`` or a ``url``, or a price API that Penstock knows."""
    path: str | None = None
    """For ``file``: relative to the policy directory, unless absolute."""
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """For ``http`` and ``opencost``; for the others in place of the provider's own address."""
    opencost: tuple[OpenCostFigure, ...] = ()
    """For ``opencost``: what is asked for. The ``url`` is what stands before ``/allocation``."""
    azure: tuple[AzureFigure, ...] = ()
    """For ``azure``: what is asked for."""
    aws_spot: tuple[AwsSpotFigure, ...] = ()
    """For ``awsSpot``: what is asked for."""
    aws_price_list: tuple[AwsPriceFigure, ...] = ()
    """For ``awsPriceList``: what is asked for."""
    entsoe: tuple[EntsoeFigure, ...] = ()
    """For ``entsoe``: what is asked for."""
    credentials: Credentials | None = None
    """Where the secret is. For ``http`` and ``opencost`` it is sent as a bearer token."""
    addresses: Reach | None = None
    """Which addresses the server may have. Omitted: public ones for cloud and market APIs, private ones too for the
    others."""
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
    refresh: Annotated[Seconds, Field(ge=0.1, le=86400)] | None = None
    """How often the prices are read. Omitted: every minute, and price APIs every ten minutes."""
    max_age: Annotated[Seconds, Field(ge=1)] = 3600.0
    """A price older than this is stale: it moves no traffic any more."""
    max_unchanged: Annotated[Seconds, Field(ge=1)] | None = None
    """A price read again and again without a change for this long is taken for frozen, and is stale. Omitted: a price
    may stay as it is for ever."""

    @property
    def usd_per_unit(self) -> float | None:
        """USD for one unit of the feed's currency; None where no rate is given, which the loader refuses."""
        return 1.0 if self.currency == USD else self.rates.get(self.currency)

    @property
    def period(self) -> float:
        """Seconds from one read to the next, the default filled in."""
        return self.refresh or (600.0 if self.type in API_TYPES else 60.0)

    @property
    def reach(self) -> Reach:
        """Which addresses the server may have, the default filled in."""
        if self.addresses is not None:
            return self.addresses
        return Reach.PUBLIC if self.type in PUBLIC_TYPES else Reach.PRIVATE

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys it can give a figure for; empty where only the document tells."""
        return tuple(key for key, _ in self._bases())

    def keys_by_field(self) -> Mapping[str, list[str]]:
        """List the keys of every block of figures, by its name in the file."""
        blocks: Mapping[str, Sequence[Keyed]] = {
            "map": self.figures,
            "opencost": self.opencost,
            "azure": self.azure,
            "awsSpot": self.aws_spot,
            "awsPriceList": self.aws_price_list,
            "entsoe": self.entsoe,
        }
        return {field: [figure.key for figure in figures] for field, figures in blocks.items() if figures}

    def bases(self) -> dict[str, Basis]:
        """Tell what each figure is a price of, by key; those that are not named are of tokens."""
        return dict(self._bases())

    def basis_of(self, key: str) -> Basis:
        """Tell what the figure of a key is a price of."""
        return self.bases().get(key, Basis.TOKENS)

    def _bases(self) -> Iterator[tuple[str, Basis]]:
        yield from ((figure.key, figure.unit.basis) for figure in self.figures)
        for cost in self.opencost:
            yield cost.key, FigureUnit(cost.unit).basis
        for price in self.azure:
            yield price.key, FigureUnit(price.unit).basis
        yield from ((figure.key, Basis.HOUR) for figure in self.aws_spot)
        yield from ((figure.key, Basis.HOUR) for figure in self.aws_price_list)
        yield from ((figure.key, Basis.KWH) for figure in self.entsoe)
