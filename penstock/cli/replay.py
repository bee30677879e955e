"""``penstock replay``: recorded traffic against the real engine and its rivals, in a simulated fleet.

Progress goes to standard error, the report to standard output.
"""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.policies import Directory
from penstock.cli.terminal import ReplayForm


def replay(  # noqa: PLR0917 - the order is the command line's, which knows them by name
    directory: Directory,
    trace: Annotated[
        Path,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="Recorded traffic: Azure LLM trace CSV, BurstGPT CSV, Mooncake JSONL, or Penstock's decisions, as "
            "`penstock decisions --export` writes them.",
            show_default=False,
        ),
    ],
    faults: Annotated[
        Path | None,
        typer.Option("--faults", metavar="FILE", help="What goes wrong meanwhile (YAML).", show_default=False),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices",
            metavar="FILE",
            help="Prices over time (CSV: seconds,key,usdPerMillionTokens).",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline",
            metavar="NAMES",
            help="Whom to compare with, separated by commas: all, none, clairvoyant, static_split, on_prem_only, "
            "cloud_only, waterfall, cheapest_first, latency_greedy.",
        ),
    ] = "clairvoyant",
    tick: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="How often to decide. Default: every second, less often for long traces.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Replay only the beginning.", show_default=False),
    ] = None,
    scale: Annotated[
        float, typer.Option(min=0.001, max=1000, metavar="N", help="Replay so many times as many requests.")
    ] = 1.0,
    run_in: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Replay so much of the beginning once before, without counting it: no day begins with empty clusters.",
        ),
    ] = 300.0,
    seed: Annotated[int, typer.Option(help="Of what is drawn at random: which policy, which leg.")] = 1,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Strategies at a time. Default: one a core.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write the HTML report there as well.", show_default=False),
    ] = None,
    output: Annotated[ReplayForm, typer.Option("--output", "-o", help="The form of the report.")] = ReplayForm.TEXT,
) -> None:
    """Replay recorded traffic: what it would cost, whom it would keep waiting, against other ways to steer."""
    # Imported here: the solver and the plots take the better part of a second to load.
    from penstock.cli.replayed import Wanted, show_replay  # noqa: PLC0415

    show_replay(
        directory,
        Wanted(
            trace=trace,
            faults=faults,
            prices=prices,
            baseline=baseline,
            tick=tick,
            limit=limit,
            scale=scale,
            run_in=run_in,
            seed=seed,
            jobs=jobs,
            report=report,
            form=output,
        ),
    )
