"""LiteLLM's price map, ``model_prices_and_context_window.json``: model name to what is known of the model. Pure.

Prices are USD a token. The price is ``output_cost_per_token``; what a prompt token costs of that is
``input_cost_per_token`` over it. Prices by tier (``..._above_200k_tokens``), by cache and by modality are not looked
at. Of thousands of models only those that clusters ask for are taken: the others would swell every recorded decision.

A model of a region has its region before its name (``eu.``), and a price of its own where that differs; where the map
lists none, the price without the region is taken, as LiteLLM itself does.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_json import NoFigureError, figure_of, read_json
from penstock.signals.readings import Reading, some

_PRICE: Final = "output_cost_per_token"
_PROMPT: Final = "input_cost_per_token"
_SAMPLE: Final = "sample_spec"
"""Not a model but the map's own explanation, with words where models have numbers, and a price of 0."""
_TOKENS: Final = 1e6
_REGIONS: Final = frozenset({"us", "us-gov", "eu", "apac", "jp", "au", "ca", "global"})


def litellm_prices(text: bytes, wanted: Iterable[str]) -> Reading:
    """Read the prices of the models asked for, in USD per million tokens.

    Raises:
        PriceDocumentError: it is not JSON, not such a map, or has none of the models.

    """
    document = read_json(text)
    if not isinstance(document, dict) or not any(isinstance(entry, dict) for entry in document.values()):
        raise PriceDocumentError("not a map of model names to prices")
    prices: dict[str, float] = {}
    ratios: dict[str, float] = {}
    refused: dict[str, str] = {}
    for model in wanted:
        try:
            entry = _entry(document, model)
            prices[model] = figure_of(entry[_PRICE], _TOKENS)
        except NoFigureError as error:
            refused[model] = str(error)
            continue
        ratio = _ratio(entry, prices[model])
        if ratio is not None:
            ratios[model] = ratio
    return some(prices, refused, ratios)


def _entry(document: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    region, _, plain = model.partition(".")
    names = [model, plain] if region in _REGIONS else [model]
    found = next((name for name in names if name != _SAMPLE and isinstance(document.get(name), dict)), None)
    if found is None:
        raise NoFigureError("no such model in the map")
    entry: Mapping[str, Any] = document[found]
    if _PRICE not in entry:
        raise NoFigureError(f"has no {_PRICE}")
    return entry


def _ratio(entry: Mapping[str, Any], price: float) -> float | None:
    """Give what a prompt token costs of a generated one; None where the map does not say, or generating is free."""
    if _PROMPT not in entry or price <= 0:
        return None
    try:
        return float(f"{figure_of(entry[_PROMPT], _TOKENS) / price:.6g}")
    except NoFigureError:
        # What prompts cost is the cluster's to say then; the price of the model stands.
        return None
