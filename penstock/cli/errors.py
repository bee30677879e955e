"""How commands fail: a message for people and an exit code for programs."""

from typing import Final

FINDINGS: Final = 1
"""The command worked and found something wrong, or the server refused."""
FAILED: Final = 2
"""The command could not be carried out: wrong usage, or the server cannot be reached."""

OTHER_CODE: Final = 3
"""A recorded decision is what was written, and cannot be made again here, since other code made it."""


class CommandError(Exception):
    """Ends a command with a message on standard error.

    Attributes:
        exit_code: :data:`FINDINGS` or :data:`FAILED`.
        hint: what to do about it, on a line of its own.

    """

    def __init__(self, message: str, *, exit_code: int = FAILED, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.hint = hint
