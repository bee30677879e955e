"""What traffic cost, kept by quarters of an hour: the statements behind the store's spending methods.

Amounts are only ever added, so that several writers (a leader and the one before it) never undo one another's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.state.tables import spend

BUCKET_SECONDS: Final = 900
"""Every time zone in use is a multiple of a quarter of an hour off UTC, so no bucket straddles anybody's midnight."""

# Both dialects understand it, and it is one statement for any number of rows.
_ADD: Final = text(
    "INSERT INTO spend (bucket, policy, cluster, usd, requests, prompt_tokens, output_tokens)"
    " VALUES (:bucket, :policy, :cluster, :usd, :requests, :prompt_tokens, :output_tokens)"
    " ON CONFLICT (bucket, policy, cluster) DO UPDATE SET usd = spend.usd + excluded.usd,"
    " requests = spend.requests + excluded.requests, prompt_tokens = spend.prompt_tokens + excluded.prompt_tokens,"
    " output_tokens = spend.output_tokens + excluded.output_tokens"
)


@dataclass(frozen=True, slots=True)
class Spent:
    """What some traffic came to."""

    usd: float = 0.0
    """At marginal prices, egress included."""
    requests: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.usd + other.usd,
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.output_tokens + other.output_tokens,
        )

    def times(self, factor: float) -> "Spent":
        """Return this, so many times."""
        return Spent(
            self.usd * factor, self.requests * factor, self.prompt_tokens * factor, self.output_tokens * factor
        )


Account = tuple[int, str, str]
"""When the bucket begins (Unix seconds), policy and cluster."""


async def add(connection: AsyncConnection, amounts: Mapping[Account, Spent]) -> None:
    """Add amounts to what is recorded, within the caller's writing transaction."""
    if not amounts:
        return
    await connection.execute(
        _ADD,
        [
            {
                "bucket": bucket,
                "policy": policy,
                "cluster": cluster,
                "usd": spent.usd,
                "requests": spent.requests,
                "prompt_tokens": spent.prompt_tokens,
                "output_tokens": spent.output_tokens,
            }
            for (bucket, policy, cluster), spent in sorted(amounts.items())
        ],
    )


async def totals(connection: AsyncConnection, since: float) -> dict[tuple[str, str], Spent]:
    """Sum what is recorded in buckets that begin at ``since`` (Unix seconds) or later, by policy and cluster."""
    columns = (spend.c.usd, spend.c.requests, spend.c.prompt_tokens, spend.c.output_tokens)
    rows = await connection.execute(
        select(spend.c.policy, spend.c.cluster, *(func.sum(column) for column in columns))
        .where(spend.c.bucket >= since)
        .group_by(spend.c.policy, spend.c.cluster)
    )
    return {(policy, cluster): Spent(*amounts) for policy, cluster, *amounts in rows}


async def prune(connection: AsyncConnection, before: float) -> int:
    """Remove buckets that begin before a time (Unix seconds), and return how many rows that were."""
    removed = await connection.execute(delete(spend).where(spend.c.bucket < before))
    return removed.rowcount
