"""How a replay fails before it begins."""


class ReplayError(Exception):
    """A file that cannot be replayed; the message says where and what was expected."""

    def __init__(self, file: str, line: int, message: str) -> None:
        """``line`` counts from 1; 0 is the file as a whole."""
        self.file, self.line = file, line
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")
