"""What the clouds say before they take a machine away. Pure.

Amazon: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html and
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html. Google:
https://cloud.google.com/compute/docs/instances/create-use-preemptible and
https://cloud.google.com/compute/docs/gpus/gpu-host-maintenance. Azure:
https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events.
"""

from collections.abc import Callable, Mapping
from typing import Final

from penstock.signals.notices import (
    AFTERWARDS,
    SHAPES,
    Announcement,
    NoticeError,
    NoticeKind,
    Report,
    rfc1123,
    rfc3339,
    word,
)

_AWS_SECONDS: Final = 120.0
"""Between Amazon's notice and the interruption, at most: a clock of ours that is behind must not make it more."""
_PREEMPTION_SECONDS: Final = 30.0
"""Between Google's preemption notice and the end of the machine."""
_HOST_MAINTENANCE_SECONDS: Final = 60.0
"""Between Google's maintenance notice and the stop, for a machine without GPUs: one with GPUs has an hour."""
_HOST_MAINTENANCE_AFTERWARDS: Final = 3600.0 + AFTERWARDS
"""A machine with GPUs may be stopped as late as an hour after the notice; one that reports NONE again ends it."""
_MOST_EVENTS: Final = 100
_MOST_RESOURCES: Final = 1000

_SPOT_WARNING: Final = "EC2 Spot Instance Interruption Warning"
_REBALANCE: Final = "EC2 Instance Rebalance Recommendation"
_ACTIONS: Final = ("terminate", "stop", "hibernate")
_AZURE_KINDS: Final = {
    "Preempt": NoticeKind.SPOT_INTERRUPTION,
    "Reboot": NoticeKind.MAINTENANCE,
    "Redeploy": NoticeKind.MAINTENANCE,
    "Freeze": NoticeKind.MAINTENANCE,
    "Terminate": NoticeKind.MAINTENANCE,
}
_AZURE_STATES: Final = ("Scheduled", "Started", "Completed")


def from_cloud(payload: Mapping[str, object]) -> Report | None:
    """Return what a cloud's payload says; None for one that has none of their shapes.

    Raises:
        NoticeError: it has the shape of one, and is none.

    """
    readers: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, object]], Report]], ...] = (
        (("detail-type", "detail"), _event_bridge),
        (("Events", "DocumentIncarnation"), _scheduled_events),
        (("action",), _instance_action),
        (("preempted", "maintenance-event"), _gce_metadata),
    )
    for names, read in readers:
        if any(name in payload for name in names):
            return read(payload)
    if "cluster" in payload or "kind" in payload:
        return None
    raise NoticeError("", f"expected {SHAPES}")


