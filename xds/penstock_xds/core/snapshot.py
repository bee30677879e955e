"""Resources and snapshots: immutable values, named by their content.

A version is a hash of content, never a counter. So two replicas, or one server before and after a restart, give the
same content the same version, and a reconnecting client is not sent what it already holds. The library never looks
into a body but where `penstock_xds.core.references` says so.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from penstock_xds.errors import DuplicateResourceError

# 64 bits: 11 characters. A reconnecting Delta client repeats every version it holds, so short ones keep that first
# request small; among the versions one name ever has, 64 bits do not collide.
_DIGEST_BYTES = 8


def content_hash(*parts: bytes) -> str:
    """Name the content by 11 URL-safe characters. Parts do not run together: ("ab", "c") differs from ("a", "bc")."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Resource:
    """One named resource: an opaque serialised protobuf message of the type.

    Serialise it deterministically, or equal content will look changed. `version` defaults to a content hash of `body`.
    """

    type_url: str
    name: str
    body: bytes
    version: str = ""

    def __post_init__(self) -> None:
        if not self.version:
            object.__setattr__(self, "version", content_hash(self.body))


def set_version(resources: Iterable[Resource]) -> str:
    """Return the version of a set of resources: a hash of their names and versions, in name order."""
    parts: list[bytes] = []
    for resource in sorted(resources, key=lambda r: r.name):
        parts += (resource.name.encode(), resource.version.encode())
    return content_hash(*parts)


_NOTHING: Mapping[str, Resource] = MappingProxyType({})
_NOTHING_VERSION = set_version(())


class Snapshot:
    """Everything one group of clients is served: immutable, by type, in name order.

    Equal content makes equal snapshots. Safe to share between any number of streams and groups. What it computes
    lazily is cached inside it, so use one snapshot from one thread.
    """

    __slots__ = ("_by_type", "_changes", "_versions")

    def __init__(self, by_type: Mapping[str, Mapping[str, Resource]]) -> None:
        self._by_type = by_type
        self._versions: dict[str, str] = {}
        self._changes: dict[tuple[str, str], frozenset[str]] = {}

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> "Snapshot":
        """Collect the resources, in any order.

        Raises:
            DuplicateResourceError: two resources share type and name.

        """
        collected: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            of_type = collected.setdefault(resource.type_url, {})
            if resource.name in of_type:
                raise DuplicateResourceError(resource.type_url, resource.name)
            of_type[resource.name] = resource
        return cls(
            {
                type_url: MappingProxyType(dict(sorted(of_type.items())))
                for type_url, of_type in sorted(collected.items())
            }
        )

    def types(self) -> tuple[str, ...]:
        """Return the type URLs that have at least one resource."""
        return tuple(self._by_type)

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        """Return the resources of one type by name, in name order; empty for a type it does not hold."""
        return self._by_type.get(type_url, _NOTHING)

    def version(self, type_url: str) -> str:
        """Return the content version of all resources of the type; that of nothing is a version, too."""
        version = self._versions.get(type_url)
        if version is None:
            of_type = self._by_type.get(type_url)
            version = _NOTHING_VERSION if of_type is None else set_version(of_type.values())
            self._versions[type_url] = version
        return version

    def changes(self, previous: "Snapshot", type_url: str) -> frozenset[str]:
        """Names of the type that were added, changed or removed since `previous`. Computed once for all streams."""
        before_version = previous.version(type_url)
        if before_version == self.version(type_url):
            return frozenset()
        key = (type_url, before_version)
        found = self._changes.get(key)
        if found is None:
            before, after = previous.resources(type_url), self.resources(type_url)
            changed = {n for n, r in after.items() if (b := before.get(n)) is None or b.version != r.version}
            found = frozenset(changed | (before.keys() - after.keys()))
            self._changes[key] = found
        return found

    def __eq__(self, other: object) -> bool:
        return self._by_type == other._by_type if isinstance(other, Snapshot) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple((type_url, self.version(type_url)) for type_url in self._by_type))

    def __repr__(self) -> str:
        counts = ", ".join(f"{t.rpartition('.')[2]}: {len(r)}" for t, r in self._by_type.items())
        return f"<Snapshot {counts or 'of nothing'}>"
