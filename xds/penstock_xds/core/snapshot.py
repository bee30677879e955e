"""Resources and snapshots: immutable values, named by their content.

A version is a hash of content, never a counter. So two replicas, or one server before and after a restart, give the
same content the same version, and a reconnecting client is not sent what it already holds. The library never looks
into a body but where `penstock_xds.core.references` says so.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from penstock_xds.errors import DuplicateResourceError, InvalidTtlError

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

    Serialise it deterministically, or equal content will look changed. `version` defaults to a content hash of `body`
    (and of `ttl`, if there is one: adding, changing or dropping it is a change to be sent).
    """

    type_url: str
    name: str
    body: bytes
    version: str = ""
    ttl: float | None = None
    """Seconds, above 0, after which a client that supports it drops the resource unless it hears of it again; the
    server sees to that. None: it never expires."""
    on_demand: bool = False
    """Served to those alone who ask for it by its name: no part of `*`."""

    def __post_init__(self) -> None:
        if self.ttl is not None and not 0 < self.ttl < math.inf:
            raise InvalidTtlError(self.type_url, self.name, self.ttl)
        if not self.version:
            parts = (self.body,) if self.ttl is None else (self.body, repr(float(self.ttl)).encode())
            object.__setattr__(self, "version", content_hash(*parts))


@dataclass(frozen=True, slots=True)
class ResourceError:
    """Why a resource is not served, for clients that can be told (gRFC A88, xRFC TP3)."""

    type_url: str
    name: str
    code: int
    """A `google.rpc.Code`, such as 5 (NOT_FOUND) or 7 (PERMISSION_DENIED)."""
    message: str


def set_version(resources: Iterable[Resource]) -> str:
    """Return the version of a set of resources: a hash of their names and versions, in name order."""
    parts: list[bytes] = []
    for resource in sorted(resources, key=lambda r: r.name):
        parts += (resource.name.encode(), resource.version.encode())
        if resource.on_demand:
            parts.append(b"on demand")
    return content_hash(*parts)


def _served_alike(one: Resource | None, other: Resource) -> bool:
    if one is None:
        return False
    return one is other or (one.version == other.version and one.on_demand == other.on_demand)


_NOTHING: Mapping[str, Resource] = MappingProxyType({})
_NOTHING_VERSION = set_version(())
_NONE_TOLERATED: Mapping[tuple[str, str], frozenset[str]] = MappingProxyType({})
_NO_ERRORS_OF_TYPE: Mapping[str, ResourceError] = MappingProxyType({})
_NO_ERRORS: Mapping[str, Mapping[str, ResourceError]] = MappingProxyType({})


