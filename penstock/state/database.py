"""Opening a database, its transactions, and its failures in our own words. Knows SQL dialects, but no tables.

Transactions are of two kinds. A *reading* one sees one consistent state. A *writing* one holds the database's single
writers' lock from its first statement (SQLite: ``BEGIN IMMEDIATE``; PostgreSQL: an advisory lock), so that
read-then-write inside it, such as appending to the audit chain, is safe among tasks, processes and replicas.

Work on the database runs in tasks of its own (:meth:`Database.finish`): a caller may be cancelled at any moment, a
transaction is not, and :meth:`Database.close` waits for those under way. Cancelling a driver that works in a thread
leaves the thread behind, and at the end of the program no event loop for it to report to.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final, TypeVar

import aiosqlite
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from penstock.state.errors import StoreCorruptError, StoreError, StoreUnavailableError, StoreUrlError

R = TypeVar("R")

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

BUSY_SECONDS: Final = 5.0
"""How long to wait for another process's write. Ours take milliseconds; more means that something is stuck."""

_WRITING: Final = "penstock_writing"
_WRITERS_LOCK: Final = 0x70656E73746F636B
"""Key of the PostgreSQL advisory lock: "penstock" in ASCII."""

# https://www.sqlite.org/rescode.html: the primary codes that mean that the file itself is bad.
_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, failed: Callable[[], None]) -> None:
        """Prepare, without touching the database. ``failed`` is called at every failure of the database.

        Raises:
            StoreUrlError: the URL is none, or of a database this installation has no driver for.

        """
        parsed = _parse(url)
        self._failed = failed
        self.shown: Final = parsed.render_as_string(hide_password=True)
        self.dialect: Final = parsed.get_backend_name()
        try:
            self._engine = _engine(parsed)
        except (ImportError, NoSuchModuleError, ArgumentError) as error:
            raise StoreUrlError("open", self.shown, f"no driver for it: {error}") from error
        # Waiting here instead of in SQLite keeps our own tasks in turn and its busy time-out for other processes.
        self._writers = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        # A database in memory has one connection, which can be in one transaction only.
        self._readers: AbstractAsyncContextManager[None] = self._writers if _in_memory(parsed) else nullcontext()

    @asynccontextmanager
    async def reading(self, operation: str) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction that only reads."""
        async with (
            self._readers,
            self._failures_as_ours(operation),
            self._engine.connect() as connection,
            connection.begin(),
        ):
            yield connection

    @asynccontextmanager
    async def writing(self, operation: str) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction that writes alone; committed at its end, undone if its body raises."""
        async with self._writers, self._failures_as_ours(operation), self._engine.connect() as connection:
            writing = await connection.execution_options(**{_WRITING: True})
            async with writing.begin():
                if self.dialect == "postgresql":
                    await writing.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS_LOCK})
                yield writing

    async def finish(self, work: Coroutine[Any, Any, R]) -> R:
        """Do work to its end and return what it does, even if nobody waits for it any more."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for what is under way, then close every connection."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._engine.dispose()

    @asynccontextmanager
    async def _failures_as_ours(self, operation: str) -> AsyncIterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            self._failed()
            raise self._ours(operation, error) from error
        except Exception as error:
            # While connecting, SQLAlchemy lets asyncpg's own errors through as they are.
            if type(error).__module__.partition(".")[0] != "asyncpg":
                raise
            self._failed()
            raise StoreUnavailableError(operation, self.shown, str(error)) from error

    def _ours(self, operation: str, error: SQLAlchemyError | OSError) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        code = _sqlite_code(cause)
        if code is not None and code & 0xFF in _CORRUPT:
            return StoreCorruptError(operation, self.shown, f"{cause}; restore it, or move it away to begin anew")
        return StoreUnavailableError(operation, self.shown, str(cause))


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text is not repeated: a URL that does not parse may still hold a password.
        raise StoreUrlError("open", "state URL", "expected sqlite:///FILE or postgresql://USER@HOST/NAME") from error
    driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
    return parsed.set(drivername=driver)


def _in_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True)
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}}
    if _in_memory(url):
        # Every connection to a database in memory is another database, so there may be only one.
        options["poolclass"] = StaticPool
    engine = create_async_engine(url, **options)
    event.listen(engine.sync_engine, "do_connect", _use_our_connect)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _use_our_connect(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:  # noqa: ANN401 - SQLAlchemy's event gives them no types
    parameters["async_creator_fn"] = _connect_sqlite


async def _connect_sqlite(*arguments: Any, **parameters: Any) -> aiosqlite.Connection:  # noqa: ANN401 - passed on as they are
    """Open a connection; when that fails, wait until its thread is gone too.

    aiosqlite does not wait, and its thread then reports to an event loop that a failing program has closed by then.
    """
    connection = aiosqlite.connect(*arguments, **parameters)
    thread = connection._thread  # noqa: SLF001 - there is no public way to it; SQLAlchemy reaches for it as well
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        await asyncio.to_thread(thread.join)
        raise


def _prepare_sqlite(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own type has no name here
    # The driver's own transactions begin at the first write, too late for read-then-write; _begin_sqlite does it.
    connection.isolation_level = None
    cursor = connection.cursor()
    # WAL: readers and the writer do not wait for each other. FULL: an operator who was told "drained" may rely on it
    # after a power cut; at a few writes a second the fsync costs nothing that matters.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _sqlite_code(error: BaseException) -> int | None:
    """SQLite's result code behind an error, through the wrappers SQLAlchemy puts round the driver's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, sqlite3.Error):
            return getattr(seen, "sqlite_errorcode", None)
        seen = seen.__cause__ or seen.__context__
    return None
