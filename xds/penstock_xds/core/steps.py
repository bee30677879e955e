"""What a rollout decides about, and what comes of it: members, verdicts and steps."""

from collections.abc import Callable
from dataclasses import dataclass

from penstock_xds.core.canary import Holdings
from penstock_xds.core.refusals import Case, Ending
from penstock_xds.core.snapshot import Snapshot

Watcher = Callable[[Snapshot], None]

Guard = Callable[[Snapshot], str | None]
"""Asked of every mixture of what was published with older versions: why it must not be served; None if it may."""

Retry = Callable[[str, str, str], None]
"""Has a client sent again what it refused: type URL, name and version."""


@dataclass(slots=True, eq=False)
class Member:
    """One stream of the group. Changed by its Rollout alone."""

    stream_id: str
    node_id: str
    unit: str
    """Streams of one unit (those of a client that opens one per type) are canaries together."""
    client: Holdings
    watcher: Watcher
    """For whoever carries the step out; never called here."""
    target: Snapshot | None = None
    """What the stream is to have."""
    answered: bool = False
    """Whether it acknowledged or refused anything yet: before that, it has not said all it subscribes to."""
    open: bool = True
    retry: Retry | None = None
    """For whoever carries out a release; never called here."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A quarantine that began, lasts, or ended."""

    case: Case
    instead: str = ""
    """The version served instead; empty for none."""
    held_back: tuple[tuple[str, str], ...] = ()
    ended: Ending | None = None
    held: str = ""
    """Why the group is kept at the whole of an earlier target; empty if it is not."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of something that happened."""

    moved: tuple[Member, ...] = ()
    quarantined: tuple[Verdict, ...] = ()
    released: tuple[Verdict, ...] = ()
