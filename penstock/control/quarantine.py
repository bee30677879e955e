"""What is told when a resource is quarantined, and when that ends: a log line, an audit entry, a count.

The callbacks of :class:`penstock_xds.CacheListener`, called by the snapshot cache on the event loop's thread. They
only put into the recorder's queue, so that a slow store delays nobody.

A route table that Envoys refuse for its shape is refused again with every change of its weights, each time as another
version. The same words about the same resource are therefore told once an hour; the metrics count each.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from penstock.admin.metrics import Metrics
from penstock.control.envoys import origins
from penstock.control.recorder import Recorder
from penstock_policies.policyset import PolicySet
from penstock_xds import Refusal
from penstock_xds.core.refusals import Ending

logger = logging.getLogger(__name__)

_TOLD_AGAIN_SECONDS: Final = 3600.0
# What was told is remembered for so many; a bad edit spoils dozens at worst.
_REMEMBERED: Final = 1024
# The audit log is kept for ever: of what an Envoy says, the beginning names the fault.
_MESSAGE_CHARACTERS: Final = 1000
_NODES_TOLD: Final = 20

Told = tuple[str, str, str, str]
V = TypeVar("V")


class QuarantineLog:
    """Tells operators and auditors."""

    def __init__(
        self, metrics: Metrics, recorder: Recorder, policy: Callable[[], PolicySet | None], clock: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._recorder = recorder
        self._policy = policy
        self._clock = clock
        self._told: OrderedDict[Told, float] = OrderedDict()
        """Group, type, name and message, to when they were told."""
        self._open: OrderedDict[Told, None] = OrderedDict()
        """Group, type, name and version of those whose beginning was told, so that their end is, too."""

    def on_quarantine(self, refusal: Refusal) -> None:
        """A published version is not sent to the group any more."""
        self._metrics.on_quarantine(refusal)
        if not self._is_news(refusal):
            return
        _remember(self._open, _ident(refusal), None)
        lines = origins(self._policy(), refusal.type_url, (refusal.name,))
        logger.error(
            "resource quarantined: an envoy refused it",
            extra={
                **_facts(refusal),
                "nodes": ",".join(refusal.node_ids[:_NODES_TOLD]),
                "served_instead": refusal.served_instead,
                "held": refusal.held,
                "policy": ",".join(lines),
                "error": refusal.message,
            },
        )
        self._recorder.audit(
            "quarantine.added",
            {
                **_facts(refusal),
                "nodes": list(refusal.node_ids[:_NODES_TOLD]),
                "message": refusal.message[:_MESSAGE_CHARACTERS],
                "servedInstead": refusal.served_instead,
                "heldBack": [list(each) for each in refusal.held_back],
                "held": refusal.held,
                "policy": list(lines),
            },
        )

    def on_release(self, refusal: Refusal) -> None:
        """A quarantine is over."""
        if _ident(refusal) not in self._open:
            return
        del self._open[_ident(refusal)]
        why = "" if refusal.ended is None else refusal.ended.value
        logger.info("quarantine ended", extra={**_facts(refusal), "why": why})
        if refusal.ended is Ending.LIFTED:
            # The operator's own entry tells of it; and what is refused again after that is news.
            self._told = OrderedDict((told, at) for told, at in self._told.items() if told[:3] != _ident(refusal)[:3])
            return
        self._recorder.audit("quarantine.ended", {**_facts(refusal), "why": why})

    def _is_news(self, refusal: Refusal) -> bool:
        now = self._clock()
        told = (*_ident(refusal)[:3], refusal.message)
        before = self._told.get(told)
        if before is not None and now - before < _TOLD_AGAIN_SECONDS:
            return False
        _remember(self._told, told, now)
        return True


def _ident(refusal: Refusal) -> Told:
    return (refusal.group, refusal.type_url, refusal.name, refusal.version)


def _facts(refusal: Refusal) -> dict[str, object]:
    return {"group": refusal.group, "type": refusal.type_url, "resource": refusal.name, "version": refusal.version}


def _remember(memory: OrderedDict[Told, V], told: Told, value: V) -> None:
    memory[told] = value
    memory.move_to_end(told)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
