"""What a group was served before: to go back to as a whole, when a mixture with older versions must not be served.

Kept by one Rollout. Holds whole targets, which share all resources that did not change.
"""

from collections import deque
from collections.abc import Mapping

from penstock_xds.core.last_good import Key
from penstock_xds.core.snapshot import Snapshot

# A client may take its time to refuse (a cluster that warms takes 15 s) while publications come every second.
_TARGETS_KEPT = 64


class EarlierTargets:
    """The latest targets of a group, the newest last."""

    __slots__ = ("_targets",)

    def __init__(self) -> None:
        self._targets: deque[Snapshot] = deque(maxlen=_TARGETS_KEPT)

    def add(self, target: Snapshot) -> None:
        """Note what was served until now."""
        if not self._targets or self._targets[-1] is not target:
            self._targets.append(target)

    def find(self, instead: Mapping[Key, str], quarantined: Mapping[Key, frozenset[str]]) -> Snapshot | None:
        """Return the newest target that holds nothing quarantined and of each name in `instead` that very version.

        A name with no version to stand in for it (an empty one) may be there in any that is not quarantined, or not.
        """
        for target in reversed(self._targets):
            if all(_version(target, key) == version for key, version in instead.items() if version) and not any(
                _version(target, key) in versions for key, versions in quarantined.items()
            ):
                return target
        return None


def _version(target: Snapshot, key: Key) -> str:
    resource = target.resources(key[0]).get(key[1])
    return "" if resource is None else resource.version
