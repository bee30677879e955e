"""A refusal that names none of several resources: the bad ones are found by sending them in ever smaller parts.

Envoy refuses endpoints so ("malformed IP address: nowhere"), and must not be kept from the good ones for it.
"""

from collections.abc import Callable

import pytest

from penstock_xds import Resource, Variant
from penstock_xds.core.messages import Nacked, Response
from penstock_xds.types import ENDPOINT
from tests.xds.transcript import Client, endpoints

NAMES = tuple("abcdefgh")
MESSAGE = "malformed IP address"

pytestmark = pytest.mark.parametrize("variant", list(Variant))


def holding_all(variant: Variant) -> Client:
    client = Client(variant)
    client.publishes(*map(endpoints, NAMES))
    client.subscribes(ENDPOINT, *NAMES)
    client.receives(ENDPOINT, *NAMES)
    client.acks(ENDPOINT)
    return client


def changed(*bad: str) -> list[Resource]:
    return [endpoints(name, "bad" if name in bad else "new") for name in NAMES]


def answers_all(client: Client, refuses: Callable[[Response], bool]) -> int:
    """Answers everything that comes; how many responses that were."""
    answered = 0
    while client.inbox:
        response = client.takes_next()
        answered += 1
        if refuses(response):
            client.nacks(ENDPOINT, MESSAGE)
        else:
            client.acks(ENDPOINT)
    return answered


def holds_bad(response: Response) -> bool:
    return any(b"bad" in resource.body for resource in response.resources)


@pytest.mark.parametrize("bad", [("c",), ("a", "h"), ("d", "e"), NAMES])
def test_only_the_bad_ones_are_refused_and_all_others_arrive(variant: Variant, bad: tuple[str, ...]) -> None:
    client = holding_all(variant)
    resources = changed(*bad)
    client.publishes(*resources)
    answers_all(client, holds_bad)
    good = {r.name: r for r in resources if r.name not in bad}
    assert client.has(ENDPOINT) == {**{name: endpoints(name) for name in bad}, **good}
    refusals = [event for event in client.events if isinstance(event, Nacked)]
    assert sorted(refusal.names for refusal in refusals) == [(name,) for name in bad]
    assert all(refusal.message == MESSAGE and len(refusal.resources) == 1 for refusal in refusals)
    assert client.view(ENDPOINT).refused == bad
    client.time_passes(3600)
    client.receives_nothing()


def test_one_bad_one_among_many_is_found_in_few_rounds(variant: Variant) -> None:
    client = holding_all(variant)
    client.publishes(*changed("c"))
    # The whole, then two parts for each of three halvings.
    assert answers_all(client, holds_bad) == 7


def test_a_refusal_of_what_is_good_one_by_one_is_told_as_well(variant: Variant) -> None:
    client = holding_all(variant)
    client.publishes(*changed())
    answers_all(client, lambda response: len(response.resources) == len(NAMES))
    assert client.has(ENDPOINT) == {name: endpoints(name, "new") for name in NAMES}
    (refusal,) = (event for event in client.events if isinstance(event, Nacked))
    assert (refusal.names, refusal.message, refusal.resources) == (NAMES, MESSAGE, ())


def test_a_fix_that_comes_while_the_bad_ones_are_looked_for_ends_the_search(variant: Variant) -> None:
    client = holding_all(variant)
    client.publishes(*changed("c"))
    client.takes_next()
    client.nacks(ENDPOINT, MESSAGE)
    client.publishes(*changed())
    answers_all(client, holds_bad)
    assert client.has(ENDPOINT) == {name: endpoints(name, "new") for name in NAMES}
    assert client.view(ENDPOINT).refused == ()
