"""Where Penstock finds a secret: what every policy may say of it, and the most that any may.

Who writes policies says where requests go, and must not have sent there whatever Penstock's process can read. So a
policy names nothing but what the operator of the process set aside for policies: variables by their prefix, files by
their directory. The secret itself never stands in a policy.
"""

from typing import Annotated

from pydantic import Field

from penstock_policies.model import Model


class SecretPlace(Model):
    """Where a secret is; never the secret. It is read anew at each use, so that it may be rotated."""

    env: Annotated[str, Field(pattern=r"^PENSTOCK_SECRET_[A-Z0-9_]+$")] | None = None
    """An environment variable of Penstock's process. The prefix keeps a policy from naming any other."""
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")] | None = None
    """The name of a file in the directory that ``penstock serve --credentials`` gives, and of no other."""
