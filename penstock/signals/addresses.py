"""Which addresses a feed's server may have, whatever a name resolves to.

A feed's URL is the policy's, but what its name resolves to is the word of a DNS server, and a feed of the public
internet must not be led to a machine's metadata service or into the private network. So names are resolved through a
guard, at each connection anew, and an address that stands in the URL is judged before anything is asked.
"""

import errno
import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from penstock_policies.feed_apis import Reach

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""Addresses that stand for IPv4 ones behind a translator (RFC 6052)."""
_METADATA: Final = frozenset(
    ipaddress.ip_address(one) for one in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")
)
"""Where clouds answer machines about themselves, outside the link-local range: AWS, Google, Alibaba, Azure."""


class AddressRefusedError(OSError):
    """An address that the feed's ``addresses`` does not allow."""

    def __init__(self, text: str) -> None:
        # What aiohttp tells of an error of a resolver is its `strerror`.
        super().__init__(errno.EACCES, text)

    def __str__(self) -> str:
        return str(self.strerror)


def refusal(address: str, reach: Reach) -> str:
    """Tell why a feed may not ask a server at an address; empty where it may."""
    try:
        found = _plain(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return "not an address"
    if reach is Reach.ANY:
        return ""
    if found.is_link_local or found in _METADATA:
        return "link-local, where clouds keep their machines' credentials"
    if found.is_unspecified or found.is_multicast:
        return "no address of a server"
    if reach is Reach.PUBLIC and not found.is_global:
        return "not public"
    return ""


def _plain(address: _Address) -> _Address:
    """Give the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def check_host(host: str | None, reach: Reach) -> None:
    """Refuse a host that is an address which may not be asked; names are left to the resolver.

    Raises:
        AddressRefusedError: it is one.

    """
    try:
        ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return
    why = refusal(host or "", reach)
    if why:
        raise AddressRefusedError(f"the address {host} is refused: {why} (spec.addresses is {reach})")


class GuardedResolver(AbstractResolver):
    """Resolves names, and leaves out every address that may not be asked."""

    def __init__(self, reach: Reach, resolver: AbstractResolver | None = None) -> None:
        self._reach = reach
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give the addresses of a name that may be asked.

        Raises:
            AddressRefusedError: it has addresses, and none may be.

        """
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if not refusal(one["host"], self._reach)]
        if found and not allowed:
            first = found[0]["host"]
            why = refusal(first, self._reach)
            raise AddressRefusedError(f"{host} is {first}, refused: {why} (spec.addresses is {self._reach})")
        return allowed

    async def close(self) -> None:
        """Let go of the resolver."""
        await self._resolver.close()
