"""Whose certificates to trust when this process asks an endpoint: probes and metrics. Called in worker threads."""

import functools
import logging
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)


def trust(ca_file: str) -> ssl.SSLContext:
    """Find out whom to trust. Parsing a system's roots takes 10 ms and more: done in a thread, and once a file."""
    try:
        modified = Path(ca_file).stat().st_mtime_ns
    except OSError:
        return _context(ca_file, None)
    return _context(ca_file, modified)


@functools.lru_cache(maxsize=64)
def _context(ca_file: str, modified: int | None) -> ssl.SSLContext:
    """Trust the roots in a file as it was at a time, or this machine's own where it has no such file.

    The path is one of the Envoy host and need not exist here; calling every endpoint down for that would be wrong.
    """
    if modified is not None:
        try:
            return ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            logger.warning("CA file cannot be used for probes", extra={"file": ca_file, "error": str(error)})
    return ssl.create_default_context()
