"""From a feed's specification to what reads it: a document from one place, or a conversation with an API.

A reader is asked by one task at a time. It remembers what spares a fetch, and hands out whole readings or an error.
"""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from penstock.signals.asking import Allowance, Asker
from penstock.signals.conversation import Conversation, hold
from penstock.signals.credentials import Keyring
from penstock.signals.feed_credentials import aws_credentials, token_of
from penstock.signals.price_aws_list import ask_aws_list
from penstock.signals.price_aws_spot import ask_aws_spot
from penstock.signals.price_azure import AZURE_PRICES, ask_azure
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_entsoe import ENTSOE, ask_entsoe
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.price_opencost import ask_opencost
from penstock.signals.price_reading import read_document
from penstock.signals.price_sources import HttpSource, PriceSource, bearer, file_source, most_bytes
from penstock.signals.readings import Reading
from penstock_policies.feed_apis import Keyed
from penstock_policies.feeds import API_TYPES, CostFeedSpec, FeedType

READ_SECONDS: Final = 60.0
"""For the whole of a conversation, pauses included."""
MOST_ANSWERS: Final = 200
"""Of a conversation: pages, and what was asked again."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""Of a conversation's answers together."""
_LARGE: Final = 256 * 1024
"""Bytes of a document that take some milliseconds to read: too long for the event loop."""


_F = TypeVar("_F", bound=Keyed)


class FeedReader(Protocol):
    """Something that reads a feed."""

    async def read(self) -> Reading:
        """Read it whole.

        Raises:
            PriceSourceError: it could not be had.
            PriceDocumentError: it could, and cannot be read.

        """
        ...


@dataclass(slots=True)
class DocumentReader:
    """Reads one document; one that did not change is not read again."""

    source: PriceSource
    spec: CostFeedSpec
    wanted: AbstractSet[str]
    _last: Reading | None = None

    async def read(self) -> Reading:
        """Fetch the document and read it."""
        try:
            document = await self.source.fetch()
            if document is not None:
                self._last = await self._read(document)
        except (PriceSourceError, PriceDocumentError):
            self.source.forget()
            raise
        if self._last is None:
            raise PriceSourceError("the server says that nothing changed, at the first time of asking")
        return self._last

    async def _read(self, document: bytes) -> Reading:
        if len(document) > _LARGE:
            return await asyncio.to_thread(read_document, document, self.spec, self.wanted)
        return read_document(document, self.spec, self.wanted)


@dataclass(frozen=True, slots=True)
class ApiReader:
    """Holds a conversation with an API at each reading."""

    spec: CostFeedSpec
    keyring: Keyring
    wanted: AbstractSet[str]
    asker: Asker
    clock: Callable[[], float]

    async def read(self) -> Reading:
        """Ask for every figure that clusters want."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await hold(await self._conversation(), self.asker, Allowance(MOST_BYTES, MOST_ANSWERS))
        except TimeoutError as error:
            raise PriceSourceError(f"not answered whole within {READ_SECONDS:g} s") from error

    async def _conversation(self) -> Conversation:
        spec, now, rate = self.spec, self.clock(), self.spec.usd_per_unit or 0.0
        match spec.type:
            case FeedType.OPENCOST:
                given = spec.credentials
                token = "" if given is None else (await token_of(given, self.keyring)).reveal()
                return ask_opencost(spec.url or "", self._wanted(spec.opencost), rate, bearer(token), token)
            case FeedType.AZURE:
                figures = self._wanted(spec.azure)
                return ask_azure(spec.url or AZURE_PRICES, figures, spec.currency, rate, now)
            case FeedType.AWS_SPOT:
                credentials = await aws_credentials(spec.credentials, self.keyring)
                return ask_aws_spot(spec.url, self._wanted(spec.aws_spot), credentials, now)
            case FeedType.AWS_PRICE_LIST:
                credentials = await aws_credentials(spec.credentials, self.keyring)
                return ask_aws_list(spec.url, self._wanted(spec.aws_price_list), credentials, now)
            case FeedType.ENTSOE if spec.credentials is not None:
                token = (await token_of(spec.credentials, self.keyring)).reveal()
                figures_of = self._wanted(spec.entsoe)
                return ask_entsoe(
                    spec.url or ENTSOE, figures_of, token, currency=spec.currency, usd_per_unit=rate, now=now
                )
        raise PriceSourceError(f"a {spec.type} feed that cannot be asked")

    def _wanted(self, figures: Sequence[_F]) -> list[_F]:
        return [figure for figure in figures if figure.key in self.wanted]


def reader_of(
    spec: CostFeedSpec,
    base: Path,
    wanted: AbstractSet[str],
    asker: Asker,
    clock: Callable[[], float],
    *,
    keyring: Keyring,
) -> FeedReader:
    """Make what reads a feed; relative paths of documents are below ``base``, secrets come from ``keyring``.

    Raises:
        PriceSourceError: the specification names no source, which the policy loader refuses before.

    """
    if spec.type in API_TYPES:
        return ApiReader(spec, keyring, wanted, asker, clock)
    if spec.type is FeedType.FILE and spec.path is not None:
        return DocumentReader(file_source(spec.path, spec, base), spec, wanted)
    if spec.type is FeedType.HTTP and spec.url is not None:
        given = spec.credentials
        token = None if given is None else lambda: token_of(given, keyring)
        return DocumentReader(HttpSource(spec.url, asker, most_bytes(spec), token), spec, wanted)
    raise PriceSourceError(f"a {spec.type} feed without its {'path' if spec.type is FeedType.FILE else 'url'}")