class Snapshot:
    """Everything one group of clients is served: immutable, by type, in name order.

    Equal content makes equal snapshots. Safe to share between any number of streams and groups. What it computes
    lazily is cached inside it, so use one snapshot from one thread.
    """

    __slots__ = ("_by_type", "_changes", "_errors", "_token", "_tolerated", "_versions")

    def __init__(
        self,
        by_type: Mapping[str, Mapping[str, Resource]],
        tolerated: Mapping[tuple[str, str], frozenset[str]] = _NONE_TOLERATED,
        errors: Mapping[str, Mapping[str, ResourceError]] = _NO_ERRORS,
    ) -> None:
        self._by_type = by_type
        self._tolerated = tolerated
        self._errors = errors
        self._versions: dict[str, str] = {}
        # Predecessors are remembered by their tokens: a reference to one would keep all before it alive, too.
        self._token = object()
        self._changes: dict[object, Mapping[str, frozenset[str]]] = {}

    @classmethod
    def of(
        cls,
        resources: Iterable[Resource],
        *,
        tolerated: Mapping[tuple[str, str], str | frozenset[str]] = _NONE_TOLERATED,
        errors: Iterable[ResourceError] = (),
    ) -> "Snapshot":
        """Collect the resources, in any order.

        Args:
            resources: all there is to serve.
            tolerated: (type URL, name) to a version, or several, other than the one served: a client that holds one of
                them already keeps it and is not moved to the one served. Everybody else gets the one served. Of a name
                that is tolerated and not served at all, clients keep whatever they hold. It ends with the snapshot.
            errors: why some names are not served, for clients that understand it; the others are told as ever.

        Raises:
            DuplicateResourceError: two resources, two errors, or a resource and an error share type and name.

        """
        collected: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            of_type = collected.setdefault(resource.type_url, {})
            if resource.name in of_type:
                raise DuplicateResourceError(resource.type_url, resource.name)
            of_type[resource.name] = resource
        stated: dict[str, dict[str, ResourceError]] = {}
        for error in errors:
            of_kind = stated.setdefault(error.type_url, {})
            if error.name in of_kind or error.name in collected.get(error.type_url, {}):
                raise DuplicateResourceError(error.type_url, error.name)
            of_kind[error.name] = error
        return cls(
            {
                type_url: MappingProxyType(dict(sorted(of_type.items())))
                for type_url, of_type in sorted(collected.items())
            },
            MappingProxyType({key: frozenset({v}) if isinstance(v, str) else v for key, v in tolerated.items()}),
            MappingProxyType({type_url: MappingProxyType(of_kind) for type_url, of_kind in stated.items()}),
        )

    def altered(
        self,
        replacements: Mapping[tuple[str, str], Resource | None],
        tolerated: Mapping[tuple[str, str], frozenset[str]],
    ) -> "Snapshot":
        """Return this snapshot with some resources exchanged, added or, where None, left out.

        Shares all of the types it does not touch. What is tolerated comes on top of what is tolerated already.
        """
        by_type = dict(self._by_type)
        errors = dict(self._errors)
        for type_url in {type_url for type_url, _ in replacements}:
            of_type = dict(self.resources(type_url))
            of_type.update({n: r for (t, n), r in replacements.items() if t == type_url and r is not None})
            for name in [n for (t, n), r in replacements.items() if t == type_url and r is None]:
                of_type.pop(name, None)
            by_type[type_url] = MappingProxyType(dict(sorted(of_type.items())))
            stated = {n: e for n, e in self.errors(type_url).items() if n not in of_type}
            errors[type_url] = MappingProxyType(stated)
        return Snapshot(
            {type_url: of_type for type_url, of_type in sorted(by_type.items()) if of_type},
            MappingProxyType({**self._tolerated, **tolerated}),
            MappingProxyType({type_url: stated for type_url, stated in errors.items() if stated}),
        )

    def types(self) -> tuple[str, ...]:
        """Return the type URLs that have at least one resource."""
        return tuple(self._by_type)

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        """Return the resources of one type by name, in name order; empty for a type it does not hold."""
        return self._by_type.get(type_url, _NOTHING)

    @property
    def tolerated(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """(type URL, name) to the versions that clients which hold one keep, although another or none is served."""
        return self._tolerated

    @property
    def token(self) -> object:
        """What others may remember this snapshot by without keeping it alive."""
        return self._token

    @property
    def erring_types(self) -> tuple[str, ...]:
        """The type URLs of which some names are not served for a stated reason."""
        return tuple(self._errors)

    def errors(self, type_url: str) -> Mapping[str, ResourceError]:
        """Return why names of the type are not served, by name."""
        return self._errors.get(type_url, _NO_ERRORS_OF_TYPE)

    def version(self, type_url: str) -> str:
        """Return the content version of all resources of the type; that of nothing is a version, too."""
        version = self._versions.get(type_url)
        if version is None:
            of_type = self._by_type.get(type_url)
            version = _NOTHING_VERSION if of_type is None else set_version(of_type.values())
            self._versions[type_url] = version
        return version

    def changes_since(self, previous: "Snapshot") -> Mapping[str, frozenset[str]]:
        """Names that are treated otherwise than in `previous`, by type. Computed once for all streams."""
        found = self._changes.get(previous.token)
        if found is None:
            found = self._changes[previous.token] = _differences(previous, self)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return self._by_type == other._by_type and self._tolerated == other._tolerated and self._errors == other._errors

    def __hash__(self) -> int:
        return hash(
            (
                tuple((type_url, self.version(type_url)) for type_url in self._by_type),
                frozenset(self._tolerated.items()),
            )
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{t.rpartition('.')[2]}: {len(r)}" for t, r in self._by_type.items())
        return f"<Snapshot {counts or 'of nothing'}>"


def _differences(before: Snapshot, after: Snapshot) -> Mapping[str, frozenset[str]]:
    changed: dict[str, set[str]] = {}
    for type_url in {*before.types(), *after.types()}:
        old, new = before.resources(type_url), after.resources(type_url)
        if old is not new:
            names = {name for name, resource in new.items() if not _served_alike(old.get(name), resource)}
            changed[type_url] = names | (old.keys() - new.keys())
    for (type_url, name), _ in before.tolerated.items() ^ after.tolerated.items():
        changed.setdefault(type_url, set()).add(name)
    for type_url in {*before.erring_types, *after.erring_types}:
        stated = before.errors(type_url).items() ^ after.errors(type_url).items()
        changed.setdefault(type_url, set()).update(name for name, _ in stated)
    return MappingProxyType({type_url: frozenset(names) for type_url, names in changed.items() if names})
