"""What one client subscribes to, of one type, on one stream: the wildcard and naming rules alone.

Source: the xDS protocol specification, "How the client specifies what resources to return".
The rules that are easily missed:

* `*` is everything. A *legacy wildcard* is a request without names, and exists for LDS and CDS only.
* State of the World: a request without names means everything only until any name (even `*`) has been sent on the
  stream; from then on it means nothing at all.
* Delta: only the first request of the type can be a legacy wildcard. Subscribing to a name later does not end it;
  unsubscribing from `*` does.
* Subscribing by name again is a request to be sent the resource again: the client may have dropped it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from sys import intern

WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class Change:
    """What a request changed."""

    added: frozenset[str] = frozenset()
    """Names asked for by name, now or again. Each must be answered."""
    dropped: frozenset[str] = frozenset()
    """Names asked for by name no longer. Under a wildcard the client may still be interested in them."""
    wildcard_gained: bool = False
    wildcard_lost: bool = False


NO_CHANGE = Change()


def _shared(names: Iterable[str]) -> set[str]:
    """A thousand streams subscribe to the same names: keep each name once, not once a stream."""
    return {intern(name) for name in names}


class Subscription:
    """The names and the wildcard a client is subscribed to."""

    __slots__ = ("_last_asked", "_legacy_possible", "names", "wildcard")

    def __init__(self, *, legacy_wildcard: bool) -> None:
        self.names: set[str] = set()
        self.wildcard = False
        self._legacy_possible = legacy_wildcard
        self._last_asked: tuple[str, ...] | None = None

    def matches(self, name: str) -> bool:
        """Whether the client wants the resource of this name."""
        return self.wildcard or name in self.names

    @property
    def wildcard_only(self) -> bool:
        """Whether the client asked for everything and for nothing by name."""
        return self.wildcard and not self.names

    def replace(self, names: tuple[str, ...]) -> Change:
        """Apply the names of a State of the World request: they are the whole subscription."""
        if names == self._last_asked:
            return NO_CHANGE
        asked = _shared(names)
        self._last_asked = tuple(map(intern, names))
        if asked:
            self._legacy_possible = False
        wildcard = WILDCARD in asked or (not asked and self._legacy_possible)
        asked.discard(WILDCARD)
        change = Change(
            added=frozenset(asked - self.names),
            dropped=frozenset(self.names - asked),
            wildcard_gained=wildcard and not self.wildcard,
            wildcard_lost=self.wildcard and not wildcard,
        )
        self.names, self.wildcard = asked, wildcard
        return change

    def amend(self, subscribe: tuple[str, ...], unsubscribe: tuple[str, ...]) -> Change:
        """Apply the lists of a Delta request. A name in both ends unsubscribed."""
        if not subscribe and not unsubscribe and not self._legacy_possible:
            return NO_CHANGE
        added, dropped = _shared(subscribe), set(unsubscribe)
        before = self.wildcard
        if self._legacy_possible and not added and not dropped:
            self.wildcard = True
        # Only the first request of a type may be a legacy wildcard: the next ones are acknowledgements.
        self._legacy_possible = False
        if WILDCARD in added:
            self.wildcard = True
        if WILDCARD in dropped:
            self.wildcard = False
        added -= dropped
        added.discard(WILDCARD)
        # A phantom unsubscribe, from what was never subscribed to, changes nothing and needs no answer.
        dropped &= self.names
        self.names |= added
        self.names -= dropped
        return Change(
            added=frozenset(added),
            dropped=frozenset(dropped),
            wildcard_gained=self.wildcard and not before,
            wildcard_lost=before and not self.wildcard,
        )
