"""``penstock bootstrap``: the file an edge Envoy is started with."""

import json
from typing import Annotated

import typer
import yaml

from penstock.admin.address import AddressError, parse_address
from penstock.cli.errors import CommandError
from penstock.cli.terminal import Rendering, write
from penstock_envoy.bootstrap import Variant, XdsTls, render


def bootstrap(  # noqa: PLR0917 - typer reads the parameters as options by name
    node_id: Annotated[str, typer.Option(help="Names this Envoy, unique among all.", show_default=False)],
    group: Annotated[str, typer.Option(help="The node group it belongs to: match.cluster of the NodeGroup.")],
    xds: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the control plane serves xDS.")],
    region: Annotated[str, typer.Option(help="Its region, for its locality.")] = "",
    admin_port: Annotated[int, typer.Option(min=0, max=65535, help="Envoy's own admin port, on loopback.")] = 9901,
    variant: Annotated[Variant, typer.Option(help="The variant of the xDS protocol.")] = "delta",
    health_checks: Annotated[  # noqa: FBT002 - an option by name
        bool,
        typer.Option(
            "--health-checks/--no-health-checks", help="Probe clusters for the control plane when it asks to (HDS)."
        ),
    ] = True,
    xds_ca: Annotated[
        str, typer.Option(metavar="FILE", help="TLS to the control plane: who signed its certificate, PEM.")
    ] = "",
    xds_name: Annotated[
        str, typer.Option(help="A name in the control plane's certificate, where it is not the host.")
    ] = "",
    cert: Annotated[
        str, typer.Option(metavar="FILE", help="Mutual TLS: this Envoy's certificate, with its node id as a name, PEM.")
    ] = "",
    key: Annotated[str, typer.Option(metavar="FILE", help="Its private key, PEM.")] = "",
    output: Annotated[Rendering, typer.Option("--output", "-o", help="The form of the output.")] = Rendering.YAML,
) -> None:
    """Print a complete Envoy bootstrap file."""
    try:
        host, port = parse_address(xds)
    except AddressError as error:
        raise CommandError(f"--xds: {error}") from error
    if port == 0:
        raise CommandError("--xds: port 0 is no port to connect to")
    if (cert or key or xds_name) and not xds_ca:
        raise CommandError("TLS needs --xds-ca; --cert, --key and --xds-name come on top")
    if bool(cert) != bool(key):
        raise CommandError("--cert and --key go together")
    tls = XdsTls(ca_file=xds_ca, certificate=cert, key=key, server_name=xds_name) if xds_ca else None
    text = render(
        node_id,
        group,
        host,
        port,
        region=region,
        admin_port=admin_port,
        variant=variant,
        health_checks=health_checks,
        tls=tls,
    )
    write(text if output is Rendering.YAML else json.dumps(yaml.safe_load(text), indent=2))
