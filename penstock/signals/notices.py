"""Notices that a machine will go away: what a payload says, told apart by its shape. Pure.

The forms of the clouds are read in :mod:`penstock.signals.cloud_notices`, from documents that they add fields to as
they please: what is not known is passed over. The plain form is our own and read strictly, by the admin API.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

SHAPES: Final = (
    'an EC2 event of EventBridge ("detail-type"), EC2 instance metadata ("action" and "time"), GCE instance metadata '
    '("preempted" or "maintenance-event"), an Azure Scheduled Events document ("Events"), a Pub/Sub push envelope '
    '("message") or the plain form ("cluster", "kind" and "at" or "in")'
)
"""What a notice may look like, for people."""
AFTERWARDS: Final = 15 * 60.0
"""Seconds after the deadline until a notice without a stated end is over: probes then say whether the machine lives."""
LONGEST_AHEAD: Final = 31 * 86400.0
"""Seconds: Azure tells of failing hardware some days ahead; beyond a month it is a slip or a clock gone wrong."""
_LONGEST_NAME: Final = 253
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


class NoticeKind(StrEnum):
    """Why a machine goes away."""

    SPOT_INTERRUPTION = "spot-interruption"
    MAINTENANCE = "maintenance"


class NoticeError(ValueError):
    """A payload that is no notice; the message says what was expected, and ``path`` where."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path}: {expected}" if path else expected)
        self.path = path
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a payload says of one interruption."""

    source: str
    """``aws``, ``gcp``, ``azure`` or ``plain``."""
    kind: NoticeKind
    identity: str
    """The same for every telling of the same interruption of the same place."""
    reason: str
    event: str = ""
    """The payload's own id for it, where it has one."""
    at: float | None = None
    """The deadline, Unix time; None: ``lead`` seconds after it is first heard of."""
    lead: float = 0.0
    within: float = LONGEST_AHEAD
    """Seconds that the deadline is ahead at most, when it is first heard of, whatever the sender's clock says."""
    until: float | None = None
    """When it is over, Unix time; None: ``afterwards`` seconds after the deadline."""
    afterwards: float = AFTERWARDS
    names: tuple[str, ...] = ()
    """Machines it is about, by the cloud's names for them; none where only the sender knows."""
    cluster: str = ""
    endpoint: str = ""
    """``host:port``."""
    over: bool = False
    """It says that this interruption is over, or not coming after all."""

    def stated(self) -> str:
        """All that it says of times, to tell a changed notice from a repeated one."""
        return f"{self.kind} {self.at} {self.lead} {self.until} {self.afterwards}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a payload says, all of it."""

    announcements: tuple[Announcement, ...]
    ignored: tuple[str, ...] = ()
    """What it holds besides, that is no notice to us, in words."""
    complete: bool = False
    """It lists every event there is for its sender: one told before and not in it is over."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a Pub/Sub message carries."""

    payload: dict[str, object]
    published_at: float | None
    """When Pub/Sub took it in, Unix time: what counts from then does not wait for the delivery."""


def opened(payload: Mapping[str, object]) -> Envelope | None:
    """Return what a Pub/Sub push carries; None for any other payload.

    The body of a push is ``{"message": {"data", "messageId", "publishTime", "attributes"}, "subscription"}`` with
    ``data`` in base64 (https://cloud.google.com/pubsub/docs/reference/rest/v1/PubsubMessage, and for what is beside it
    https://pkg.go.dev/github.com/googleapis/google-cloudevents-go/cloud/pubsub/v1).

    Raises:
        NoticeError: it is such a push, and carries no JSON object.

    """
    if "message" not in payload:
        return None
    message = payload["message"]
    if not isinstance(message, dict) or not isinstance(message.get("data"), str):
        raise NoticeError("message.data", "expected a notice as JSON in base64, as Pub/Sub pushes it")
    try:
        inner = json.loads(base64.b64decode(message["data"], validate=True).decode())
    except (binascii.Error, ValueError, RecursionError) as error:
        raise NoticeError("message.data", "expected a notice as JSON in base64, as Pub/Sub pushes it") from error
    if not isinstance(inner, dict) or "message" in inner:
        raise NoticeError("message.data", f"expected {SHAPES}")
    published = message.get("publishTime")
    return Envelope(inner, None if published is None else rfc3339("message.publishTime", published))


def word(path: str, value: object) -> str:
    """Return a name that a payload holds.

    Raises:
        NoticeError: it is none, or holds what must not reach logs and terminals.

    """
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable() or " " in value:
        raise NoticeError(path, f"expected a name of at most {_LONGEST_NAME} characters")
    return value


def rfc3339(path: str, value: object) -> float:
    """Return the Unix time of ``2026-11-24T02:10:00Z``.

    Raises:
        NoticeError: it is no such time, or names no zone.

    """
    try:
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            return datetime.fromisoformat(_to_microseconds(value.upper())).timestamp()
    except (ValueError, OverflowError):
        pass
    raise NoticeError(path, "expected a time with its zone, such as 2026-11-24T02:10:00Z")


def _to_microseconds(text: str) -> str:
    # Pub/Sub stamps to the nanosecond, and Python reads six digits at most.
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def rfc1123(path: str, value: object) -> float:
    """Return the Unix time of ``Mon, 19 Sep 2016 18:29:47 GMT``.

    Raises:
        NoticeError: it is no such time.

    """
    try:
        if isinstance(value, str):
            moment = parsedate_to_datetime(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        pass
    raise NoticeError(path, "expected a time such as Mon, 19 Sep 2016 18:29:47 GMT")


def refuse_odd_times(told: Announcement, now: float) -> None:
    """Refuse times that no honest notice has.

    Raises:
        NoticeError: further ahead than anybody tells of, or over before it begins.

    """
    for path, moment in (("deadline", told.at), ("until", told.until)):
        if moment is not None and (not math.isfinite(moment) or moment - now > LONGEST_AHEAD):
            raise NoticeError(path, f"expected a time at most {LONGEST_AHEAD / 86400:.0f} days ahead")
    if told.until is not None and told.until <= (now + told.lead if told.at is None else told.at):
        raise NoticeError("until", "expected a time later than the deadline")
