"""Addresses to listen on and to connect to, as operators write them."""


class AddressError(ValueError):
    """An address that is not ``HOST:PORT``."""


def parse_address(address: str) -> tuple[str, int]:
    """Return the host and port of ``HOST:PORT`` or ``[IPV6]:PORT``.

    Raises:
        AddressError: it is not such an address.

    """
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"{address!r}: write an IPv6 address as [{host}]:{port}")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"{address!r} is not HOST:PORT")
    return host, int(port)
