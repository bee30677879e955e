"""LiteLLM's price map, ``model_prices_and_context_window.json``: model name to what is known of the model. Pure.

Prices are USD a token. The price is ``output_cost_per_token``; what a prompt token costs of that stays the cluster's
own ``promptPriceRatio``. Prices by tier (``..._above_200k_tokens``), by cache and by modality are not looked at. Of
thousands of models only those that clusters ask for are taken: the others would swell every recorded decision.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_json import NoFigureError, figure_of, read_json

_PRICE: Final = "output_cost_per_token"
_SAMPLE: Final = "sample_spec"
"""Not a model but the map's own explanation, with words where models have numbers, and a price of 0."""
_TOKENS: Final = 1e6


def litellm_prices(text: bytes, wanted: Iterable[str]) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Return the prices of the models asked for, in USD per million tokens, and why others have none.

    Raises:
        PriceDocumentError: it is not JSON, or not such a map.

    """
    document = read_json(text)
    if not isinstance(document, dict) or not any(isinstance(entry, dict) for entry in document.values()):
        raise PriceDocumentError("not a map of model names to prices")
    prices: dict[str, float] = {}
    refused: dict[str, str] = {}
    for model in wanted:
        entry = None if model == _SAMPLE else document.get(model)
        try:
            if not isinstance(entry, dict):
                raise NoFigureError("no such model in the map")  # noqa: TRY301 - a refusal like the others
            if _PRICE not in entry:
                raise NoFigureError(f"has no {_PRICE}")  # noqa: TRY301 - a refusal like the others
            prices[model] = figure_of(entry[_PRICE], _TOKENS)
        except NoFigureError as error:
            refused[model] = str(error)
    return prices, refused
