"""``penstock explain``: why weights are, or were, what they are; what would be if; and whether a record holds."""

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.text import Text

from penstock.admin.moment import FORMS
from penstock.cli.client import call
from penstock.cli.errors import FINDINGS, OTHER_CODE, CommandError
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, clean, say, show_table, styled, write, write_json

_VERIFIED = "verified"
_OTHER = "made-by-other-code"
_SOUND = "The record is what was written: its digests stand in the audit log, whose chain is unbroken up to there."
_SOUND_BUT_FOR_FIGURES = (
    "But for its figures, for which nothing vouches, the record says what the recorded decision before it says, whose "
    "digests stand in the audit log."
)


def explain(
    policy: Annotated[str | None, typer.Argument(help="The policy.", show_default=False)] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=f"The decision in force then: {FORMS}.",
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
        bool,
        typer.Option(
            "--verify",
            help="Make the decision again and compare, bit for bit. Exits with 0 when it is the same, 3 when the "
            "record is what was written and other code made it, 1 when the record is not what was written, or the same "
            "code now decides otherwise.",
        ),
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
    if policy is None and decision is None and at is None:
        raise CommandError("which policy?", hint="`penstock weights` lists them; with --decision or --at, all of them")
    if policy is None and what_if:
        raise CommandError("which policy? --what-if needs one", hint="`penstock weights` lists them")
    if decision is not None and at is not None:
        raise CommandError("expected --at or --decision, not both")
    query = [("what-if", text) for text in what_if or ()]
    query += [(name, value) for name, value in (("at", at), ("decision", decision)) if value is not None]
    path = "/api/v1/explain" if policy is None else f"/api/v1/explain/{quote(policy, safe='')}"
    answer = call(server, "GET", path, query=query)
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
    if answer["verdict"] != _VERIFIED:
        raise typer.Exit(OTHER_CODE if answer["verdict"] == _OTHER else FINDINGS)


def _tell(answer: dict[str, Any]) -> None:
    other = answer["verdict"] == _OTHER
    say(f"Decision {answer['id']} of {answer['at']}")
    rows = [[_mark(check["ok"], other=other), check["name"], check["detail"]] for check in answer["checks"]]
    show_table(["", "CHECK", ""], rows)
    if answer["differences"]:
        columns = ["PLACE", "RECORDED", "MADE AGAIN"]
        differences = [[each["path"], each["recorded"], each["again"]] for each in answer["differences"]]
        show_table(columns, differences, title="Differences")
    if answer["decidedBy"] is not None and answer["decidedBy"] != answer["verifiedBy"]:
        say(f"decided by:  {answer['decidedBy']}")
        say(f"verified by: {answer['verifiedBy']}")
    if other:
        say(_SOUND if answer["vouched"] else _SOUND_BUT_FOR_FIGURES)
        say("Other code made it, and may rightly answer otherwise: verify with that code to have it made again.")
        say("made by other code", "yellow")
    elif answer["verified"]:
        say("verified", "green")
    else:
        say("NOT VERIFIED", "red")


def _mark(ok: bool, *, other: bool) -> Text:  # noqa: FBT001 - a plain truth, not a mode
    if ok:
        return styled("ok", "green")
    return styled("differs", "yellow") if other else styled("FAILED", "red")
