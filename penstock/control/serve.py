"""``penstock serve``: run the control plane until told to stop."""

import asyncio
import logging
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from penstock.control import logs
from penstock.control.assembly import Addresses, serving
from penstock.control.garbage import collect_less_often
from penstock.control.thread_turns import take_turns_often
from penstock.control.xds_port import XdsPort
from penstock.signals.credentials import Keyring

logger = logging.getLogger(__name__)

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve. Addresses are ``host:port``; port 0 lets the kernel choose, and the log says what it chose."""

    policies: Path
    state: str = "sqlite:///penstock.db"
    xds_address: str = "127.0.0.1:18000"
    admin_address: str = "127.0.0.1:18080"
    log_format: logs.LogFormat = "text"
    log_level: str = "info"
    xds_port: XdsPort = field(default_factory=XdsPort)
    credentials: Path | None = None
    """The directory of the secrets that policies name files of."""


def run(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: a port is taken, a certificate cannot be used, or the state store cannot be opened or read.
    """
    logs.configure(options.log_format, options.log_level)
    collect_less_often()
    take_turns_often()
    asyncio.run(_serve_until_signalled(options))


async def _serve_until_signalled(options: ServeOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin_to_stop() -> None:
        stop.set()
        # Whoever asks twice does not want to wait for good order: the next signal ends the process at once.
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, begin_to_stop)
    addresses = Addresses(options.xds_address, options.admin_address)
    keyring = Keyring(options.credentials)
    async with serving(options.policies, options.state, addresses, xds_port=options.xds_port, keyring=keyring):
        await stop.wait()
        logger.info("stopping")
