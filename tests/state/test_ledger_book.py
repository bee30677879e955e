"""What the store remembers of what traffic came to."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql

from penstock.state import Store, ledger_report
from penstock.state.costs import PARTS, Asked, Found
from penstock.state.errors import StoreError
from penstock.state.ledger import BUCKET_SECONDS, HOUR_SECONDS, AccrualKey, Accrued, Amounts, Entries, LedgerKey
from penstock.state.tables import CURRENT_VERSION

NOON = 1_700_000_100 // HOUR_SECONDS * HOUR_SECONDS
EARLIER = NOON - BUCKET_SECONDS
SPEND = (
    "CREATE TABLE spend (bucket BIGINT NOT NULL, policy VARCHAR(63) NOT NULL, cluster VARCHAR(63) NOT NULL,"
    " usd DOUBLE PRECISION NOT NULL, requests DOUBLE PRECISION NOT NULL, prompt_tokens DOUBLE PRECISION NOT NULL,"
    " output_tokens DOUBLE PRECISION NOT NULL, PRIMARY KEY (bucket, policy, cluster))"
)
"""As versions 2 to 4 had it."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite:///{tmp_path / 'penstock.db'}", lambda: float(NOON)) as opened:
        yield opened


def row(bucket: int = NOON, cluster: str = "cloud", policy: str = "chat", model: str = "m") -> LedgerKey:
    site = "cloud" if cluster == "cloud" else "on_prem"
    return LedgerKey(bucket, policy, "public", model, cluster, site, "eu-central", "eu-west")


def time_of(bucket: int, usd: float, cluster: str = "onprem") -> Entries:
    return Entries({}, {AccrualKey(bucket, cluster, "on_prem", "eu-central"): Accrued(BUCKET_SECONDS, usd)})


def traffic(amounts: dict[LedgerKey, Amounts]) -> Entries:
    return Entries(amounts, {})


def asked(*by: str, hourly: bool = False, since: int = 0, most: int = 1000) -> Asked:
    return Asked(since, NOON + 86400, by or PARTS, hourly=hourly, most=most)


def usd_by(found: Found, part: str) -> dict[str, float]:
    return {line.of[part]: line.amounts.usd for line in found.lines}


async def test_amounts_add_up_by_row(store: Store) -> None:
    await store.ledger.add(traffic({row(): Amounts(requests=10, prompt_tokens=1000, output_tokens=200, usd=1.5)}))
    await store.ledger.add(
        traffic(
            {
                row(): Amounts(requests=5, failed=1, prompt_tokens=500, output_tokens=100, usd=0.5),
                row(cluster="onprem"): Amounts(requests=20, usd=0.1),
                row(EARLIER): Amounts(requests=70, usd=7.0),
            }
        )
    )
    assert await store.ledger.spent_since(NOON) == {("chat", "cloud"): 2.0, ("chat", "onprem"): 0.1}
    assert (await store.ledger.spent_since(0))["chat", "cloud"] == 9.0
    assert await store.ledger.spent_since(NOON + BUCKET_SECONDS) == {}
    (cloud, home) = (await store.ledger.report(asked("cluster", since=NOON))).lines
    assert cloud.of == {"cluster": "cloud"}
    assert cloud.amounts == Amounts(requests=15, failed=1, prompt_tokens=1500, output_tokens=300, usd=2.0)
    assert home.amounts.usd == 0.1


async def test_many_rows_are_added_all_of_them_or_none(store: Store) -> None:
    many = {row(model=f"m{n:04}"): Amounts(requests=1, usd=1.0) for n in range(1234)}
    await store.ledger.add(traffic(many))
    # SQLite takes NaN for NULL, and refuses it.
    with pytest.raises(StoreError):
        await store.ledger.add(traffic({**many, row(model="n"): Amounts(requests=float("nan"))}))
    found = await store.ledger.report(asked("model", most=5000))
    assert [line.amounts.requests for line in found.lines] == [1.0] * 1234
    assert await store.ledger.spent_since(0) == {("chat", "cloud"): 1234.0}


async def test_nothing_is_a_fine_amount_to_add(store: Store) -> None:
    await store.ledger.add(Entries({}, {}))
    assert await store.ledger.report(asked()) == Found((), ())


async def test_the_ledger_survives_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    async with await Store.open(url, lambda: float(NOON)) as first:
        await first.ledger.add(traffic({row(): Amounts(usd=1.5)}))
    async with await Store.open(url, lambda: float(NOON)) as second:
        assert (await second.ledger.spent_since(0))["chat", "cloud"] == 1.5


async def test_two_writers_never_undo_one_anothers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    async with (
        await Store.open(url, lambda: float(NOON)) as one,
        await Store.open(url, lambda: float(NOON)) as other,
    ):
        for _ in range(5):
            await asyncio.gather(*(each.ledger.add(traffic({row(): Amounts(usd=1.0)})) for each in (one, other)))
        assert (await one.ledger.spent_since(0))["chat", "cloud"] == 10.0


async def test_a_report_tells_hours_and_parts_apart_and_says_when_there_is_more(store: Store) -> None:
    await store.ledger.add(
        traffic(
            {
                row(): Amounts(usd=1.0),
                row(NOON + BUCKET_SECONDS): Amounts(usd=2.0),
                row(EARLIER): Amounts(usd=4.0),
                row(EARLIER, policy="batch"): Amounts(usd=8.0),
            }
        )
    )
    found = await store.ledger.report(asked("policy", hourly=True))
    assert [(line.hour, line.of["policy"], line.amounts.usd) for line in found.lines] == [
        (NOON - HOUR_SECONDS, "batch", 8.0),
        (NOON - HOUR_SECONDS, "chat", 4.0),
        (NOON, "chat", 3.0),
    ]
    assert usd_by(await store.ledger.report(asked("policy")), "policy") == {"batch": 8.0, "chat": 7.0}
    assert len((await store.ledger.report(asked("policy", hourly=True, most=1))).lines) == 2


