"""A steady stream of requests through an edge, while something happens to it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.e2e.edge import Edge


@dataclass
class Tally:
    """What became of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    served_by: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many requests ended."""
        return sum(self.statuses.values()) + len(self.errors)

    @property
    def failed(self) -> list[str]:
        """Everything that was not a 200."""
        return [f"status {status} x{count}" for status, count in self.statuses.items() if status != 200] + self.errors


@asynccontextmanager
async def traffic(edge: Edge, *, clients: int = 8, port: int | None = None, tokens: int = 20) -> AsyncIterator[Tally]:
    """Clients that each send one request after another, from the start of the block to its end."""
    tally = Tally()
    stopping = asyncio.Event()

    async def client() -> None:
        while not stopping.is_set():
            try:
                status, headers, _ = await edge.chat(port=port, tokens=tokens)
            except (aiohttp.ClientError, TimeoutError) as error:
                tally.errors.append(f"{type(error).__name__}: {error}")
                continue
            tally.statuses[status] += 1
            tally.served_by[headers.get("x-penstock-cluster", "")] += 1
            if status != 200:
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield tally
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


async def served(edge: Edge, tally: Tally, count: int) -> None:
    """Wait until so many more requests have ended."""
    wanted = tally.total + count

    async def enough() -> bool:
        return tally.total >= wanted

    await edge.until(enough, f"not {count} more requests")
