"""The options that commands share."""

from typing import Annotated

import typer

from penstock.cli.terminal import Output

Server = Annotated[
    str,
    typer.Option("--server", envvar="PENSTOCK_SERVER", metavar="URL", help="Where the admin API is.", show_envvar=True),
]
DEFAULT_SERVER = "http://127.0.0.1:18080"

OutputForm = Annotated[Output, typer.Option("--output", "-o", help="For people or for programs.")]
