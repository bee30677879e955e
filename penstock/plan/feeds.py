"""Figures of cost feeds from the files that lie beside a policy directory, for feeds that nobody has read yet.

The control plane reads a new feed before it decides by it; a plan that did not would show the new clusters at the wrong
price. HTTP feeds are not asked: a plan runs where the feed need not be reachable.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from penstock.plan.inputs import Inputs
from penstock.signals.feeds import keys_wanted
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.price_reading import read_document
from penstock.signals.price_sources import file_source
from penstock.signals.readings import Reading
from penstock_policies.feeds import CostFeedSpec
from penstock_policies.observations import Intensity
from penstock_policies.policyset import PolicySet


@dataclass(frozen=True, slots=True)
class Fed:
    """Inputs with what could be read, and what could not."""

    inputs: Inputs
    unread: tuple[str, ...]
    """Feeds without a figure, with the reason, for people."""


def with_feeds(inputs: Inputs, policy: PolicySet, directory: Path, read: PolicySet | None) -> Fed:
    """Add the figures of a policy's feeds that ``inputs`` know nothing of, or knew by another specification.

    Args:
        inputs: what is known.
        policy: whose feeds to read.
        directory: what its files are relative to.
        read: the policy by which the feeds in ``inputs`` were read; None for the same.

    """
    seen = inputs.observations
    prices, rates, carbon = dict(seen.prices), dict(seen.rates), dict(seen.carbon)
    unread: list[str] = []
    wanted = keys_wanted(policy)
    for name, feed in sorted(policy.feeds.items()):
        known = (read or policy).feeds.get(name)
        if name in {**prices, **rates, **carbon} and known is not None and known.spec == feed.spec:
            continue
        try:
            reading = _read(feed.spec, directory, wanted.get(name, ()))
        except (PriceSourceError, PriceDocumentError) as error:
            unread.append(f"feed {name} is not read: {error}")
            continue
        if feed.spec.measures == "carbon":
            carbon[name] = {key: Intensity(inputs.at, grams) for key, grams in reading.figures.items()}
        else:
            at = dict.fromkeys(reading.figures, inputs.at)
            prices[name], rates[name] = reading.prices(feed.spec, at), reading.rates(feed.spec, at)
    observations = replace(seen, prices=prices, rates={name: by for name, by in rates.items() if by}, carbon=carbon)
    return Fed(replace(inputs, observations=observations), tuple(unread))


def _read(spec: CostFeedSpec, directory: Path, wanted: Iterable[str]) -> Reading:
    if spec.type != "file" or spec.path is None:
        raise PriceSourceError("plans read files alone")
    content = asyncio.run(file_source(spec.path, spec, directory).fetch())
    return read_document(content, spec, wanted)
