"""Which addresses feeds may ask, and what their names may resolve to."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from penstock.signals.addresses import AddressRefusedError, GuardedResolver, check_host, refusal
from penstock_policies.feed_apis import Reach

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
PRIVATE = ["10.0.0.1", "172.16.5.4", "192.168.1.1", "127.0.0.1", "::1", "fd12:3456::1", "100.64.0.1"]
NEVER = [
    "169.254.169.254",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",  # noqa: S104
    "::",
    "224.0.0.1",
    "ff02::1",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_always_be_asked(address: str) -> None:
    assert [refusal(address, reach) for reach in Reach] == ["", "", ""]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_ones_only_where_the_feed_is_not_public(address: str) -> None:
    assert refusal(address, Reach.PUBLIC) == "not public"
    assert refusal(address, Reach.PRIVATE) == ""


@pytest.mark.parametrize("address", ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1"])
def test_private_ones_in_disguise_are_known(address: str) -> None:
    assert refusal(address, Reach.PUBLIC) == "not public"


@pytest.mark.parametrize("address", NEVER)
def test_machines_own_services_only_where_the_policy_says_any(address: str) -> None:
    assert refusal(address, Reach.PUBLIC)
    assert refusal(address, Reach.PRIVATE)
    assert refusal(address, Reach.ANY) == ""


class Names(AbstractResolver):
    """A DNS server that says what it is told to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0)
            for one in self.addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_public_name_that_leads_to_the_metadata_service_is_refused() -> None:
    resolver = GuardedResolver(Reach.PRIVATE, Names("169.254.169.254"))
    with pytest.raises(AddressRefusedError, match=r"prices\.example\.com is 169\.254\.169\.254, refused"):
        await resolver.resolve("prices.example.com", 80)


async def test_of_several_addresses_those_that_may_be_asked_are_left() -> None:
    resolver = GuardedResolver(Reach.PUBLIC, Names("10.0.0.1", PUBLIC[0], "169.254.0.1"))
    assert [one["host"] for one in await resolver.resolve("prices.example.com", 80)] == [PUBLIC[0]]


def test_names_are_left_to_the_resolver_and_addresses_are_judged() -> None:
    check_host("prices.example.com", Reach.PUBLIC)
    check_host(None, Reach.PUBLIC)
    check_host("10.0.0.1", Reach.PRIVATE)
    with pytest.raises(AddressRefusedError, match=r"spec\.addresses is public"):
        check_host("10.0.0.1", Reach.PUBLIC)
