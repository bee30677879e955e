"""HiGHS as a library: silent, where its own class writes to standard output as soon as it is made."""

import highspy


class QuietHighs(highspy.Highs):  # type: ignore[misc]  # highspy is not typed well enough to be read
    """HiGHS, but it does not write its name to standard output, where reports go."""

    def enableCallbacks(self) -> None:  # noqa: N802 - the name is HiGHS'
        """Ask for none: asking is what makes it write."""
