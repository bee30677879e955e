"""What a row of generations means: how many failed, and whether that has to be looked into at once. Pure."""


class GenerationCount:
    """The count of one endpoint."""

    def __init__(self, *, unhealthy_threshold: int, healthy_threshold: int, failed: int = 0) -> None:
        """``failed`` in a row are known of before."""
        self._unhealthy_threshold = unhealthy_threshold
        self._healthy_threshold = healthy_threshold
        self._good = 0
        self.failed = failed
        """In a row; once they are too many, they stay until enough in a row have succeeded."""
        self.urgent = False
        """The last one raised a doubt that the next may settle."""

    @property
    def failing(self) -> bool:
        """Whether the endpoint is unhealthy by its generations."""
        return self.failed >= self._unhealthy_threshold

    def add(self, *, good: bool) -> bool:
        """Count a generation; tell whether a threshold was crossed by it."""
        before = self.failing
        if good:
            self._good += 1
            if not before or self._good >= self._healthy_threshold:
                self.failed = 0
        else:
            self._good = 0
            self.failed += 1
        self.urgent = (self.failed > 0 and not self.failing) or (self.failing and self._good > 0)
        return self.failing is not before

    def nothing_learnt(self) -> None:
        """Take a generation that says nothing of the endpoint: the next can wait."""
        self.urgent = False
