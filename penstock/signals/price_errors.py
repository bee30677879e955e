"""What goes wrong with the source of a feed, as against what is wrong with its document."""


class PriceSourceError(Exception):
    """The document could not be had; the text says why, and holds no secret."""

    def __init__(self, text: str, *, leave_alone: float = 0.0) -> None:
        """``leave_alone`` is for how many seconds the source asked not to be asked again."""
        super().__init__(text)
        self.leave_alone = leave_alone
