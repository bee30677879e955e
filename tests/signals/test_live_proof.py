"""What users' requests prove of endpoints, one by one where they are told so."""

import pytest

from penstock.signals.live_proof import proven_endpoints
from penstock.signals.load_endpoints import EndpointLoad
from penstock_policies.observations import Load

NOW = 1000.0
KEYS = frozenset({"a:1", "b:1"})


def endpoint(
    ended: float = 400, issued: float = 20, failed: float = 0, succeeded: float = 20, age: float = 1
) -> EndpointLoad:
    return EndpointLoad(NOW - age, 5, ended, issued, failed, succeeded)


@pytest.mark.parametrize(
    ("one", "proven"),
    [
        (endpoint(), True),
        (endpoint(ended=10, issued=0.5, succeeded=0.5), True),
        (endpoint(ended=9), False),
        (endpoint(failed=2, succeeded=18), True),
        (endpoint(failed=3, succeeded=17), False),
        (endpoint(succeeded=9), False),
        (endpoint(age=11), False),
    ],
    ids=["busy", "thin", "too few", "some fail", "too many fail", "most hang", "long ago"],
)
def test_an_endpoint_is_proven_by_its_own_requests(one: EndpointLoad, *, proven: bool) -> None:
    told = {"eu-west": {"a:1": one, "b:1": endpoint(ended=0)}}
    assert proven_endpoints(told, [], KEYS, NOW) == (frozenset({"a:1"}) if proven else frozenset())


def test_what_regions_tell_is_added_up() -> None:
    told = {region: {"a:1": endpoint(ended=6, issued=0.3, succeeded=0.3)} for region in ("eu-west", "us-east")}
    assert proven_endpoints(told, [], KEYS, NOW) == {"a:1"}


def test_where_endpoints_are_not_told_apart_the_sum_speaks_for_all() -> None:
    busy = Load(NOW, 5, 20, 0, success_rate=20)
    assert proven_endpoints({}, [busy], KEYS, NOW) == KEYS
    assert proven_endpoints({"eu-west": {"10.9.9.9:1": endpoint()}}, [busy], KEYS, NOW) == KEYS
    assert proven_endpoints({}, [], KEYS, NOW) == frozenset()
