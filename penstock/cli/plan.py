"""``penstock plan``: what a policy edit would do, before it is merged.

Exit codes are those of other planners, not of this program's other commands: 0 nothing changes, 2 something does, 1 an
error or a broken ``--forbid`` rule, so that a pipeline tells the three apart.
"""

import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from penstock.admin.moment import FORMS, parse_moment
from penstock.cli.client import call
from penstock.cli.errors import CommandError
from penstock.cli.policies import Directory
from penstock.cli.terminal import PlanForm, clean
from penstock.cli.usage import USAGE_ERROR, in_words
from penstock.plan.inputs import Inputs, InputsError, masked, parse_inputs, read_inputs

ERROR: Final = 1
"""There is no plan, or one that breaks a rule. Not 2, this program's code for errors elsewhere: that is changes."""


class PlanCommand(TyperCommand):
    """Ends wrong usage with 1: 2 would tell a pipeline that there are changes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer does not export its base type
        """Parse, or end with a usage error of our own."""
        try:
            return super().parse_args(ctx, args)
        except USAGE_ERROR as error:
            raise CommandError(in_words(error), exit_code=ERROR, hint="`penstock plan --help` tells more") from error


def plan(  # noqa: PLR0917 - the order is the command line's, which knows them by name
    directory: Directory,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            envvar="PENSTOCK_SERVER",
            metavar="URL",
            help="Plan on what this control plane knows, against the policy it has in force.",
            show_envvar=True,
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            "--against",
            metavar="DIR",
            help="Compare with this directory instead of the policy in force. Needed without a server.",
            show_default=False,
        ),
    ] = None,
    inputs_file: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="Plan on inputs saved from /api/v1/inputs, instead of asking a server.",
            show_default=False,
        ),
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULES",
            help="Exit with 1 if the edit does any of these: residency, reach, drain, refused, slo, budget, nacked, "
            "max-shift=20%, cost=10%. Separated by commas, or given again.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=f"Without live inputs: the time to plan for (schedules, budgets): {FORMS}. Default: now.",
            show_default=False,
        ),
    ] = None,
    demand: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY=N",
            help="Without live inputs: assume that this policy carries N requests a second. May be given again.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[PlanForm, typer.Option("--output", "-o", help="The form of the plan.")] = PlanForm.TEXT,
) -> None:
    """Show what a policy edit would do: weights, cost, SLO, residency, Envoy configuration.

    Exits with 0 when nothing changes, 2 when something does, 1 on an error or a broken --forbid rule.
    """
    # Imported here: see there.
    from penstock.cli.planned import show_plan  # noqa: PLC0415

    try:
        inputs = _inputs(server, inputs_file, at, demand)
        code = show_plan(directory, inputs, base, demand=demand or [], forbid=forbid or [], form=output)
    except CommandError as error:
        raise CommandError(str(error), exit_code=ERROR, hint=error.hint) from error
    if code:
        raise typer.Exit(code)


def _inputs(server: str | None, file: Path | None, at: str | None, demand: list[str] | None) -> Inputs:
    live = file is not None or server is not None
    for option, given in (("--at", at), ("--demand", demand)):
        if live and given:
            raise CommandError(f"{option} is for plans without live inputs", hint="these are of one moment: theirs")
    try:
        if file is not None:
            return parse_inputs(file.read_text(encoding="utf-8"), str(file))
        if server is not None:
            return read_inputs(call(server, "GET", "/api/v1/inputs"), masked(server))
    except InputsError as error:
        raise CommandError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {error}") from error
    return Inputs(at=_moment(at))


def _moment(at: str | None) -> float:
    now = time.time()
    if at is None:
        return now
    try:
        return parse_moment(at, now, may_come=True)
    except ValueError as error:
        raise CommandError(f"--at {clean(at)!r}: {error}") from error
