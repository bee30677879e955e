"""``penstock serve``: run the control plane."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from penstock.cli.errors import CommandError
from penstock_policies.quantities import format_duration, parse_duration, parse_percentage

if TYPE_CHECKING:
    from penstock.control.xds_port import TlsFiles

SHORTEST_AGE: Final = 10.0
"""Seconds. Below, Envoys would do little else than reconnect."""
LONGEST_AGE: Final = 30 * 86400.0
LONGEST_WINDOW: Final = 300.0
"""Seconds. Longer than any supervisor waits for a process to stop."""


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
    xds_tls_cert: Annotated[
        Path | None, typer.Option(help="Serve xDS over TLS: the certificate, PEM.", show_default=False)
    ] = None,
    xds_tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.", show_default=False)] = None,
    xds_client_ca: Annotated[
        Path | None,
        typer.Option(
            help="Mutual TLS: who signs Envoys' certificates, PEM. An Envoy's node id must be one of the names in it.",
            show_default=False,
        ),
    ] = None,
    xds_max_age: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="End streams at about this age, so that Envoys spread over replicas. Off unless given.",
            show_default=False,
        ),
    ] = None,
    xds_drain_window: Annotated[
        str, typer.Option(metavar="DURATION", help="When stopping, end the streams one by one over this time.")
    ] = "1s",
    xds_refusal_tolerance: Annotated[
        str,
        typer.Option(
            metavar="PERCENT",
            help="How many of a group's Envoys may refuse what others accept before it is sent to no more of them.",
        ),
    ] = "0%",
    credentials: Annotated[
        Path | None,
        typer.Option(
            envvar="CREDENTIALS_DIRECTORY",
            help="The directory of the secrets that probes and cost feeds show. Policies name its files.",
            file_okay=False,
            exists=True,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the control plane until it is told to stop (SIGTERM or Ctrl-C)."""
    # Imported here: the gRPC server and the state store cost most of a second that no other command needs to wait for.
    from penstock.control.errors import StartError  # noqa: PLC0415
    from penstock.control.serve import ServeOptions, run  # noqa: PLC0415
    from penstock.control.xds_port import XdsPort  # noqa: PLC0415

    xds_port = XdsPort(
        tls=_tls_files(xds_tls_cert, xds_tls_key, xds_client_ca),
        max_age=None if xds_max_age is None else _duration("--xds-max-age", xds_max_age, SHORTEST_AGE, LONGEST_AGE),
        drain_window=_duration("--xds-drain-window", xds_drain_window, 0.0, LONGEST_WINDOW),
        refusal_tolerance=_tolerance(xds_refusal_tolerance),
    )
    options = ServeOptions(
        policies=policies,
        state=state,
        xds_address=xds_address,
        admin_address=admin_address,
        log_format=log_format,
        log_level=log_level,
        xds_port=xds_port,
        credentials=credentials,
    )
    try:
        run(options)
    except StartError as error:
        raise CommandError(str(error)) from error


def _duration(option: str, text: str, least: float, most: float) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}") from error
    if not least <= seconds <= most:
        raise CommandError(f"{option}: expected {format_duration(least)} to {format_duration(most)}")
    return seconds


def _tolerance(text: str) -> float:
    try:
        share = parse_percentage(text)
    except ValueError as error:
        raise CommandError(f"--xds-refusal-tolerance: {error}") from error
    if not 0.0 <= share < 1.0:
        raise CommandError("--xds-refusal-tolerance: expected 0% to 99%; with 100% nothing would ever be quarantined")
    return share


def _tls_files(certificate: Path | None, key: Path | None, client_ca: Path | None) -> "TlsFiles | None":
    from penstock.control.xds_port import TlsFiles  # noqa: PLC0415

    if certificate is None or key is None:
        # Half of it would silently serve what the operator thinks is protected.
        if certificate is not None or key is not None or client_ca is not None:
            raise CommandError("TLS needs both --xds-tls-cert and --xds-tls-key; --xds-client-ca comes on top")
        return None
    return TlsFiles(certificate, key, client_ca)
