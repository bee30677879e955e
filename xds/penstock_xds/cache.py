"""What each group of clients is served.

The cache belongs to the event loop's thread: publish and read there. Publishing only tells each stream that there is
something newer; it never waits for a client.
"""

from collections.abc import Callable

from penstock_xds.core.snapshot import Snapshot

Watcher = Callable[[Snapshot], None]


class SnapshotCache:
    """The latest snapshot of each group. One cache may feed several servers."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._watchers: dict[str, dict[int, Watcher]] = {}
        self._watches = 0

    def publish(self, group: str, snapshot: Snapshot) -> None:
        """Serve the snapshot to the group from now on. A snapshot equal to the present one changes nothing.

        Make it complete: what it lacks, clients drop.
        """
        if self._snapshots.get(group) == snapshot:
            return
        self._snapshots[group] = snapshot
        for watcher in tuple(self._watchers.get(group, {}).values()):
            watcher(snapshot)

    def get(self, group: str) -> Snapshot | None:
        """Return the snapshot the group is served; None before the first."""
        return self._snapshots.get(group)

    def groups(self) -> tuple[str, ...]:
        """Return the groups that have a snapshot, in name order."""
        return tuple(sorted(self._snapshots))

    def watch(self, group: str, watcher: Watcher) -> Callable[[], None]:
        """Have the watcher called with the present snapshot, if any, and each new one; returns how to stop it.

        The watcher must return at once: the publisher calls it.
        """
        self._watches += 1
        key = self._watches
        self._watchers.setdefault(group, {})[key] = watcher
        present = self._snapshots.get(group)
        if present is not None:
            watcher(present)

        def stop() -> None:
            watchers = self._watchers.get(group, {})
            watchers.pop(key, None)
            if not watchers:
                self._watchers.pop(group, None)

        return stop
