"""Which Envoys of a region probe which cluster: rendezvous hashing, kept up as Envoys come and go. Pure.

Every pair of an Envoy and a cluster has a rank by hash, and the highest ranks of a cluster check it. So an Envoy that
goes moves only what it checked, one that comes takes only what it ranks high for, and every replica of the control
plane that sees the same Envoys chooses the same. A change costs what it changes: some hundred hashes, whatever the size
of the region.
"""

import heapq
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

_NOBODY: Final[frozenset[str]] = frozenset()

_Rank = tuple[int, str]


def rank(node: str, cluster: str) -> int:
    """Give how much a node is one to check a cluster, 0 to 2**64 - 1."""
    # Lengths first, so that no two pairs read alike.
    told = f"{len(node)}:{node}{cluster}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(told, digest_size=8).digest(), "big")


def choose(nodes: Iterable[str], cluster: str, count: int) -> frozenset[str]:
    """Choose ``count`` checkers, or all where there are fewer."""
    return frozenset(heapq.nlargest(count, nodes, key=lambda node: (rank(node, cluster), node)))


@dataclass(slots=True)
class Roster:
    """Who checks what in one region."""

    _counts: dict[str, int] = field(default_factory=dict)
    """Cluster to how many are to check it."""
    _nodes: dict[str, frozenset[str]] = field(default_factory=dict)
    """Node to the clusters it may be asked to check."""
    _ranked: dict[str, list[_Rank]] = field(default_factory=dict)
    """Cluster to its checkers, the highest rank last."""
    _of: dict[str, set[str]] = field(default_factory=dict)
    """Node to the clusters it checks."""

    def set_clusters(self, counts: Mapping[str, int]) -> set[str]:
        """Say which clusters are to be checked by how many; return the nodes whose clusters that changes."""
        changed: set[str] = set()
        for cluster in self._counts.keys() - counts.keys():
            del self._counts[cluster]
            changed |= self._take_off(cluster)
        for cluster, count in counts.items():
            if self._counts.get(cluster) != count:
                self._counts[cluster] = count
                changed |= self._choose(cluster)
        return changed

    def join(self, node: str, may: frozenset[str]) -> set[str]:
        """Add a node that may check some clusters, or change which; return the nodes whose clusters that changes."""
        before = self._nodes.get(node, _NOBODY)
        self._nodes[node] = may
        changed: set[str] = set()
        for cluster in (before - may) & self._of.get(node, set()):
            changed |= self._choose(cluster)
        for cluster in (may - before) & self._counts.keys():
            changed |= self._consider(cluster, node)
        return changed

    def leave(self, node: str) -> set[str]:
        """Take a node away; return the nodes whose clusters that changes, itself among them if it had any."""
        self._nodes.pop(node, None)
        changed: set[str] = set()
        for cluster in tuple(self._of.get(node, ())):
            changed |= self._choose(cluster)
        self._of.pop(node, None)
        return changed

    def of(self, node: str) -> frozenset[str]:
        """Name the clusters that a node checks."""
        return frozenset(self._of.get(node, ()))

    def checkers(self, cluster: str) -> frozenset[str]:
        """Name the nodes that check a cluster."""
        return frozenset(node for _, node in self._ranked.get(cluster, ()))

    def nodes(self) -> frozenset[str]:
        """Name those who can be chosen."""
        return frozenset(self._nodes)

    def _consider(self, cluster: str, node: str) -> set[str]:
        ranked, count = self._ranked.setdefault(cluster, []), self._counts[cluster]
        mine = (rank(node, cluster), node)
        if len(ranked) >= count and mine < ranked[0]:
            return set()
        insort(ranked, mine)
        self._of.setdefault(node, set()).add(cluster)
        changed = {node}
        while len(ranked) > count:
            _, out = ranked.pop(0)
            self._of[out].discard(cluster)
            changed.add(out)
        return changed

    def _choose(self, cluster: str) -> set[str]:
        """Choose anew among all: when one has gone, or another number is wanted."""
        able = (node for node, may in self._nodes.items() if cluster in may)
        chosen = choose(able, cluster, self._counts[cluster])
        before = self.checkers(cluster)
        self._ranked[cluster] = sorted((rank(node, cluster), node) for node in chosen)
        for node in before - chosen:
            self._of[node].discard(cluster)
        for node in chosen - before:
            self._of.setdefault(node, set()).add(cluster)
        return set(before ^ chosen)

    def _take_off(self, cluster: str) -> set[str]:
        gone = self.checkers(cluster)
        self._ranked.pop(cluster, None)
        for node in gone:
            self._of[node].discard(cluster)
        return set(gone)
