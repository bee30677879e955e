"""What to go back to: the versions of each resource that a group has accepted, newest last.

Kept by one Rollout, per group. The usual acknowledgement, of what was acknowledged before, costs one comparison of two
tuples of the same objects.
"""

from collections.abc import Callable, Iterable, Mapping

from penstock_xds.core.snapshot import Resource, Snapshot

Key = tuple[str, str]
"""Type URL and name of a resource."""

# A client that refuses something may be some versions behind those that accepted it, and each of these can turn out to
# be refused, too. Eight outlast a burst of changes; refused versions take no place.
_VERSIONS_KEPT = 8

# Names that left the snapshot and may have to come back, because an older version of something else still names them.
# Enough for all clusters and endpoints of a fleet replaced at once.
_GONE_KEPT = 1024


class LastGood:
    """Remembers accepted versions by name; changed by one Rollout alone."""

    __slots__ = ("_accepted", "_changed", "_gone", "_publications", "_recent")

    def __init__(self) -> None:
        self._accepted: dict[str, dict[str, tuple[Resource, ...]]] = {}
        self._gone: dict[Key, None] = {}
        """Names that left the snapshot, in the order of leaving."""
        self._recent: dict[str, tuple[Resource, ...]] = {}
        """The resources of the last acknowledgement, by type."""
        self._publications = 0
        self._changed: dict[Key, int] = {}
        """The publication a resource last changed by; those of the first one are not listed."""

    def knows(self, type_url: str, resources: tuple[Resource, ...]) -> bool:
        """Whether the last acknowledgement of the type was of just these, so that there is nothing to note."""
        return not resources or self._recent.get(type_url) == resources

    def remember(self, type_url: str, resources: tuple[Resource, ...]) -> None:
        """Take these for known until `look_again`."""
        self._recent[type_url] = resources

    def look_again(self) -> None:
        """Have the next acknowledgements noted: what counts as good may be another now."""
        self._recent.clear()

    def accept(self, type_url: str, resources: tuple[Resource, ...], newest: Mapping[str, Resource]) -> bool:
        """Note that a client accepted these; returns whether one of them was news.

        `newest` is the latest there is of the type: it goes last.
        """
        news = False
        of_type = self._accepted.setdefault(type_url, {})
        for resource in resources:
            past = of_type.get(resource.name)
            if past is not None and past[-1] is resource:
                continue
            latest = newest.get(resource.name)
            if latest is None and (type_url, resource.name) not in self._gone:
                # Left long ago.
                continue
            news = news or past is None or all(p.version != resource.version for p in past)
            of_type[resource.name] = _with(past or (), resource, latest or resource)
        return news

    def supersede(self, before: Snapshot, after: Snapshot, held: Callable[[Resource], bool]) -> None:
        """Note that `after` was published where `before` was.

        `held`: whether a client is known to hold this, although it was not acknowledged: clients that come back after
        a restart of the server with the right versions acknowledge nothing.
        """
        self._publications += 1
        for type_url, names in after.changes_since(before).items():
            old, new = before.resources(type_url), after.resources(type_url)
            for name in names:
                key = (type_url, name)
                replaced = old.get(name)
                if replaced is not None and not self._is_accepted(replaced) and held(replaced):
                    self.accept(type_url, (replaced,), old)
                # To the end, if it is there.
                self._gone.pop(key, None)
                if name in new:
                    self._changed[key] = self._publications
                else:
                    self._changed.pop(key, None)
                    self._gone[key] = None
        while len(self._gone) > _GONE_KEPT:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            self._accepted.get(oldest[0], {}).pop(oldest[1], None)

    def forget(self, resource: Resource) -> None:
        """Drop a version that was refused, so that it takes no place."""
        of_type = self._accepted.get(resource.type_url, {})
        left = tuple(p for p in of_type.get(resource.name, ()) if p.version != resource.version)
        if left:
            of_type[resource.name] = left
        else:
            of_type.pop(resource.name, None)

    def find(self, key: Key, usable: Callable[[Resource], bool]) -> Resource | None:
        """Return the newest usable version that was accepted."""
        accepted = self._accepted.get(key[0], {}).get(key[1], ())
        return next((resource for resource in reversed(accepted) if usable(resource)), None)

    def newer(self, resource: Resource) -> frozenset[str]:
        """Return the versions accepted after this one, of its name."""
        accepted = self._accepted.get(resource.type_url, {}).get(resource.name, ())
        versions = [p.version for p in accepted]
        at = versions.index(resource.version) + 1 if resource.version in versions else 0
        return frozenset(versions[at:]) - {resource.version}

    def unknown(self, before: Snapshot, after: Snapshot) -> dict[Key, str]:
        """Return the versions new in `after` that nobody ever accepted."""
        return {
            (type_url, name): wanted.version
            for type_url, names in after.changes_since(before).items()
            for name in names
            if (wanted := after.resources(type_url).get(name)) is not None and not self._is_accepted(wanted)
        }

    def changed_with(self, key: Key, other: Key) -> bool:
        """Whether the first changed in the same publication as the other, or after it."""
        return self._changed.get(key, 0) >= self._changed.get(other, 0)

    def gone(self) -> Iterable[Key]:
        """Return the names that left, oldest first."""
        return tuple(self._gone)

    def _is_accepted(self, resource: Resource) -> bool:
        accepted = self._accepted.get(resource.type_url, {}).get(resource.name, ())
        return any(p.version == resource.version for p in accepted)


def _with(past: tuple[Resource, ...], resource: Resource, latest: Resource) -> tuple[Resource, ...]:
    others = tuple(p for p in past if p.version != resource.version)
    # An acknowledgement of something older, from a slower client, must not pass for the newest.
    if others and resource.version != latest.version and others[-1].version == latest.version:
        kept = (*others[:-1], resource, others[-1])
    else:
        kept = (*others, resource)
    return kept[-_VERSIONS_KEPT:]
