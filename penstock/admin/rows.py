"""How rows are called towards people."""

from penstock_policies.policyset import ANY_MODEL, RowKey


def row_title(key: RowKey) -> str:
    """Return the row's region and model, within its policy."""
    return f"{key.region}, {'no model named' if key.model == ANY_MODEL else key.model}"