async def test_a_clusters_time_is_shared_out_by_work_hour_by_hour(store: Store) -> None:
    await store.ledger.add(
        traffic(
            {
                row(cluster="onprem", policy="chat"): Amounts(usd=0.1, work=300.0),
                row(NOON + BUCKET_SECONDS, cluster="onprem", policy="batch"): Amounts(usd=0.2, work=100.0),
                row(cluster="cloud"): Amounts(usd=5.0, work=1e6),
            }
        )
    )
    for quarter in range(4):
        await store.ledger.add(time_of(NOON + quarter * BUCKET_SECONDS, usd=2.0))
    found = await store.ledger.report(asked("policy", "cluster"))
    assert {tuple(line.of.values()): line.amortized_usd for line in found.lines} == {
        ("batch", "onprem"): 2.0,
        ("chat", "cloud"): 5.0,
        ("chat", "onprem"): 6.0,
    }
    assert found.idle == ()


async def test_an_hour_without_work_is_idle_and_does_not_vanish(store: Store) -> None:
    await store.ledger.add(traffic({row(cluster="onprem"): Amounts(requests=3, failed=3)}))
    await store.ledger.add(traffic({row(NOON - HOUR_SECONDS, cluster="onprem"): Amounts(work=1.0)}))
    await store.ledger.add(time_of(NOON, usd=2.0))
    await store.ledger.add(time_of(EARLIER, usd=3.0))
    found = await store.ledger.report(asked("policy"))
    assert [line.amortized_usd for line in found.lines] == [3.0]
    assert [(idle.cluster, idle.site, idle.usd, idle.seconds) for idle in found.idle] == [
        ("onprem", "on_prem", 2.0, BUCKET_SECONDS)
    ]
    (idle,) = (await store.ledger.report(asked("policy", hourly=True))).idle
    assert idle.hour == NOON


async def test_old_hours_are_forgotten_when_told_to_and_quarters_before_them(store: Store) -> None:
    await store.ledger.add(traffic({row(): Amounts(usd=1.0), row(EARLIER): Amounts(usd=2.0), row(0): Amounts(usd=4.0)}))
    await store.ledger.add(time_of(0, usd=1.0))
    assert await store.ledger.prune(NOON - HOUR_SECONDS, NOON) == 4
    assert await store.ledger.spent_since(0) == {("chat", "cloud"): 1.0}
    found = await store.ledger.report(asked("cluster"))
    assert usd_by(found, "cluster") == {"cloud": 3.0}
    assert found.idle == ()


async def test_spending_of_before_the_ledger_is_carried_over_as_estimates(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    async with await Store.open(f"sqlite:///{path}", lambda: float(NOON)):
        pass
    with closing(sqlite3.connect(path)) as connection:
        for statement in (
            "DROP TABLE ledger",
            "DROP TABLE accrual",
            "DROP TABLE quarters",
            SPEND,
            "INSERT INTO spend VALUES (1699999200, 'chat', 'cloud', 0.5, 4, 400, 100)",
            "INSERT INTO spend VALUES (1700000100, 'chat', 'cloud', 1.0, 6, 600, 100)",
            "DELETE FROM schema_version WHERE version > 4",
        ):
            connection.execute(statement)
        connection.commit()
    async with await Store.open(f"sqlite:///{path}", lambda: float(NOON)) as store:
        (line,) = (await store.ledger.report(asked())).lines
        assert line.of == dict.fromkeys(PARTS, "") | {"policy": "chat", "cluster": "cloud"}
        assert line.amounts == Amounts(
            requests=10,
            prompt_tokens=1000,
            output_tokens=200,
            usd=1.5,
            work=1200,
            estimated_requests=10,
            estimated_tokens=1200,
            estimated_usd=1.5,
            on_prem_usd=1.5,
            on_prem_kept_usd=1.5,
            cloud_usd=1.5,
            cloud_kept_usd=1.5,
        )
        assert await store.ledger.spent_since(NOON + BUCKET_SECONDS) == {("chat", "cloud"): 1.0}
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "spend" not in names
        assert connection.execute("SELECT MAX(version) FROM schema_version").fetchone() == (CURRENT_VERSION,)


async def test_a_database_of_the_first_version_is_given_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "older.db"
    async with await Store.open(f"sqlite:///{path}", lambda: float(NOON)):
        pass
    with closing(sqlite3.connect(path)) as connection:
        for statement in (
            "DROP TABLE ledger",
            "DROP TABLE accrual",
            "DROP TABLE quarters",
            "DROP TABLE decision_inputs",
            "DROP TABLE figures",
            "DROP TABLE notices",
            "DELETE FROM schema_version WHERE version > 1",
        ):
            connection.execute(statement)
        connection.commit()
    async with await Store.open(f"sqlite:///{path}", lambda: float(NOON)) as store:
        await store.ledger.add(traffic({row(): Amounts(usd=1.0)}))
        assert await store.ledger.spent_since(0) == {("chat", "cloud"): 1.0}


def test_postgresql_can_be_asked_too() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    lines = str(ledger_report.lines_statement(asked("policy", hourly=True)).compile(dialect=dialect))
    assert "GROUP BY ledger.hour, ledger.policy ORDER BY ledger.hour, ledger.policy" in lines
    idle = str(ledger_report.idle_statement(asked("policy")).compile(dialect=dialect))
    assert "GROUP BY accrual.cluster, accrual.site, accrual.region" in idle
