"""The options that commands share."""

import getpass
from typing import Annotated

import typer

from penstock.cli.terminal import Output

Server = Annotated[
    str,
    typer.Option("--server", envvar="PENSTOCK_SERVER", metavar="URL", help="Where the admin API is.", show_envvar=True),
]
DEFAULT_SERVER = "http://127.0.0.1:18080"

OutputForm = Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")]

Owner = Annotated[
    str | None, typer.Option(help="Who answers for it; by default the user who runs this.", show_default=False)
]


def owner_or_user(given: str | None) -> str:
    """Return the owner given, or the user of this process (a container's user may have no name)."""
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
