"""The work behind ``penstock replay``. Imported only when it is needed."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from penstock.cli.errors import FINDINGS, CommandError
from penstock.cli.policies import load_directory, show_problems
from penstock.cli.terminal import ReplayForm, complain, say, show_table, width, write, write_json
from penstock.policy_source import read_directory
from penstock.replay.errors import ReplayError
from penstock.replay.prepare import prepare
from penstock.replay.report_text import conclusions, fault_lines, headline, table
from penstock.replay.results import Result, as_json, cadence
from penstock.replay.run import STRATEGIES, run_all
from penstock.replay.scenario import MixError, Scenario
from penstock_policies.suggestions import closest

_WIDE = 124
"""Characters that all columns of the table need."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    trace: Path
    faults: Path | None
    prices: Path | None
    baseline: str
    tick: float | None
    limit: float | None
    scale: float
    run_in: float
    seed: int
    jobs: int | None
    report: Path | None
    form: ReplayForm


def show_replay(directory: Path, wanted: Wanted) -> None:
    """Replay, and write the report.

    Raises:
        CommandError: a file is wrong, or a baseline is not known.

    """
    names = _strategies(wanted.baseline)
    scenario = _scenario(directory, wanted)
    jobs = wanted.jobs if wanted.jobs is not None else os.cpu_count() or 1
    with _progress(names) as told:
        results = run_all(scenario, names, processes=jobs, told=told)
    html = _html(scenario, results) if wanted.report is not None or wanted.form is ReplayForm.HTML else ""
    if wanted.report is not None:
        try:
            wanted.report.write_text(html, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {wanted.report}: {error}") from error
    _write(scenario, results, html, wanted.form)


def _strategies(baseline: str) -> list[str]:
    asked = [name.strip().replace("-", "_") for name in baseline.split(",") if name.strip()]
    if asked == ["none"]:
        return ["penstock"]
    rivals = [name for name in STRATEGIES if name != "penstock"]
    for name in asked:
        if name not in {*STRATEGIES, "all"}:
            meant = closest(name, ["all", "none", *rivals])
            hint = f"did you mean {meant}? Known are" if meant else "known are"
            raise CommandError(f"no baseline {name!r}", hint=f"{hint} all, none, {', '.join(rivals)}")
    return list(STRATEGIES) if "all" in asked else list(dict.fromkeys(["penstock", *asked]))


def _scenario(directory: Path, wanted: Wanted) -> Scenario:
    loaded = load_directory(directory)
    show_problems(loaded.problems, to_stderr=True)
    if loaded.policy_set is None:
        raise CommandError(f"{directory} cannot be replayed: its policies have errors", exit_code=FINDINGS)
    try:
        scenario, warnings = prepare(
            directory,
            read_directory(directory),
            loaded.policy_set,
            trace=wanted.trace,
            faults=wanted.faults,
            prices=wanted.prices,
            tick=wanted.tick,
            limit=wanted.limit,
            scale=wanted.scale,
            run_in=wanted.run_in,
            seed=wanted.seed,
        )
    except (ReplayError, MixError) as error:
        raise CommandError(str(error)) from error
    for warning in warnings:
        complain(warning, "yellow")
    return scenario


@contextmanager
def _progress(names: list[str]) -> Iterator[Callable[[str, float], None]]:
    """Show how far every strategy is, where a person watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    console = Console(file=sys.stderr)
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, TaskID] = {name: bars.add_task(name.replace("_", " "), total=1.0) for name in names}
        yield lambda name, part: bars.update(tasks[name], completed=part)


def _html(scenario: Scenario, results: dict[str, Result]) -> str:
    from penstock.replay.report_html import as_html  # noqa: PLC0415 - plotly takes a second to load

    return as_html(scenario, results)


def _write(scenario: Scenario, results: dict[str, Result], html: str, form: ReplayForm) -> None:
    if form is ReplayForm.JSON:
        write_json(as_json(scenario, results))
    elif form is ReplayForm.HTML:
        write(html)
    else:
        narrow = width() < _WIDE
        say(headline(scenario), "bold")
        if cadence(scenario):
            say(cadence(scenario))
        for line in fault_lines(scenario):
            say(f"  {line}", "yellow")
        say()
        show_table(*table(results, narrow=narrow))
        if narrow:
            say("More columns in a wider terminal, with -o json, and in the HTML report.")
        say()
        for sentence in conclusions(results):
            say(sentence)
