"""The words of the ledger: whose amounts, what they are, and what is added to it at once.

An entry is of one policy, model, cluster and edge region, for a quarter of an hour. Where the cluster stood is part of
it, so that a report of last year does not need the policies of then. What clusters cost by the hour, used or not,
accrues in entries of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import Final, NamedTuple

BUCKET_SECONDS: Final = 900
"""Every time zone in use is a multiple of a quarter of an hour off UTC, so no bucket straddles anybody's midnight."""
HOUR_SECONDS: Final = 3600


class LedgerKey(NamedTuple):
    """Whose amounts. A tuple, as flushes look up tens of thousands of them."""

    bucket: int
    """When the quarter of an hour begins, Unix seconds."""
    policy: str
    data_class: str
    model: str
    """``*`` where requests named none; empty where it is not known, as in rows from before there was a ledger."""
    cluster: str
    """Empty where none answered."""
    site: str
    region: str
    """The cluster's."""
    edge_region: str


class AccrualKey(NamedTuple):
    """Which cluster's time."""

    bucket: int
    cluster: str
    site: str
    region: str


# Not frozen, though nobody changes one: that would make each three times as dear, and there are tens of thousands.
@dataclass(slots=True)
class Amounts:
    """What some traffic came to. Money is USD at the marginal prices in force then, egress included."""

    requests: float = 0.0
    failed: float = 0.0
    """Of them, those that ended badly; they cost nothing unless they said tokens before they broke."""
    unmetered: float = 0.0
    """Of them, those answered well without saying their tokens, which are estimated."""
    prompt_tokens: float = 0.0
    cached_prompt_tokens: float = 0.0
    """Of the prompt tokens; as dear as the others here, though they are less work."""
    output_tokens: float = 0.0
    usd: float = 0.0
    work: float = 0.0
    """Generated tokens, and prompt tokens that were in no cache as ``promptPriceRatio`` weighs them: what the cluster's
    amortized cost is shared out by."""
    estimated_requests: float = 0.0
    """Of the requests, those that nobody counted: demand times share, as decided."""
    estimated_tokens: float = 0.0
    """Of all tokens, those that nobody counted."""
    estimated_usd: float = 0.0
    on_prem_usd: float = 0.0
    """What it would have cost at the cheapest lawful on-prem cluster that serves the model; what it did cost where
    there is none."""
    on_prem_kept_usd: float = 0.0
    """Of that, what is actual cost because there is no such cluster."""
    cloud_usd: float = 0.0
    cloud_kept_usd: float = 0.0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(*map(add, amounts_of(self), amounts_of(other)))

    def times(self, factor: float) -> "Amounts":
        """Return this, so many times."""
        return Amounts(*(each * factor for each in amounts_of(self)))


@dataclass(frozen=True, slots=True)
class Accrued:
    """What a cluster came to by the hour, used or not."""

    seconds: float = 0.0
    usd: float = 0.0

    def __add__(self, other: "Accrued") -> "Accrued":
        return Accrued(self.seconds + other.seconds, self.usd + other.usd)


@dataclass(frozen=True, slots=True)
class Entries:
    """What is added to the ledger at once."""

    amounts: Mapping[LedgerKey, Amounts]
    accrued: Mapping[AccrualKey, Accrued]

    def __bool__(self) -> bool:
        return bool(self.amounts or self.accrued)


AMOUNTS: Final = tuple(field.name for field in fields(Amounts))
ACCRUED: Final = tuple(field.name for field in fields(Accrued))

# dataclasses.astuple() copies deeply, ten times slower.
amounts_of: Final = attrgetter(*AMOUNTS)
accrued_of: Final = attrgetter(*ACCRUED)
