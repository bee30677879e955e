"""The tables, and the steps from one version of them to the next.

Times are Unix seconds. JSON is kept as text, because hashes and replays need it byte for byte.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    select,
)

metadata: Final = MetaData()

# SQLite gives numbers by itself only to a column declared exactly INTEGER.
_Number = BigInteger().with_variant(Integer(), "sqlite")

schema_version: Final = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("applied_at", Double, nullable=False),
)

drains: Final = Table(
    "drains",
    metadata,
    Column("cluster", String(63), primary_key=True),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("ramp", Double, nullable=False),
)

decisions: Final = Table(
    "decisions",
    metadata,
    Column("sequence", _Number, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", Double, nullable=False, index=True),
    Column("material_digest", String(64), nullable=False),
    Column("policy_digest", String(64), nullable=False),
    Column("json", Text, nullable=False),
)

policies: Final = Table(
    "policies",
    metadata,
    Column("sequence", _Number, primary_key=True, autoincrement=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("at", Double, nullable=False),
    Column("files", Text, nullable=False),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("sequence", _Number, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

audit_head: Final = Table(
    "audit_head",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("sequence", _Number, nullable=False),
    Column("digest", String(64), nullable=False),
)
"""One row: the number and digest of the last audit entry."""

decision_inputs: Final = Table(
    "decision_inputs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("entry", _Number, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""What a decision was made of, compressed; its digest stands in the audit log too, in the entry of that number."""

figures: Final = Table(
    "figures",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("policy_digest", String(64), nullable=False),
    Column("decision", LargeBinary, nullable=False),
    Column("inputs_digest", String(64), nullable=False),
    Column("inputs", LargeBinary, nullable=False),
)
"""Decisions that differ from the recorded one before them in figures alone, and what they were made of, compressed."""

_AMOUNTS: Final = (
    "requests",
    "failed",
    "unmetered",
    "prompt_tokens",
    "cached_prompt_tokens",
    "output_tokens",
    "usd",
    "work",
    "estimated_requests",
    "estimated_tokens",
    "estimated_usd",
    "on_prem_usd",
    "on_prem_kept_usd",
    "cloud_usd",
    "cloud_kept_usd",
)

