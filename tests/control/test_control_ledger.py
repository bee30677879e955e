"""Money through the whole control plane: counted while it serves, kept over a restart, shown to operators."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from penstock.state.ledger import BUCKET_SECONDS
from penstock.state.store import Store
from tests.control.ledger_world import entries_of
from tests.control.serving_world import World, world

BUDGET = """
---
apiVersion: penstock/v1
kind: Budget
metadata: {name: fleet}
spec: {amount: 500, per: month}
"""
RECORDS = "spec: {match: {path: /v1/}, dataClass: restricted, clusters: [onprem]}"


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - asks over HTTP, where nothing wakes the asker
            await asyncio.sleep(0.02)


async def budgets(of: World) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await of.ask("/api/v1/budgets"))["items"]
    return items


async def test_a_budget_written_while_serving_knows_what_the_store_has_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        bucket = int(it.plane.now() // BUCKET_SECONDS) * BUCKET_SECONDS
        async with await Store.open(f"sqlite:///{tmp_path / 'state.db'}", it.plane.now) as store:
            await store.ledger.add(entries_of(bucket, usd=12.5))
            await store.ledger.add(entries_of(0, usd=99.0))
        assert await budgets(it) == []
        it.edit((RECORDS, RECORDS + BUDGET))

        async def known() -> bool:
            items = await budgets(it)
            return bool(items) and items[0]["standing"] is not None

        await until(known)
        (item,) = await budgets(it)
        assert (item["state"], item["standing"]["spentUsd"]) == ("within", 12.5)
        assert 'penstock_budget_spent_usd{budget="fleet"} 12.5' in await it.metrics()
        costs = await it.ask("/api/v1/costs?by=policy,cluster")
        assert [(item["policy"], item["cluster"]) for item in costs["items"]] == [("chat", "cloud")]
        assert costs["total"]["marginalUsd"] == 12.5


async def test_what_engines_say_of_themselves_reaches_the_decisions(tmp_path: Path) -> None:
    async with world(tmp_path) as it:

        async def heard() -> bool:
            return set(it.plane.observations().engines) == {"onprem", "cloud"}

        await until(heard)
        assert it.plane.observations().engines["onprem"].waiting == 0.0


async def test_an_operators_drain_is_in_force_when_it_is_answered(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        wish = {"cluster": "cloud", "reason": "test", "owner": "tester", "for": "1h", "force": True}
        async with it.http.post(f"http://127.0.0.1:{it.admin_port}/api/v1/drains", json=wish) as answer:
            assert answer.status == 201
        assert it.plane.decision is not None
        assert it.plane.decision.draining == {"cloud": 0.0}
