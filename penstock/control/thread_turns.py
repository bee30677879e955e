"""How often Python's threads take turns while Penstock serves."""

import sys
from typing import Final

# Python's default of 5 ms is what the event loop would wait, each time it wakes, for a worker thread that decides.
_SECONDS: Final = 0.001


def take_turns_often() -> None:
    """Set how long a thread may go on while another waits, for the whole process."""
    sys.setswitchinterval(_SECONDS)
