"""What a group is served when some of what was published is quarantined.

A pure function of what was published, what is quarantined and what was good before:

* A quarantined version gives way to the last good one of its name; all else moves on. Clients that hold the
  quarantined version, or another newer than the last good one, keep it.
* A name without a last good version is *left out*, and clients keep whatever they hold of it.
* A resource that names what is left out, and changed with it or after, stays at its own newest version that names less
  of it, so that nothing is pointed at what is not served. So does what names a *new* resource that names what is left
  out; that new one is then left out, too. One that nothing older can stand in for is served as it is: better wrong in
  part than not at all.
* What an older version names, and was removed from the snapshot, is served on with it.
* Clients that hold all that is left out need none of the last three and are served the *whole*.

"Names" is what `penstock_xds.core.references` and the table in `penstock_xds.core.order` say: never too little, and at
times more than there is, which holds something back that need not be.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from penstock_xds.core.last_good import Key, LastGood
from penstock_xds.core.order import rule_for
from penstock_xds.core.references import mentions
from penstock_xds.core.snapshot import Resource, Snapshot

_Usable = Callable[[Resource], bool]


@dataclass(frozen=True, slots=True)
class Trial:
    """What only canaries are to have."""

    snapshot: Snapshot
    new: Mapping[Key, str]
    """Versions in it that nobody had accepted before: nobody else is to be served them yet, accepted or not."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What the clients of a group are served."""

    reduced: Snapshot
    """For everybody else: without what is left out and what names it."""
    whole: Snapshot
    """For clients that hold all of `wanting`."""
    wanting: Mapping[Key, str] = field(default_factory=dict)
    """What is left out, and in which version clients may hold it."""
    instead: Mapping[Key, str] = field(default_factory=dict)
    """The version served instead of each quarantined one; empty for none."""
    held_back: tuple[Key, ...] = ()
    """What stays at an older version, or is left out, as it names what is left out."""
    held: str = ""
    """Why the group is kept at the whole of an earlier target: what was said of the mixture; empty if it is not."""


def serve(
    published: Snapshot,
    quarantined: Mapping[Key, frozenset[str]],
    past: LastGood,
    *,
    trial: Trial | None = None,
) -> Serving:
    """Work out what to serve.

    Args:
        published: what is to be served, but for what is quarantined.
        quarantined: the versions not to be sent, by name.
        past: what was good before.
        trial: what others are to have, if something is on trial with them.

    """
    refused = _refused(published, quarantined)
    if not refused:
        return Serving(published, published)

    def good(resource: Resource) -> bool:
        key = (resource.type_url, resource.name)
        tried = trial is not None and trial.new.get(key) == resource.version
        return not tried and resource.version not in quarantined.get(key, ())

    gone = _gone(published, past, trial)
    # Left, and no good version of it is known: what names these cannot be gone back to.
    lost = [key for key in gone if key in quarantined and past.find(key, good) is None]

    def usable(resource: Resource) -> bool:
        return good(resource) and not any(_may_name(resource, key) for key in lost)

    instead = {key: past.find(key, usable) for key in refused}
    left_out = {key: refused[key] for key, found in instead.items() if found is None}
    back = _bring_back(gone, instead.values(), past, usable)
    newer = {k: quarantined[k] | (past.newer(r) if r is not None else frozenset()) for k, r in instead.items()}
    whole = published.altered({**instead, **back}, newer)
    held = _hold_back(published, left_out, instead, past, usable)
    reduced = whole
    if held:
        # Clients that have the newer ones are moved back, as those lead to what they lack.
        older = {**instead, **held}
        back = _bring_back(gone, older.values(), past, usable)
        kept = {key: frozenset[str]() for key, found in held.items() if found is None}
        reduced = published.altered({**older, **back}, {**newer, **kept})
    return Serving(
        reduced,
        whole,
        wanting=left_out,
        instead={key: "" if found is None else found.version for key, found in instead.items()},
        held_back=tuple(sorted(held)),
    )


