"""What a report changes of the notices there are: news, repetitions, other deadlines, ends. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from penstock.admin.notice_errors import UnmatchedNoticeError
from penstock.admin.notices import Notice, NoticeChange, NoticeRequest
from penstock.control.notice_drains import ramp
from penstock.control.notice_places import Place, places
from penstock.signals.notices import Announcement
from penstock_policies.policyset import PolicySet

Taken = tuple[Notice, NoticeChange]


@dataclass(frozen=True, slots=True)
class Intake:
    """What is to be done about a request."""

    taken: tuple[Taken, ...]
    unmatched: tuple[str, ...]


def intake(request: NoticeRequest, kept: Mapping[str, Notice], policy: PolicySet, now: float) -> Intake:
    """Work out what a request changes.

    Raises:
        ControlPlaneError: it leads nowhere: to no cluster or endpoint, or to none of the machines it names.

    """
    taken: list[Taken] = []
    unmatched: dict[str, None] = {}
    told: set[str] = set()
    refused: UnmatchedNoticeError | None = None
    for announcement in _of_sender(request):
        try:
            found, strangers = places(policy, announcement, request.cluster, request.endpoint)
        except UnmatchedNoticeError as error:
            refused = error
            unmatched.update(dict.fromkeys(error.names))
            continue
        unmatched.update(dict.fromkeys(strangers))
        for place in found:
            notice_id = _id(announcement, place)
            told.add(notice_id)
            change = _change(announcement, place, notice_id, request, before=kept.get(notice_id), now=now)
            if change is not None:
                taken.append(change)
    if refused is not None and not told:
        raise refused
    taken.extend(_vanished(request, kept, told, now))
    return Intake(tuple(taken), tuple(unmatched))


def ended(notice: Notice, by: str, now: float) -> Notice:
    """Return a notice as ended before its time."""
    return replace(notice, ended_at=now, ended_by=by)


def _of_sender(request: NoticeRequest) -> Iterator[Announcement]:
    """Give what is about the sender's machine, where it says which that is: Azure tells of its neighbours' too."""
    for announcement in request.report.announcements:
        if not (request.report.complete and request.sender):
            yield announcement
        elif request.sender.lower() in {name.lower() for name in announcement.names}:
            yield replace(announcement, names=(request.sender,))


def _vanished(request: NoticeRequest, kept: Mapping[str, Notice], told: set[str], now: float) -> Iterator[Taken]:
    if request.report.complete and request.sender:
        for notice in kept.values():
            if notice.scope == request.sender and notice.standing(now) and notice.id not in told:
                yield ended(notice, f"{request.sender} lists it no more", now), NoticeChange.ENDED


def _id(told: Announcement, place: Place) -> str:
    if told.source == "plain" and told.event:
        return told.event
    text = f"{told.source}\n{told.identity}\n{place.cluster}\n{place.endpoint}"
    return f"{told.source}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _change(
    told: Announcement, place: Place, notice_id: str, request: NoticeRequest, *, before: Notice | None, now: float
) -> Taken | None:
    if before is not None and now >= before.until:
        before = None
    if told.over:
        if before is None or not before.standing(now):
            return None
        return ended(before, f"{told.source} says so", now), NoticeChange.ENDED
    same = before is not None and (before.cluster, before.endpoint, before.stated) == (*place, told.stated())
    if before is not None and same:
        return before, NoticeChange.UNCHANGED
    standing = before if before is not None and before.standing(now) else None
    deadline = _deadline(told, request, standing, now)
    way = ramp(deadline, now, standing.since if standing is not None else None)
    notice = Notice(
        id=notice_id,
        source=told.source,
        event=told.event,
        kind=told.kind,
        cluster=place.cluster,
        endpoint=place.endpoint,
        reason=told.reason,
        received_at=now if before is None else before.received_at,
        deadline=deadline,
        since=way.since,
        gone_at=way.gone_at,
        until=deadline + told.afterwards if told.until is None else told.until,
        stated=told.stated(),
        scope=request.sender if request.report.complete else "",
    )
    if notice.until <= now:
        return notice, NoticeChange.OVER
    return notice, NoticeChange.ADDED if before is None else NoticeChange.CHANGED


def _deadline(told: Announcement, request: NoticeRequest, standing: Notice | None, now: float) -> float:
    if told.at is not None:
        return min(told.at, now + told.within)
    counted_from = now if request.counted_from is None else min(now, request.counted_from)
    deadline = counted_from + told.lead
    # What has begun does not begin again when somebody says so late.
    return deadline if standing is None or told.lead > 0 else min(deadline, standing.deadline)
