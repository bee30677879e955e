"""``penstock serve``: run the control plane until told to stop."""

import asyncio
import logging
import signal
from dataclasses import dataclass
from pathlib import Path

from penstock.control import logs
from penstock.control.assembly import Addresses, serving

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve. Addresses are ``host:port``; port 0 lets the kernel choose, and the log says what it chose."""

    policies: Path
    state: str = "sqlite:///penstock.db"
    xds_address: str = "127.0.0.1:18000"
    admin_address: str = "127.0.0.1:18080"
    log_format: logs.LogFormat = "text"
    log_level: str = "info"


def run(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: a port is taken, or the state store cannot be opened or read.
    """
    logs.configure(options.log_format, options.log_level)
    asyncio.run(_serve_until_signalled(options))


async def _serve_until_signalled(options: ServeOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(options.policies, options.state, Addresses(options.xds_address, options.admin_address)):
        await stop.wait()
        logger.info("stopping")
