"""What one stream knows of one type: what the client asked for, what it holds, what is under way, what it refused.

Four maps are kept apart on purpose, since mistaking one for another is the classic bug of xDS servers:
the *subscription* (what it wants), *sent* (what it has or is about to have), *good* (what it confirmed) and *refused*.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock_xds.core.messages import Acked, Event, Nacked, Response, SyncStatus, TypeView
from penstock_xds.core.order import rule_for
from penstock_xds.core.references import ForeignVersion, Held
from penstock_xds.core.snapshot import Resource
from penstock_xds.core.subscription import Change, Subscription

# A client that never acknowledges may be sent a newer response now and then; what it let lie is forgotten beyond this.
_MOST_OUTSTANDING = 32


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A response that was sent and not yet answered."""

    response: Response
    gone: tuple[str, ...]
    """Names the client loses by it, whether it says so (Delta) or by silence (State of the World)."""
    sent_at: float
    wanted_at: float


class TypeState:
    """The state of one type on one stream. Owned and changed by its StreamCore alone."""

    __slots__ = (
        "acked_version",
        "brought",
        "candidates",
        "claimed",
        "forced",
        "good",
        "last_error",
        "nacks",
        "outstanding",
        "promised",
        "pushes",
        "refused",
        "requested",
        "rule",
        "sent",
        "sent_nonce",
        "sent_version",
        "subscription",
        "type_url",
        "unanswered",
        "unseen",
        "wanted_at",
    )

    def __init__(self, type_url: str) -> None:
        self.type_url = type_url
        self.rule = rule_for(type_url)
        self.subscription = Subscription(legacy_wildcard=self.rule.legacy_wildcard)
        self.requested = False
        self.unanswered = False
        """A wildcard was asked for and nothing answered it yet: even an empty answer is news to the client."""
        self.candidates: set[str] = set()
        """Names that may need sending or removing; whatever is in neither this nor `forced` is as it should be."""
        self.forced: set[str] = set()
        """Names to be sent although the client has them."""
        self.promised: set[str] = set()
        """Names to be forced should the client ask for this type at all."""
        self.sent: dict[str, Held] = {}
        self.good: dict[str, Held] = {}
        self.refused: dict[str, str] = {}
        """Name to the version refused; not sent again until the content changes."""
        self.claimed = ""
        """State of the World: the version a reconnecting client said it holds."""
        self.brought = False
        """The client came with resources from an earlier stream."""
        self.unseen = False
        """State of the World: the client came with such resources and does not say which."""
        self.outstanding: list[Outstanding] = []
        self.wanted_at: float | None = None
        self.sent_version = self.sent_nonce = self.acked_version = self.last_error = ""
        self.pushes = self.nacks = 0

    # What the client asks for

    def hear_of(self, names: Iterable[str], now: float) -> None:
        """Note names whose content may have changed."""
        subscription = self.subscription
        heard = set(names) if subscription.wildcard else subscription.names.intersection(names)
        if heard:
            self.candidates |= heard
            self.want(now)

    def force(self, name: str, now: float) -> None:
        """Have the name sent, whether the client has it or not."""
        self.forced.add(name)
        self.want(now)

    def want(self, now: float) -> None:
        """Start the clock of this type's next push, if it does not run yet."""
        if self.wanted_at is None:
            self.wanted_at = now

    def apply(self, change: Change, *, answer_dropped: bool, now: float) -> None:
        """Take over a changed subscription.

        With `answer_dropped` (Delta), a name given up under a wildcard is answered: with the resource if it is
        still part of the wildcard, as removed if not.
        """
        for name in change.added:
            # Asking again is the client's own wish to see it, refused before or not.
            self.refused.pop(name, None)
            self.force(name, now)
        for name in change.dropped:
            if not self.subscription.wildcard:
                self.forget(name)
            elif answer_dropped:
                self.force(name, now)
        if change.wildcard_lost:
            for name in [n for n in self.sent.keys() | self.candidates if n not in self.subscription.names]:
                self.forget(name)
            self.unanswered = False
        if change.wildcard_gained:
            self.unanswered = True
            self.want(now)

    def forget(self, name: str) -> None:
        """Drop all that is known of a name the client no longer subscribes to, so that asking again sends it again."""
        for held in (self.sent, self.good, self.refused):
            held.pop(name, None)
        self.candidates.discard(name)
        self.forced.discard(name)

    # What it has

    def bring(self, versions: Mapping[str, str]) -> None:
        """Take over what a reconnecting Delta client says it holds."""
        self.brought = bool(versions)
        for name, version in versions.items():
            if self.subscription.matches(name):
                self.sent[name] = self.good[name] = ForeignVersion(version)
                self.candidates.add(name)
                # What it holds in the right version need not be sent for having been named in its first request.
                if name not in self.promised:
                    self.forced.discard(name)

    def adopt(self, resource: Resource) -> None:
        """Note that the client already holds this resource."""
        self.sent[resource.name] = self.good[resource.name] = resource
        self.refused.pop(resource.name, None)

    # What is under way

    @property
    def waiting(self) -> bool:
        """Whether there may be something to send."""
        return bool(self.candidates or self.forced or self.unanswered)

    def note_sent(self, outstanding: Outstanding) -> None:
        """Record a response before it is written: its acknowledgement may come back before the write returns."""
        response = outstanding.response
        self.outstanding.append(outstanding)
        del self.outstanding[:-_MOST_OUTSTANDING]
        self.sent_version, self.sent_nonce = response.version, response.nonce
        self.pushes += 1
        self.unanswered = False

    def settle(self, nonce: str, error: str | None, now: float) -> Event | None:
        """Take the client's answer to a response; None if the nonce belongs to none that is under way (a stale one)."""
        at = next((i for i, o in enumerate(self.outstanding) if o.response.nonce == nonce), None)
        if at is None:
            return None
        # Clients answer in order, so an older response left unanswered was superseded, not lost.
        for older in self.outstanding[:at]:
            self._confirm(older)
        answered = self.outstanding[at]
        del self.outstanding[: at + 1]
        if error is not None:
            return self._refuse(answered, error)
        self._confirm(answered)
        self.acked_version = answered.response.version
        if not self.refused:
            self.last_error = ""
        return Acked(self.type_url, answered.response.version, now - answered.wanted_at)

    def _confirm(self, answered: Outstanding) -> None:
        for resource in answered.response.resources:
            # Not if the client has unsubscribed from it meanwhile.
            if resource.name in self.sent:
                self.good[resource.name] = resource
        for name in answered.gone:
            self.good.pop(name, None)

    def _refuse(self, answered: Outstanding, message: str) -> Nacked:
        self.nacks += 1
        self.last_error = message
        news = [r for r in answered.response.resources if self._version_of(self.good, r.name) != r.version]
        # Envoy applies the good resources of a refused response and names the bad ones in its message.
        bad = [r for r in news if _names(message, r.name)] or news
        for resource in news:
            if resource not in bad:
                if resource.name in self.sent:
                    self.good[resource.name] = resource
                continue
            self.refused[resource.name] = resource.version
            if self.sent.get(resource.name) == resource:
                self._revert(resource.name)
        names = tuple(r.name for r in bad) or tuple(r.name for r in answered.response.resources) + answered.gone
        return Nacked(self.type_url, names, answered.response.version, message)

    def _revert(self, name: str) -> None:
        last_good = self.good.get(name)
        if last_good is None:
            del self.sent[name]
        else:
            self.sent[name] = last_good

    @staticmethod
    def _version_of(held: Mapping[str, Held], name: str) -> str | None:
        found = held.get(name)
        return None if found is None else found.version

    def prune_refusals(self, present: Mapping[str, Resource]) -> None:
        """Forget refusals of content that is no longer served."""
        for name in [n for n, v in self.refused.items() if (r := present.get(n)) is None or r.version != v]:
            del self.refused[name]
        if not self.refused:
            self.last_error = ""

    # For people to look at

    def view(self) -> TypeView:
        """Return the state for people to look at."""
        return TypeView(
            type_url=self.type_url,
            status=self._status(),
            sent_version=self.sent_version,
            sent_nonce=self.sent_nonce,
            acked_version=self.acked_version,
            resources=len(self.sent),
            pushes=self.pushes,
            nacks=self.nacks,
            last_error=self.last_error,
            refused=tuple(sorted(self.refused)),
        )

    def _status(self) -> SyncStatus:
        if self.last_error:
            return SyncStatus.NACKED
        if self.outstanding or self.waiting:
            return SyncStatus.STALE
        return SyncStatus.SYNCED if self.acked_version else SyncStatus.NOT_SENT


def _names(message: str, name: str) -> bool:
    """Whether the message names the resource, as a word of its own."""
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)", message) is not None
