"""Structured logs on standard error: a constant message plus fields, as text for people or JSON for machines.

Called once, by :func:`penstock.control.serve.run`. Fields are what callers pass as ``extra``; no prompt, secret or
request body is ever among them, because no part of Penstock holds one.
"""

import json
import logging
import sys
import time
from typing import Final, Literal

LogFormat = Literal["text", "json"]

# What every LogRecord carries by itself; anything else on a record is a field of ours.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The structured fields a log call passed as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class TextFormatter(logging.Formatter):
    """``time LEVEL logger message field=value ...`` with a traceback below where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or more with a traceback."""
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        line = f"{stamp} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; values that JSON has no form for are written as text."""
        entry: dict[str, object] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(log_format: LogFormat, level: str) -> None:
    """Send all logs to standard error in the given form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It logs every file touched in the policy directory; what came of it is logged by us.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
