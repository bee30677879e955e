"""``penstock explain``: why weights are, or were, what they are; what would be if; and whether a record holds."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.client import call
from penstock.cli.errors import FINDINGS, CommandError
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, clean, say, show_table, styled, write, write_json


def explain(
    policy: Annotated[str | None, typer.Argument(help="The policy.", show_default=False)] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The decision in force then: 2026-03-01T02:00:00Z, Unix seconds, or how long ago, such as 15m.",
            show_default=False,
        ),
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            "--what-if",
            metavar="SUPPOSITION",
            help="What the plan would be if: price:CLUSTER=USD, down:CLUSTER, drain:CLUSTER, capacity:CLUSTER=REQUESTS "
            "or demand:POLICY=xFACTOR. May be given several times: all are supposed at once.",
            show_default=False,
        ),
    ] = None,
    decision: Annotated[str | None, typer.Option(metavar="ID", help="A recorded decision.", show_default=False)] = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Make the decision again and compare, bit for bit. Exits with 1 if not so.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """Explain every weight of a policy: inputs, what binds, limits, what is excluded and why; or verify a record."""
    if verify:
        if decision is None or at is not None or what_if:
            raise CommandError("--verify goes with --decision ID and nothing else", hint="`penstock explain --help`")
        _verify(decision, server, output)
        return
    if policy is None:
        raise CommandError("which policy?", hint="`penstock weights` lists them; --verify needs none")
    if decision is not None and at is not None:
        raise CommandError("expected --at or --decision, not both")
    query = [("what-if", text) for text in what_if or ()]
    query += [(name, value) for name, value in (("at", at), ("decision", decision)) if value is not None]
    answer = call(server, "GET", f"/api/v1/explain/{quote(policy, safe='')}", query=query)
    if output is Output.JSON:
        write_json(answer)
    else:
        write(clean(answer["text"]))


def _verify(decision: str, server: str, output: Output) -> None:
    answer = call(server, "POST", f"/api/v1/decisions/{quote(decision, safe='')}/verify")
    if output is Output.JSON:
        write_json(answer)
    else:
        _tell(answer)
    if not answer["verified"]:
        raise typer.Exit(FINDINGS)


def _tell(answer: dict[str, Any]) -> None:
    verdict = styled("verified", "green") if answer["verified"] else styled("NOT VERIFIED", "red")
    say(f"Decision {answer['id']} of {answer['at']}")
    rows = [
        [styled("ok" if check["ok"] else "FAILED", "green" if check["ok"] else "red"), check["name"], check["detail"]]
        for check in answer["checks"]
    ]
    show_table(["", "CHECK", ""], rows)
    if answer["differences"]:
        columns = ["PLACE", "RECORDED", "MADE AGAIN"]
        differences = [[each["path"], each["recorded"], each["again"]] for each in answer["differences"]]
        show_table(columns, differences, title="Differences")
    if answer["decidedBy"] is not None and answer["decidedBy"] != answer["verifiedBy"]:
        say(f"decided by {answer['decidedBy']}; verified by {answer['verifiedBy']}")
    say(verdict)
