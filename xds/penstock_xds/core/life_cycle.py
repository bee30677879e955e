"""The states of one type on one stream, as data.

`TypeState` does not store such a state: it follows from what is asked for, what is under way and what was refused. The
tests hold every change that real transcripts go through against this table, and the documentation draws it.
"""

from dataclasses import dataclass
from typing import Final

from penstock_xds.core.messages import SyncStatus


@dataclass(frozen=True, slots=True)
class Step:
    """One way from a state to the next."""

    start: SyncStatus
    cause: str
    end: SyncStatus


_NOT_SENT, _STALE = SyncStatus.NOT_SENT, SyncStatus.STALE
_SYNCED, _NACKED = SyncStatus.SYNCED, SyncStatus.NACKED

STEPS: Final[tuple[Step, ...]] = (
    Step(_NOT_SENT, "something asked for exists, and is sent or must wait", _STALE),
    Step(_NOT_SENT, "the client brought exactly what it should have", _SYNCED),
    Step(_STALE, "ACK, and nothing more to send", _SYNCED),
    Step(_STALE, "ACK, and more to send", _STALE),
    Step(_STALE, "NACK", _NACKED),
    Step(_STALE, "what was awaited is asked for or exists no more", _NOT_SENT),
    Step(_SYNCED, "a change, a new subscription or a heartbeat", _STALE),
    Step(_SYNCED, "publish of what the client holds", _SYNCED),
    Step(_NACKED, "a change other than of what was refused", _NACKED),
    Step(_NACKED, "the refused content changes, and is sent", _STALE),
    Step(_NACKED, "the refused content changes back to what the client holds", _SYNCED),
    Step(_NACKED, "the refused name is asked for again", _STALE),
    Step(_NACKED, "ACK of a mended resource", _SYNCED),
    Step(_NACKED, "the refused content leaves, and nothing was ever accepted", _NOT_SENT),
)
