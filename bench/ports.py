"""Free ports, asked of the kernel."""

import socket


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of loopback that nobody listens on; all held at once while asking, so none is given twice."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
