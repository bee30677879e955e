"""How a store fails, and what the caller may do about it. Every failure of the database comes out as one of these."""


class StoreError(Exception):
    """The store did not do what it was asked; nothing of the request is in it.

    ``operation`` says what was asked, ``url`` where (without its password).
    """

    def __init__(self, operation: str, url: str, reason: str) -> None:
        super().__init__(f"{operation}: {url}: {reason}")
        self.operation = operation
        self.url = url
        self.reason = reason


class StoreUnavailableError(StoreError):
    """Locked, full, read-only or out of reach. The same request may succeed later."""


class StoreCorruptError(StoreError):
    """The file is damaged or no database at all. A person must restore it, or move it away to begin anew."""


class StoreSchemaError(StoreError):
    """The database was written by a newer Penstock. Nothing was changed in it."""


class StoreUrlError(StoreError):
    """The URL names no database this installation can open."""
