"""Free ports: below those the kernel gives out by itself, so that nobody is given one between the asking and the use.

A port got by binding to port 0 and closing may go to the next who does the same, and a suite on several cores has many
such. The kernel is still asked whether a port is free. Several test processes on one machine keep apart by their
number.
"""

import os
import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LEAST = 10_240
"""Above the ports of services that a machine may have running."""
_FIRST_OF_KERNELS = 32_768
"""Linux's default, where the machine does not say."""


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of loopback that nobody listens on; all held at once while asking, so none is given twice."""
    held: list[socket.socket] = []
    try:
        for port in _candidates():
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                one.close()
                continue
            held.append(one)
            if len(held) == count:
                return [one.getsockname()[1] for one in held]
        raise RuntimeError(f"no {count} free ports below {_end()}")
    finally:
        for one in held:
            one.close()


def _candidates() -> list[int]:
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = list(range(_LEAST + number, _end(), processes))
    random.shuffle(mine)
    return mine


def _end() -> int:
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _FIRST_OF_KERNELS
    # Where the kernel gives out everything, there is no better place than the default's.
    return first if first > 2 * _LEAST else _FIRST_OF_KERNELS
