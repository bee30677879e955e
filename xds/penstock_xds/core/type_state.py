"""What one stream knows of one type: what the client asked for, what it holds, what is under way, what it refused.

Four maps are kept apart on purpose, since mistaking one for another is the classic bug of xDS servers:
the *subscription* (what it wants), *sent* (what it has or is about to have), *good* (what it confirmed) and *refused*.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from penstock_xds.core.lifetimes import Lifetimes
from penstock_xds.core.messages import Acked, Event, Nacked, ResourceError, Response
from penstock_xds.core.order import rule_for
from penstock_xds.core.references import UNKNOWN, ForeignVersion, Held, named_by
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.core.subscription import NO_CHANGE, Change, Subscription

# A client that never acknowledges may be sent a newer response now and then; what it let lie is forgotten beyond this.
_MOST_OUTSTANDING = 32


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a client refused and why."""

    resource: Resource
    message: str

    @property
    def version(self) -> str:
        """The version refused."""
        return self.resource.version


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A response that was sent and not yet answered."""

    response: Response
    gone: tuple[str, ...]
    """Names the client loses by it, whether it says so (Delta) or by silence (State of the World)."""
    sent_at: float
    wanted_at: float


# Shared by all states that have none: an empty set of its own would cost each of four types of each stream 216 bytes.
_NO_NAMES: Final[frozenset[str]] = frozenset()


class TypeState:
    """The state of one type on one stream. Owned and changed by its StreamCore alone."""

    __slots__ = (
        "acked_version",
        "beats",
        "brought",
        "candidates",
        "changed_at",
        "claimed",
        "doubt",
        "first_at",
        "forced",
        "good",
        "last_error",
        "lifetimes",
        "nacks",
        "outstanding",
        "probing",
        "promised",
        "pushes",
        "refused",
        "requested",
        "rule",
        "sent",
        "sent_nonce",
        "sent_version",
        "subscription",
        "suppressed",
        "told",
        "type_url",
        "unanswered",
        "unremoved",
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
        self.promised: dict[tuple[str, str], Resource] = {}
        """What was sent (by type and name) that makes the client wait for resources of this type, should it ask."""
        self.sent: dict[str, Held] = {}
        self.good: dict[str, Held] = {}
        self.refused: dict[str, Refusal] = {}
        """By name; not sent again until the content changes."""
        self.unremoved = _NO_NAMES
        """Names whose removal was part of a response it refused; to be removed again with the next change."""
        self.told: dict[str, ResourceError] = {}
        """Why names are not served, as far as the client was told."""
        self.beats = _NO_NAMES
        """Names whose heartbeat is due."""
        self.probing: list[frozenset[str]] = []
        """Names refused together, none of them by name, in parts: each is sent by itself until the bad are found."""
        self.doubt: Nacked | None = None
        """A refusal that is not traced to a resource yet."""
        self.lifetimes: Lifetimes | None = None
        """Of what expires; only for clients that understand it."""
        self.changed_at: dict[str, float] = {}
        """When what the client holds or refuses under a name changed last, but for its first resources."""
        self.first_at = 0.0
        """When it confirmed its first resources."""
        self.claimed = ""
        """State of the World: the version a reconnecting client said it holds."""
        self.brought = False
        """The client came with resources from an earlier stream."""
        self.unseen = False
        """State of the World: the client came with such resources and does not say which."""
        self.outstanding: list[Outstanding] = []
        self.wanted_at: float | None = None
        self.sent_version = self.sent_nonce = self.acked_version = self.last_error = ""
        self.pushes = self.nacks = self.suppressed = 0

    # What the client asks for

    def hear_of(self, names: Iterable[str], now: float) -> None:
        """Note names whose content may have changed."""
        subscription = self.subscription
        heard = names if subscription.wildcard else subscription.names.intersection(names)
        if heard:
            self.candidates.update(heard)
            self.want(now)

    def due(self, present: Mapping[str, Resource], name: str) -> Resource | None:
        """Return what the client is to have under the name, of what is present; None if nothing."""
        resource = present.get(name)
        if resource is None:
            return None
        subscription = self.subscription
        asked = name in subscription.names or (subscription.wildcard and not resource.on_demand)
        return resource if asked else None

    def force(self, name: str, now: float) -> None:
        """Have the name sent, whether the client has it or not."""
        self.forced.add(name)
        self.want(now)

    def release_memory(self) -> None:
        """Give back what names waiting took, when none does: a set that was large once stays so by itself."""
        if not self.candidates:
            self.candidates = set()
        if not self.forced:
            self.forced = set()

    def want(self, now: float) -> None:
        """Start the clock of this type's next push, if it does not run yet."""
        if self.wanted_at is None:
            self.wanted_at = now

    def apply(self, change: Change, *, answer_dropped: bool, now: float) -> None:
        """Take over a changed subscription.

        With `answer_dropped` (Delta), a name given up under a wildcard is answered: with the resource if it is
        still part of the wildcard, as removed if not.
        """
        if change is NO_CHANGE:
            return
        for name in change.added:
            # Asking again is the client's own wish to see it, refused before or not.
            self.refused.pop(name, None)
            self.told.pop(name, None)
            self.force(name, now)
        for name in change.dropped:
            if not self.subscription.wildcard:
                self.forget(name)
            elif answer_dropped:
                self.force(name, now)
            else:
                # It may have been on demand, and then goes.
                self.hear_of((name,), now)
        if change.wildcard_lost:
            for name in [n for n in self.sent.keys() | self.candidates if n not in self.subscription.names]:
                self.forget(name)
            self.unanswered = False
        if change.wildcard_gained:
            self.unanswered = True
            self.want(now)

    def forget(self, name: str) -> None:
        """Drop all that is known of a name the client no longer subscribes to, so that asking again sends it again."""
        for held in (self.sent, self.good, self.refused, self.told, self.changed_at):
            held.pop(name, None)
        for waiting in (self.candidates, self.forced):
            waiting.discard(name)
        self.beats -= {name}
        self.unremoved -= {name}

    def forget_held(self, name: str) -> None:
        """Note that the client no longer has, or is no longer credited with, what it had under the name."""
        for held in (self.sent, self.good, self.changed_at):
            held.pop(name, None)

    # What it has

    def bring(self, versions: Mapping[str, str]) -> None:
        """Take over what a reconnecting Delta client says it holds."""
        self.brought = bool(versions)
        awaited = {name for parent in self.promised.values() for name in named_by(parent, self.type_url, versions)}
        for name, version in versions.items():
            if self.subscription.matches(name):
                self.sent[name] = self.good[name] = ForeignVersion(version)
                self.candidates.add(name)
                # What it holds in the right version need not be sent for having been named in its first request.
                if name not in awaited:
                    self.forced.discard(name)

    def adopt(self, resource: Resource) -> None:
        """Note that the client already holds this resource."""
        self.sent[resource.name] = self.good[resource.name] = resource
        self.refused.pop(resource.name, None)

    # What is under way

    @property
    def waiting(self) -> bool:
        """Whether there may be something to send or to take away."""
        return bool(self.candidates or self.forced or self.unanswered or self.beats)

    @property
    def open_ends(self) -> tuple[int, int, int, bool]:
        """Changes whenever something that was waiting no longer is."""
        return len(self.candidates), len(self.forced), len(self.beats), self.unanswered

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
            self._confirm(older, now)
        answered = self.outstanding[at]
        del self.outstanding[: at + 1]
        if error is not None:
            return self._refuse(answered, error, now)
        self._confirm(answered, now)
        self.acked_version = answered.response.version
        if not self.refused:
            self.last_error = ""
        return Acked(self.type_url, answered.response.version, now - answered.wanted_at, answered.response.resources)

    def _confirm(self, answered: Outstanding, now: float) -> None:
        sent, good = self.sent, self.good
        if not good:
            self.first_at = now
        for resource in answered.response.resources:
            name = resource.name
            # Not if the client has unsubscribed from it meanwhile.
            if name in sent and good.get(name) is not resource:
                good[name] = resource
                if now != self.first_at:
                    self.changed_at[name] = now
        for name in answered.gone:
            good.pop(name, None)
            self.changed_at.pop(name, None)

    def take_doubt(self) -> Nacked | None:
        """Return a refusal that came from no single resource, now that each was accepted by itself."""
        if self.doubt is None or self.probing or self.outstanding:
            return None
        doubt, self.doubt = self.doubt, None
        return doubt

    def _refuse(self, answered: Outstanding, message: str, now: float) -> Nacked | None:
        self.nacks += 1
        self.last_error = message
        response = answered.response
        if self.lifetimes is not None:
            self.lifetimes.doubt(response.heartbeats)
        news = [r for r in response.resources if self._version_of(self.good, r.name) != r.version]
        # Envoy applies the good resources of a refused response and names the bad ones in its message.
        named = [r for r in news if _names(message, r.name)]
        if not named and len(news) > 1:
            self._doubt(response, news, message, now)
            return None
        self.doubt = None
        bad = named or news
        for resource in news:
            name = resource.name
            self.changed_at[name] = now
            if resource not in bad:
                if name in self.sent:
                    self.good[name] = resource
                continue
            self.refused[name] = Refusal(resource, message)
            if self.sent.get(name) == resource:
                self._revert(name)
                # What is wanted by now may be another version, which it has not seen.
                self.hear_of({name}, now)
        for name in answered.gone:
            if name in self.good and name not in self.sent:
                self.sent[name] = self.good[name]
                self.unremoved |= {name}
        names = tuple(r.name for r in bad) or (
            tuple(r.name for r in response.resources + response.heartbeats) + answered.gone
        )
        refused = {r.name for r in bad}
        rest = tuple(r for r in response.resources if r.name not in refused)
        return Nacked(self.type_url, names, response.version, message, tuple(bad), rest)

    def _doubt(self, response: Response, news: list[Resource], message: str, now: float) -> None:
        """Take a refusal that names none of several: the client may hold some of them, and must be sent each again."""
        names = [r.name for r in news]
        half = len(names) // 2
        self.probing[:0] = [frozenset(names[:half]), frozenset(names[half:])]
        for resource in news:
            if self.sent.get(resource.name) == resource:
                self.sent[resource.name] = UNKNOWN
        self.hear_of(names, now)
        if self.doubt is None:
            known = tuple(r for r in response.resources if r.name not in set(names))
            self.doubt = Nacked(self.type_url, tuple(names), response.version, message, (), known)

    def next_part(self, names: Iterable[str]) -> frozenset[str] | None:
        """Return which of the names are to be sent by themselves now; None if all may go together."""
        waiting = set(names)
        while self.probing:
            part = self.probing.pop(0)
            if part & waiting:
                return part
        return None

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

    def prune_refusals(self, target: Snapshot) -> None:
        """Forget refusals of content that is served to nobody any more; something of the type has changed."""
        self.candidates |= self.unremoved
        self.unremoved = _NO_NAMES
        if not self.refused:
            return
        present = target.resources(self.type_url)
        for name, refusal in tuple(self.refused.items()):
            served = present.get(name)
            if served is not None and served.version == refusal.version:
                continue
            # Others keep it: its quarantine may end, and this client still needs not be sent it again.
            if refusal.version not in target.tolerated.get((self.type_url, name), ()):
                del self.refused[name]
        if not self.refused:
            self.last_error = ""

    def forgive(self, name: str, version: str, now: float) -> None:
        """Have a version sent again although the client refused it: an operator says that it may do now."""
        refusal = self.refused.get(name)
        if refusal is None or refusal.version != version:
            return
        del self.refused[name]
        if not self.refused:
            self.last_error = ""
        self.hear_of({name}, now)


def _names(message: str, name: str) -> bool:
    """Whether the message names the resource, as a word of its own."""
    return re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)", message) is not None
