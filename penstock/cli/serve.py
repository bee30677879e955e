"""``penstock serve``: run the control plane."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from penstock.cli.errors import CommandError


def serve(  # noqa: PLR0917 - typer reads the parameters as options by name
    policies: Annotated[Path, typer.Option(help="The directory of policy files; watched.", show_default=False)],
    state: Annotated[str, typer.Option(help="Where drains, decisions and the audit log are kept.")] = (
        "sqlite:///penstock.db"
    ),
    xds_address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where Envoys connect.")] = "127.0.0.1:18000",
    admin_address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where operators connect: API, dashboard, metrics.")
    ] = "127.0.0.1:18080",
    log_format: Annotated[Literal["text", "json"], typer.Option(help="The form of the log.")] = "text",
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="The least severe that is logged.")
    ] = "info",
) -> None:
    """Run the control plane until it is told to stop (SIGTERM or Ctrl-C)."""
    # Imported here: the gRPC server and the state store cost most of a second that no other command needs to wait for.
    from penstock.control.errors import StartError  # noqa: PLC0415
    from penstock.control.serve import ServeOptions, run  # noqa: PLC0415

    options = ServeOptions(
        policies=policies,
        state=state,
        xds_address=xds_address,
        admin_address=admin_address,
        log_format=log_format,
        log_level=log_level,
    )
    try:
        run(options)
    except StartError as error:
        raise CommandError(str(error)) from error
