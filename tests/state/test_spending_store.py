"""What the store remembers of spending."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.state import Store
from penstock.state.spending import BUCKET_SECONDS, Spent

NOON = 1_700_000_100.0 // BUCKET_SECONDS * BUCKET_SECONDS
EARLIER = int(NOON) - BUCKET_SECONDS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite:///{tmp_path / 'penstock.db'}", lambda: NOON) as opened:
        yield opened


async def test_amounts_add_up_by_bucket_policy_and_cluster(store: Store) -> None:
    await store.add_spending({(int(NOON), "chat", "cloud"): Spent(1.5, 10, 1000, 200)})
    await store.add_spending(
        {
            (int(NOON), "chat", "cloud"): Spent(0.5, 5, 500, 100),
            (int(NOON), "chat", "onprem"): Spent(0.1, 20, 2000, 400),
            (EARLIER, "chat", "cloud"): Spent(7.0, 70, 7000, 1400),
        }
    )
    assert await store.spending_since(NOON) == {
        ("chat", "cloud"): Spent(2.0, 15, 1500, 300),
        ("chat", "onprem"): Spent(0.1, 20, 2000, 400),
    }
    assert (await store.spending_since(0))[("chat", "cloud")] == Spent(9.0, 85, 8500, 1700)
    assert await store.spending_since(NOON + BUCKET_SECONDS) == {}


async def test_nothing_is_a_fine_amount_to_add(store: Store) -> None:
    await store.add_spending({})
    assert await store.spending_since(0) == {}


async def test_spending_survives_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    async with await Store.open(url, lambda: NOON) as first:
        await first.add_spending({(int(NOON), "chat", "cloud"): Spent(1.5, 10, 1000, 200)})
    async with await Store.open(url, lambda: NOON) as second:
        assert (await second.spending_since(0))[("chat", "cloud")].usd == 1.5


async def test_old_spending_is_forgotten_when_told_to(store: Store) -> None:
    await store.add_spending(
        {(int(NOON), "chat", "cloud"): Spent(1.0), (EARLIER, "chat", "cloud"): Spent(2.0), (0, "a", "b"): Spent(4.0)}
    )
    assert await store.prune_spending(NOON) == 2
    assert await store.spending_since(0) == {("chat", "cloud"): Spent(1.0)}


async def test_a_database_of_the_first_version_is_given_the_table(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    async with await Store.open(f"sqlite:///{path}", lambda: NOON):
        pass
    with closing(sqlite3.connect(path)) as connection:
        for statement in (
            "DROP TABLE spend",
            "DROP TABLE decision_inputs",
            "DROP TABLE figures",
            "DROP TABLE notices",
            "DELETE FROM schema_version WHERE version > 1",
        ):
            connection.execute(statement)
        connection.commit()
    async with await Store.open(f"sqlite:///{path}", lambda: NOON) as store:
        await store.add_spending({(int(NOON), "chat", "cloud"): Spent(1.0)})
        assert await store.spending_since(0) == {("chat", "cloud"): Spent(1.0)}