def keeping(before: Serving | None, after: Serving) -> Serving:
    """Keep the snapshots of before where they are equal, so that nobody is told of the same thing again."""
    if before is None:
        return after
    reduced = before.reduced if before.reduced == after.reduced else after.reduced
    whole = reduced if after.whole is after.reduced else after.whole
    if whole is not reduced and before.whole == whole:
        whole = before.whole
    return replace(after, reduced=reduced, whole=whole)


def _refused(published: Snapshot, quarantined: Mapping[Key, frozenset[str]]) -> dict[Key, str]:
    """What is published in a quarantined version."""
    found = {}
    for (type_url, name), versions in quarantined.items():
        resource = published.resources(type_url).get(name)
        if resource is not None and resource.version in versions:
            found[(type_url, name)] = resource.version
    return found


def _hold_back(
    published: Snapshot, left_out: Iterable[Key], settled: Collection[Key], past: LastGood, usable: _Usable
) -> dict[Key, Resource | None]:
    """Find what must not go out as it names, directly or not, what is left out; and what to serve instead, if any."""
    held: dict[Key, Resource | None] = {}
    # New resources that name what is left out, and who names them.
    new: dict[Key, set[Key]] = {}
    looking = list(left_out)
    missing = set(looking)
    while looking:
        target = looking.pop()
        for user in _users(published, target):
            key = (user.type_url, user.name)
            if target in new:
                new[target].add(key)
            if key in settled or key in held or key in new or not past.changed_with(key, target):
                continue
            older = past.find(key, _better_than(user, missing, usable))
            if older is not None:
                held[key] = older
            elif past.find(key, _other_than(user, usable)) is None:
                new[key] = set()
                looking.append(key)
                missing.add(key)
    for key, users in new.items():
        # Named by what is served after all.
        users.update(k for k, older in held.items() if older is not None and _may_name(older, key))
    dispensable = _dispensable(new, {*held, *settled})
    held.update(dict.fromkeys(dispensable))
    return held


def _other_than(user: Resource, usable: _Usable) -> _Usable:
    return lambda candidate: candidate.version != user.version and usable(candidate)


def _better_than(user: Resource, missing: Collection[Key], usable: _Usable) -> _Usable:
    named, other = _named(user, missing), _other_than(user, usable)
    return lambda candidate: other(candidate) and _named(candidate, missing) < named


def _dispensable(new: Mapping[Key, set[Key]], held: Collection[Key]) -> set[Key]:
    """Those of the new resources that nothing served names: all that named them is held back."""
    needed = {key for key, users in new.items() if not users or any(u not in held and u not in new for u in users)}
    looking = list(needed)
    while looking:
        user = looking.pop()
        found = {key for key, users in new.items() if user in users} - needed
        needed |= found
        looking += found
    return set(new) - needed


def _gone(published: Snapshot, past: LastGood, trial: Trial | None) -> list[Key]:
    """List what is known and not published; what a trial brings back has left all the same."""
    found = set(past.gone())
    if trial is not None:
        for type_url, names in trial.snapshot.changes_since(published).items():
            found.update((type_url, name) for name in names)
    return sorted(key for key in found if key[1] not in published.resources(key[0]))


def _bring_back(
    gone: Sequence[Key], older: Iterable[Resource | None], past: LastGood, usable: _Usable
) -> dict[Key, Resource]:
    """Find what older versions name and the snapshot has no more."""
    back: dict[Key, Resource] = {}
    looking = [resource for resource in older if resource is not None]
    while looking and gone:
        user = looking.pop()
        for key in gone:
            if key not in back and _may_name(user, key):
                found = past.find(key, usable)
                if found is not None:
                    back[key] = found
                    looking.append(found)
    return back


def _users(published: Snapshot, target: Key) -> list[Resource]:
    type_url, name = target
    return [
        resource
        for user_type in rule_for(type_url).used_by
        for resource in published.resources(user_type).values()
        if (user_type, resource.name) != target and mentions(resource, (name,))
    ]


def _may_name(user: Resource, target: Key) -> bool:
    return user.type_url in rule_for(target[0]).used_by and mentions(user, (target[1],))


def _named(user: Resource, targets: Iterable[Key]) -> set[Key]:
    return {target for target in targets if _may_name(user, target)}