ledger: Final = Table(
    "ledger",
    metadata,
    Column("hour", _Number, primary_key=True, autoincrement=False),
    Column("policy", String(63), primary_key=True),
    Column("data_class", String(16), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("cluster", String(63), primary_key=True),
    Column("site", String(16), primary_key=True),
    Column("region", String(63), primary_key=True),
    Column("edge_region", String(63), primary_key=True),
    *(Column(name, Double, nullable=False) for name in _AMOUNTS),
)
"""What traffic came to in the hour that begins at ``hour``."""

accrual: Final = Table(
    "accrual",
    metadata,
    Column("hour", _Number, primary_key=True, autoincrement=False),
    Column("cluster", String(63), primary_key=True),
    Column("site", String(16), primary_key=True),
    Column("region", String(63), primary_key=True),
    Column("seconds", Double, nullable=False),
    Column("usd", Double, nullable=False),
)
"""What clusters came to by the hour, used or not, in that hour."""

quarters: Final = Table(
    "quarters",
    metadata,
    Column("bucket", _Number, primary_key=True, autoincrement=False),
    Column("policy", String(63), primary_key=True),
    Column("cluster", String(63), primary_key=True),
    Column("usd", Double, nullable=False),
)
"""What traffic cost in the quarter of an hour that begins at ``bucket``, for budgets."""

notices: Final = Table(
    "notices",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("json", Text, nullable=False),
)
"""Machines that were announced to go away."""


def _first(connection: Connection) -> None:
    metadata.create_all(connection, tables=[drains, decisions, policies, audit, audit_head])


def _second(connection: Connection) -> None:
    connection.exec_driver_sql(
        "CREATE TABLE spend (bucket BIGINT NOT NULL, policy VARCHAR(63) NOT NULL, cluster VARCHAR(63) NOT NULL,"
        " usd DOUBLE PRECISION NOT NULL, requests DOUBLE PRECISION NOT NULL, prompt_tokens DOUBLE PRECISION NOT NULL,"
        " output_tokens DOUBLE PRECISION NOT NULL, PRIMARY KEY (bucket, policy, cluster))"
    )
    binary = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    connection.exec_driver_sql(
        "CREATE TABLE decision_inputs (id VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL, entry BIGINT NOT NULL,"
        f" data {binary} NOT NULL, PRIMARY KEY (id))"
    )


def _third(connection: Connection) -> None:
    binary = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    connection.exec_driver_sql(
        "CREATE TABLE figures (id VARCHAR(64) NOT NULL, at DOUBLE PRECISION NOT NULL,"
        f" policy_digest VARCHAR(64) NOT NULL, decision {binary} NOT NULL, inputs_digest VARCHAR(64) NOT NULL,"
        f" inputs {binary} NOT NULL, PRIMARY KEY (id))"
    )
    connection.exec_driver_sql("CREATE INDEX ix_figures_at ON figures (at)")


def _fourth(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE notices (id VARCHAR(128) NOT NULL, json TEXT NOT NULL, PRIMARY KEY (id))")


def _fifth(connection: Connection) -> None:
    # In SQLite a long key is kept twice unless the table is the index.
    end = ") WITHOUT ROWID" if connection.dialect.name == "sqlite" else ")"
    connection.exec_driver_sql(
        "CREATE TABLE ledger (hour BIGINT NOT NULL, policy VARCHAR(63) NOT NULL, data_class VARCHAR(16) NOT NULL,"
        " model VARCHAR(256) NOT NULL, cluster VARCHAR(63) NOT NULL, site VARCHAR(16) NOT NULL,"
        " region VARCHAR(63) NOT NULL, edge_region VARCHAR(63) NOT NULL, requests DOUBLE PRECISION NOT NULL,"
        " failed DOUBLE PRECISION NOT NULL, unmetered DOUBLE PRECISION NOT NULL,"
        " prompt_tokens DOUBLE PRECISION NOT NULL, cached_prompt_tokens DOUBLE PRECISION NOT NULL,"
        " output_tokens DOUBLE PRECISION NOT NULL, usd DOUBLE PRECISION NOT NULL, work DOUBLE PRECISION NOT NULL,"
        " estimated_requests DOUBLE PRECISION NOT NULL, estimated_tokens DOUBLE PRECISION NOT NULL,"
        " estimated_usd DOUBLE PRECISION NOT NULL, on_prem_usd DOUBLE PRECISION NOT NULL,"
        " on_prem_kept_usd DOUBLE PRECISION NOT NULL, cloud_usd DOUBLE PRECISION NOT NULL,"
        " cloud_kept_usd DOUBLE PRECISION NOT NULL,"
        f" PRIMARY KEY (hour, policy, data_class, model, cluster, site, region, edge_region){end}"
    )
    connection.exec_driver_sql(
        "CREATE TABLE accrual (hour BIGINT NOT NULL, cluster VARCHAR(63) NOT NULL, site VARCHAR(16) NOT NULL,"
        " region VARCHAR(63) NOT NULL, seconds DOUBLE PRECISION NOT NULL, usd DOUBLE PRECISION NOT NULL,"
        f" PRIMARY KEY (hour, cluster, site, region){end}"
    )
    connection.exec_driver_sql(
        "CREATE TABLE quarters (bucket BIGINT NOT NULL, policy VARCHAR(63) NOT NULL, cluster VARCHAR(63) NOT NULL,"
        f" usd DOUBLE PRECISION NOT NULL, PRIMARY KEY (bucket, policy, cluster){end}"
    )
    # All of it was estimated, and where the same traffic would have cost what else nobody knows any more, nor what a
    # prompt token's part of the price was: all tokens are the same work.
    connection.exec_driver_sql(
        "INSERT INTO ledger SELECT bucket - bucket % 3600, policy, '', '', cluster, '', '', '', SUM(requests), 0, 0,"
        " SUM(prompt_tokens), 0, SUM(output_tokens), SUM(usd), SUM(prompt_tokens + output_tokens), SUM(requests),"
        " SUM(prompt_tokens + output_tokens), SUM(usd), SUM(usd), SUM(usd), SUM(usd), SUM(usd)"
        " FROM spend GROUP BY bucket - bucket % 3600, policy, cluster"
    )
    connection.exec_driver_sql("INSERT INTO quarters SELECT bucket, policy, cluster, usd FROM spend")
    connection.exec_driver_sql("DROP TABLE spend")


# Never edit a step that was released: databases in the field have taken it. Later steps spell out their DDL.
MIGRATIONS: Final[Mapping[int, Callable[[Connection], None]]] = {
    1: _first,
    2: _second,
    3: _third,
    4: _fourth,
    5: _fifth,
}
CURRENT_VERSION: Final = max(MIGRATIONS)


class NewerSchemaError(Exception):
    """The database has a version this program does not know."""

    def __init__(self, found: int) -> None:
        super().__init__(f"schema version {found}, and this program knows up to {CURRENT_VERSION}")


def migrate(connection: Connection, now: float) -> None:
    """Bring the database to :data:`CURRENT_VERSION` within the caller's transaction.

    Raises:
        NewerSchemaError: it is beyond it already.

    """
    schema_version.create(connection, checkfirst=True)
    found = connection.scalar(select(schema_version.c.version).order_by(schema_version.c.version.desc()).limit(1)) or 0
    if found > CURRENT_VERSION:
        raise NewerSchemaError(found)
    for version in range(found + 1, CURRENT_VERSION + 1):
        MIGRATIONS[version](connection)
        connection.execute(schema_version.insert().values(version=version, applied_at=now))
