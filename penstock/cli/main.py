"""The ``penstock`` command.

Exit codes: 0 fine, 1 findings (a policy with errors, a control plane that needs attention, a refused drain), 2 wrong
usage or a server that cannot be reached. `penstock plan` and `penstock explain --verify` have codes of their own.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version

import typer

from penstock.cli import (
    bootstrap,
    budgets,
    cluster,
    costs,
    decisions,
    drains,
    explain,
    notices,
    observe,
    plan,
    policies,
    probes,
    quarantine,
    replay,
    serve,
)
from penstock.cli.errors import CommandError
from penstock.cli.options import OutputForm
from penstock.cli.terminal import Output, complain, say, write_json
from penstock.cli.usage import PlainCommand

app = typer.Typer(
    name="penstock",
    help="An Envoy control plane for hybrid LLM serving.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

for command, panel in (
    (serve.serve, "Run"),
    (policies.validate, "Policies"),
    (policies.render, "Policies"),
    (policies.schema, "Policies"),
    (replay.replay, "Policies"),
    (bootstrap.bootstrap, "Run"),
    (observe.status, "Observe"),
    (cluster.cluster, "Observe"),
    (observe.weights, "Observe"),
    (budgets.budgets, "Observe"),
    (costs.costs, "Observe"),
    (observe.nodes, "Observe"),
    (observe.node, "Observe"),
    (probes.probes, "Observe"),
    (quarantine.quarantine, "Observe"),
    (explain.explain, "Observe"),
    (decisions.decisions, "Observe"),
    (drains.drain, "Operate"),
    (drains.undrain, "Operate"),
    (drains.drains, "Operate"),
    (quarantine.release, "Operate"),
):
    app.command(cls=PlainCommand, rich_help_panel=panel)(command)

app.add_typer(notices.notices, name="notices", rich_help_panel="Operate")
app.command(cls=plan.PlanCommand, rich_help_panel="Policies")(plan.plan)


@app.command(cls=PlainCommand, rich_help_panel="Observe")
def version(output: OutputForm = Output.TABLE) -> None:
    """Print the version of this program."""
    if output is Output.JSON:
        write_json({"name": "penstock", "version": installed_version("penstock")})
    else:
        say(f"penstock {installed_version('penstock')}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, this process's own by default, and exit."""
    try:
        app(args=arguments, prog_name="penstock")
    except CommandError as error:
        complain(f"penstock: {error}", "red")
        if error.hint:
            complain(error.hint)
        sys.exit(error.exit_code)
