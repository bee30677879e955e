"""The one error of the proof."""


class ResidencyBreach(Exception):  # noqa: N818 -- the name says what it is; callers catch it by it
    """Generated resources could carry data where it may not go, or cannot be proven not to.

    ``path`` leads from the listener to the culprit, outermost first; ``reason`` says what is wrong there.
    """

    def __init__(self, path: tuple[str, ...], reason: str) -> None:
        super().__init__(f"{' -> '.join(path)}: {reason}" if path else reason)
        self.path = path
        self.reason = reason

    def under(self, *outer: str) -> "ResidencyBreach":
        """The same breach, with what encloses its path."""
        return ResidencyBreach((*outer, *self.path), self.reason)
