"""What must outlive the process: drains, recorded decisions, the ledger and the audit log.

:class:`~penstock.state.store.Store` is the only door. SQLite by default, PostgreSQL where several replicas share it.
"""

from penstock.state.errors import StoreCorruptError, StoreError, StoreSchemaError, StoreUnavailableError, StoreUrlError
from penstock.state.records import AuditEntry, PackedInputs, StoredDecision, StoredInputs
from penstock.state.store import Store

__all__ = [
    "AuditEntry",
    "PackedInputs",
    "Store",
    "StoreCorruptError",
    "StoreError",
    "StoreSchemaError",
    "StoreUnavailableError",
    "StoreUrlError",
    "StoredDecision",
    "StoredInputs",
]
