"""Keeping a conversation together: how its requests are told, and how weights divide conversations.

Envoy hashes what tells a conversation (a header or a cookie). The hash picks a place among the route's weighted
entries, 0 to 9 999, and in the leg's cluster an endpoint. A conversation therefore changes cluster only when the place
it falls on changes hands, so :func:`placed` lays the entries out such that a change of weights hands over little more
than it must.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from envoy_data_plane.envoy.config.route import v3 as route

from penstock_envoy.legs import Leg
from penstock_policies.steering import Affinity

_Span = tuple[int, int]
"""Places from the first up to, and without, the second."""


def hash_policy(affinity: Affinity) -> list[route.RouteActionHashPolicy]:
    """What Envoy hashes of a request; a request without it goes anywhere, by weight."""
    if affinity.header is not None:
        header = route.RouteActionHashPolicyHeader(header_name=affinity.header)
        return [route.RouteActionHashPolicy(header=header)]
    cookie = route.RouteActionHashPolicyCookie(name=affinity.cookie or "")
    if affinity.ttl is not None:
        cookie.ttl = timedelta(seconds=affinity.ttl)
        # Without a path the browser would keep the cookie to the path of its first request.
        cookie.path = "/"
        cookie.attributes = [
            route.RouteActionHashPolicyCookieAttribute(name=name, value=value)
            for name, value in (("HttpOnly", ""), ("SameSite", "Lax"))
        ]
    return [route.RouteActionHashPolicy(cookie=cookie)]


def placed(legs: Sequence[Leg], order: Sequence[str]) -> tuple[Leg, ...]:
    """The legs as entries in order of their places; a leg may have several, and one of weight 0 is kept.

    The first cluster is the common neighbour: each other one grows from a home of its own, evenly spread over the
    places, and the first has what is left between them. So what shifts between the first and another is all that
    changes hands, wherever the boundaries are; and what shifts between two others passes through the first, twice as
    much. A leg too great for its home goes on in the gaps before the homes that follow.

    Args:
        legs: each to be tried first at another cluster.
        order: every cluster the row could ever have, so that one that comes or goes moves nobody's home.

    """
    by_cluster = {leg.members[0]: leg for leg in legs}
    total = sum(leg.weight for leg in legs)
    common, *others = order
    spans: list[tuple[_Span, str]] = []
    gaps: list[_Span] = []
    overflows: list[int] = []
    for index, name in enumerate(others):
        start, end = total * index // len(others), total * (index + 1) // len(others)
        weight = by_cluster[name].weight if name in by_cluster else 0
        filled = min(start + weight, end)
        spans.append(((start, filled), name))
        gaps.append((filled, end))
        overflows.append(weight - (filled - start))
    for index, name in enumerate(others):
        spans.extend((span, name) for span in _taken(gaps, after=index, amount=overflows[index]))
    spans.extend((gap, common) for gap in gaps or [(0, total)])
    merged = _merged((end - start, name) for (start, end), name in sorted(spans) if end > start)
    entries = tuple(Leg(by_cluster[name].members, width) for width, name in merged)
    return (*entries, *(leg for leg in legs if leg.weight == 0))


def _taken(gaps: list[_Span], *, after: int, amount: int) -> Iterator[_Span]:
    """Take an amount of the gaps, each from its end, beginning with the gap after one's own."""
    for step in range(1, len(gaps) + 1):
        if amount <= 0:
            return
        index = (after + step) % len(gaps)
        start, end = gaps[index]
        cut = max(start, end - amount)
        gaps[index] = (start, cut)
        amount -= end - cut
        yield cut, end


def _merged(spans: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Join neighbours of one name."""
    merged: list[tuple[int, str]] = []
    for width, name in spans:
        if merged and merged[-1][1] == name:
            merged[-1] = (merged[-1][0] + width, name)
        else:
            merged.append((width, name))
    return merged
