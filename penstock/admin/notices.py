"""Notices as they cross between the admin side and the control plane: plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from penstock.signals.notices import NoticeKind, Report


@dataclass(frozen=True, slots=True)
class Notice:
    """A machine, or all of a cluster, will go away. All times are Unix seconds."""

    id: str
    source: str
    event: str
    """The payload's own id; empty where it has none."""
    kind: NoticeKind
    cluster: str
    endpoint: str
    """``host:port``; empty for the cluster as a whole."""
    reason: str
    received_at: float
    deadline: float
    since: float
    """When draining begins."""
    gone_at: float
    """When nothing is left of its share: a margin before the deadline, unless that had passed."""
    until: float
    """When the notice is over by itself."""
    stated: str
    """What was said of times: a notice that says the same again changes nothing."""
    scope: str = ""
    """Who tells of all its events, of whom this is one; empty where nobody does."""
    overload: str = ""
    """The arithmetic, where what remains cannot carry the load; empty where it can, or an endpoint is taken out."""
    ended_at: float | None = None
    """When it was ended before its time. It is kept until ``until`` all the same, so that a repetition stays quiet."""
    ended_by: str = ""

    def standing(self, now: float) -> bool:
        """Whether it is neither ended nor over."""
        return self.ended_at is None and now < self.until

    def active(self, now: float) -> bool:
        """Whether it takes share away."""
        return self.since <= now and self.standing(now)


class NoticeEffect(StrEnum):
    """What a notice does at this moment."""

    PENDING = "pending"
    """Nothing yet: the deadline is far."""
    CLUSTER_DRAINED = "cluster-drained"
    ENDPOINT_OUT = "endpoint-out"
    YIELDS = "yields-to-operator"
    """An operator drained the cluster, and that holds."""
    UNKNOWN = "unknown-to-policy"
    """The policy in force has no such cluster or endpoint any more."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class StandingNotice:
    """A notice and what comes of it."""

    notice: Notice
    effect: NoticeEffect


@dataclass(frozen=True, slots=True)
class NoticeRequest:
    """What somebody sent, and where it leads."""

    report: Report
    cluster: str = ""
    """Where machines are looked for, or what as a whole goes away where none is named."""
    endpoint: str = ""
    """What goes away, whatever machines are named."""
    sender: str = ""
    """Who tells of all its events, where the report does: what it told before and does not any more is over."""
    counted_from: float | None = None
    """What a report says is so many seconds ahead is counted from then, Unix time; None: from now."""


class NoticeChange(StrEnum):
    """What became of an announcement."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    ENDED = "ended"
    OVER = "over"
    """It was over before it was heard of."""


@dataclass(frozen=True, slots=True)
class NoticeOutcome:
    """What became of a :class:`NoticeRequest`."""

    taken: Sequence[tuple[Notice, NoticeChange]]
    unmatched: Sequence[str]
    """Machines that are none of ours."""
