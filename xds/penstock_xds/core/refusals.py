"""Which versions a group refused, by whom, and whether that is enough to quarantine them.

One Case is one version of one resource that at least one client refused. Changed by one Rollout alone. All of it is
in memory: after a restart a bad version is served again, refused again, and quarantined again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from penstock_xds.core.last_good import Key
from penstock_xds.core.snapshot import Resource

# Content moves to and fro between a few versions (a rollback, a rollback of it); a version refused longer ago than this
# many others of its name is news again.
_VERSIONS_KEPT = 8

# Of what is not published now. Names come and go, so something must bound them; a stream's end looks at each case.
_IDLE_KEPT = 256

# Clients that refused and left count on, or a crash would be no refusal. Bounded, as a client in a crash loop may come
# back under a new name each time.
_LEFT_KEPT = 1024

# Envoy can put a whole resource into its message; what is wrong is said in the beginning.
_MESSAGE_CHARACTERS = 4096


class Ending(StrEnum):
    """Why a quarantine ended."""

    SUPERSEDED = "superseded"
    """The resource was published with other content, or no more."""
    TOLERATED = "tolerated"
    """Enough clients accepted it."""
    LIFTED = "lifted"
    """An operator lifted it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One version of one resource that a group refused and is not sent any more."""

    group: str
    type_url: str
    name: str
    version: str
    node_ids: tuple[str, ...]
    """Those that refused it, in the order they did."""
    message: str
    """What the last of them said."""
    first_at: float
    """Unix time in seconds."""
    last_at: float
    """Unix time in seconds."""
    served_instead: str
    """The version that goes on being served; empty when there is none and the name is left out."""
    held_back: tuple[Key, ...] = ()
    """Resources (type URL, name) kept at an older version, or left out, since the new one names what is left out."""
    ended: Ending | None = None
    """Why the quarantine is over; None while it lasts."""
    held: str = ""
    """Why the group is kept at the whole of what it had: what the cache's guard said of the mixture that would be
    served otherwise. Empty when everything else moves on."""


@dataclass(slots=True)
class Case:
    """One refused version and who thinks what of it."""

    resource: Resource
    message: str
    first_at: float
    last_at: float
    quarantined: bool = True
    refusers: dict[str, str] = field(default_factory=dict)
    """Open streams to their node ids."""
    left: dict[str, None] = field(default_factory=dict)
    """Node ids of streams that refused it and ended, in the order of ending."""
    acceptors: set[str] = field(default_factory=set)
    """Open streams."""

    @property
    def key(self) -> Key:
        """Type URL and name."""
        return (self.resource.type_url, self.resource.name)

    def node_ids(self) -> tuple[str, ...]:
        """Return the nodes that refused it, each once."""
        return tuple(dict.fromkeys((*self.left, *self.refusers.values())))

    def judge(self, tolerance: float) -> bool:
        """Weigh refusals against acceptances; returns whether the verdict changed."""
        refused = len(self.refusers) + len(self.left)
        quarantined = refused > tolerance * (refused + len(self.acceptors))
        changed, self.quarantined = quarantined is not self.quarantined, quarantined
        return changed


class Refusals:
    """The cases of one group."""

    __slots__ = ("_by_name", "_cases", "_tolerance")

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._cases: dict[tuple[str, str, str], Case] = {}
        """By type URL, name and version; the one refused last goes last."""
        self._by_name: dict[str, dict[str, dict[str, Case]]] = {}
        """By type URL, then name, then version."""

    def __bool__(self) -> bool:
        return bool(self._cases)

    def find(self, type_url: str, name: str, version: str) -> Case | None:
        """Return the case of the version, if it was refused."""
        return self._by_name.get(type_url, {}).get(name, {}).get(version)

    def quarantined(self) -> dict[Key, frozenset[str]]:
        """Return the quarantined versions of each name, published now or not."""
        found: dict[Key, set[str]] = {}
        for case in self._cases.values():
            if case.quarantined:
                found.setdefault(case.key, set()).add(case.resource.version)
        return {key: frozenset(versions) for key, versions in found.items()}

    def refuse(self, resource: Resource, stream_id: str, node_id: str, message: str, at: float) -> Case:
        """Note a refusal. The verdict on it is still to be asked for, with `Case.judge`."""
        ident = (resource.type_url, resource.name, resource.version)
        case = self._cases.pop(ident, None)
        if case is None:
            case = Case(resource, "", first_at=at, last_at=at, quarantined=False)
            of_type = self._by_name.setdefault(resource.type_url, {})
            of_type.setdefault(resource.name, {})[resource.version] = case
        self._cases[ident] = case
        case.message, case.last_at = message[:_MESSAGE_CHARACTERS], at
        case.refusers[stream_id] = node_id
        case.left.pop(node_id, None)
        case.acceptors.discard(stream_id)
        return case

    def accept(self, type_url: str, resources: Iterable[Resource], stream_id: str, node_id: str) -> bool:
        """Note an acceptance of whatever of these was refused by others; returns whether a verdict changed."""
        of_type = self._by_name.get(type_url)
        if not of_type:
            return False
        changed = False
        for resource in resources:
            cases = of_type.get(resource.name)
            case = None if cases is None else cases.get(resource.version)
            if case is not None:
                case.refusers.pop(stream_id, None)
                case.left.pop(node_id, None)
                case.acceptors.add(stream_id)
                # An acceptance may end a quarantine and never begins one: that takes a refusal.
                changed |= case.quarantined and case.judge(self._tolerance)
        return changed

    def judge(self, case: Case) -> bool:
        """Weigh the case anew; returns whether the verdict changed."""
        return case.judge(self._tolerance)

    def leave(self, stream_id: str) -> None:
        """Note that the stream ended: a refusal of its goes on counting, an acceptance does not.

        No verdict changes by that; the next answer of a client weighs them again.
        """
        for case in self._cases.values():
            case.acceptors.discard(stream_id)
            node_id = case.refusers.pop(stream_id, None)
            if node_id is not None:
                case.left[node_id] = None
                if len(case.left) > _LEFT_KEPT:
                    del case.left[next(iter(case.left))]

    def drop(self, case: Case) -> None:
        """Forget a case; its version may be sent again."""
        type_url, name = case.key
        del self._cases[(type_url, name, case.resource.version)]
        of_type = self._by_name[type_url]
        del of_type[name][case.resource.version]
        if not of_type[name]:
            del of_type[name]
        if not of_type:
            del self._by_name[type_url]

    def prune(self, published: Callable[[Resource], bool]) -> None:
        """Forget what was refused long ago, but for what is published now."""
        idle = [case for case in self._cases.values() if not published(case.resource)]
        for case in idle:
            # What others hold of it by now is not known when it comes back.
            case.acceptors.clear()
        excess = len(idle) - _IDLE_KEPT
        for case in idle:
            if excess > 0 or len(self._by_name[case.key[0]][case.key[1]]) > _VERSIONS_KEPT:
                self.drop(case)
                excess -= 1