def _one_of(path: str, value: object, words: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in words:
        raise NoticeError(path, f"expected one of {', '.join(words)}")
    return value


def _place(payload: Mapping[str, object]) -> tuple[str, str]:
    """Give the cluster and the endpoint that a script on the machine names beside what the metadata said."""
    named = {name: word(name, payload[name]) for name in ("cluster", "endpoint") if name in payload}
    return named.get("cluster", ""), named.get("endpoint", "")


def _names(payload: Mapping[str, object], *keys: str) -> tuple[str, ...]:
    return tuple(word(key, payload[key]) for key in keys if key in payload)


def _event_bridge(payload: Mapping[str, object]) -> Report:
    """``{"detail-type", "id", "time", "detail": {"instance-id", "instance-action"}}``, from two minutes ahead.

    A recommendation to rebalance names no deadline: it is taken for the warning that will follow, as it may come
    with it, or be all that comes.
    """
    told = _one_of("detail-type", payload.get("detail-type"), (_SPOT_WARNING, _REBALANCE))
    detail = payload.get("detail")
    if not isinstance(detail, dict):
        raise NoticeError("detail", 'expected an object with "instance-id"')
    instance = word("detail.instance-id", detail.get("instance-id"))
    event = word("id", payload["id"]) if "id" in payload else ""
    sent = rfc3339("time", payload.get("time"))
    lead, reason = _AWS_SECONDS, f"EC2 recommends to rebalance {instance}"
    if told == _SPOT_WARNING:
        action = _one_of("detail.instance-action", detail.get("instance-action"), _ACTIONS)
        # Hibernation begins at once, whatever the warning's name says.
        lead = 0.0 if action == "hibernate" else _AWS_SECONDS
        reason = f"EC2 will {action} spot instance {instance}"
    notice = Announcement(
        source="aws",
        kind=NoticeKind.SPOT_INTERRUPTION,
        identity=event or f"{told} {instance} {sent}",
        reason=reason,
        event=event,
        at=sent + lead,
        within=_AWS_SECONDS,
        names=(instance,),
    )
    return Report((notice,))


def _instance_action(payload: Mapping[str, object]) -> Report:
    """``{"action": "terminate", "time": "2026-11-24T02:12:00Z"}``: the item ``spot/instance-action``."""
    action = _one_of("action", payload["action"], _ACTIONS)
    names = _names(payload, "instance-id")
    cluster, endpoint = _place(payload)
    notice = Announcement(
        source="aws",
        kind=NoticeKind.SPOT_INTERRUPTION,
        identity=f"instance-action {' '.join(names)}",
        reason=f"EC2 will {action} {names[0] if names else 'the spot instance'}",
        at=rfc3339("time", payload.get("time")),
        within=_AWS_SECONDS,
        names=names,
        cluster=cluster,
        endpoint=endpoint,
    )
    return Report((notice,))


def _gce_metadata(payload: Mapping[str, object]) -> Report:
    """``{"preempted": "TRUE"}`` or ``{"maintenance-event": "TERMINATE_ON_HOST_MAINTENANCE"}``, with ``instance``.

    The metadata server answers with the bare words; a script on the machine posts them under their keys' names. A
    machine that is migrated live serves on.
    """
    names = _names(payload, "instance")
    cluster, endpoint = _place(payload)
    told: list[Announcement] = []
    if "preempted" in payload:
        value = payload["preempted"]
        flag = str(value).upper() if isinstance(value, bool) else value
        told.append(
            Announcement(
                source="gcp",
                kind=NoticeKind.SPOT_INTERRUPTION,
                identity=f"preempted {' '.join(names)}",
                reason="GCE preempts the machine",
                lead=_PREEMPTION_SECONDS,
                names=names,
                over=_one_of("preempted", flag, ("TRUE", "FALSE")) == "FALSE",
                cluster=cluster,
                endpoint=endpoint,
            )
        )
    if "maintenance-event" in payload:
        words = ("TERMINATE_ON_HOST_MAINTENANCE", "MIGRATE_ON_HOST_MAINTENANCE", "NONE")
        event = _one_of("maintenance-event", payload["maintenance-event"], words)
        told.append(
            Announcement(
                source="gcp",
                kind=NoticeKind.MAINTENANCE,
                identity=f"maintenance-event {' '.join(names)}",
                reason="GCE stops the machine for host maintenance",
                lead=_HOST_MAINTENANCE_SECONDS,
                afterwards=_HOST_MAINTENANCE_AFTERWARDS,
                names=names,
                over=event != words[0],
                cluster=cluster,
                endpoint=endpoint,
            )
        )
    return Report(tuple(told))


def _scheduled_events(payload: Mapping[str, object]) -> Report:
    """``{"DocumentIncarnation", "Events": [...]}``: all events of the machines that share a group with the sender.

    An event has ``EventId``, ``EventType``, ``ResourceType``, ``Resources``, ``EventStatus``, ``NotBefore`` (empty
    once it has started) and ``DurationInSeconds`` (-1 where nobody knows). It leaves the list when it is over.
    """
    events = payload.get("Events")
    if not isinstance(events, list) or len(events) > _MOST_EVENTS:
        raise NoticeError("Events", f"expected a list of at most {_MOST_EVENTS} events")
    told: list[Announcement] = []
    ignored: list[str] = []
    for index, event in enumerate(events):
        path = f"Events.{index}"
        if not isinstance(event, dict):
            raise NoticeError(path, "expected an object")
        kind = event.get("EventType")
        if not isinstance(kind, str) or kind not in _AZURE_KINDS:
            shown = kind if isinstance(kind, str) and kind.isprintable() else "nothing known"
            ignored.append(f"{path}.EventType is {shown[:64]}; known are {', '.join(_AZURE_KINDS)}")
            continue
        told.append(_scheduled_event(path, event, kind))
    return Report(tuple(told), tuple(ignored), complete=True)


def _scheduled_event(path: str, event: Mapping[str, object], kind: str) -> Announcement:
    resources = event.get("Resources")
    if not isinstance(resources, list) or not 0 < len(resources) <= _MOST_RESOURCES:
        raise NoticeError(f"{path}.Resources", f"expected a list of 1 to {_MOST_RESOURCES} names")
    names = tuple(word(f"{path}.Resources.{index}", name) for index, name in enumerate(resources))
    identity = word(f"{path}.EventId", event.get("EventId"))
    status = _one_of(f"{path}.EventStatus", event.get("EventStatus"), _AZURE_STATES)
    begins = event.get("NotBefore")
    at = None if begins in {"", None} else rfc1123(f"{path}.NotBefore", begins)
    if at is None and status == "Scheduled":
        raise NoticeError(f"{path}.NotBefore", "expected a time such as Mon, 19 Sep 2016 18:29:47 GMT")
    lasts = event.get("DurationInSeconds", -1)
    if isinstance(lasts, bool) or not isinstance(lasts, int) or lasts > 30 * 86400:
        raise NoticeError(f"{path}.DurationInSeconds", "expected whole seconds, at most 30 days, or -1")
    return Announcement(
        source="azure",
        kind=_AZURE_KINDS[kind],
        identity=identity,
        reason=f"Azure {kind} of {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}",
        event=identity,
        at=at,
        # A machine that was frozen or rebooted is not well again the moment that ends.
        afterwards=AFTERWARDS if lasts < 0 else max(60.0, float(lasts)),
        names=names,
        over=status == "Completed",
    )
