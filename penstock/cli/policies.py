"""``penstock validate``, ``render`` and ``schema``: policy files without a running control plane.

``render`` decides on no observations at all (every cluster well, nobody busy) at time 0, so its output depends on the
files alone and can be compared between two versions of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.errors import FAILED, FINDINGS, CommandError
from penstock.cli.options import OutputForm
from penstock.cli.terminal import Output, Rendering, complain, say, styled, waiting, write, write_json
from penstock.policy_source import PolicySourceError, read_directory
from penstock_policies.loader import Loaded, load
from penstock_policies.policyset import PolicySet
from penstock_policies.problems import Problem
from penstock_policies.published_schema import json_schema

Directory = Annotated[Path, typer.Argument(help="The directory of policy files.", show_default=False)]


def load_directory(directory: Path, change: Callable[[Mapping[str, str]], Mapping[str, str]] | None = None) -> Loaded:
    """Read and check a policy directory; ``change`` is applied to its text before.

    Raises:
        CommandError: there is no such directory.

    """
    if not directory.is_dir():
        raise CommandError(f"{directory} is no directory", exit_code=FAILED)
    try:
        files = read_directory(directory)
        return load(files if change is None else change(files))
    except PolicySourceError as error:
        return Loaded(None, error.problems)


def problem_views(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Return problems for programs."""
    return [
        {
            "severity": problem.severity,
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "path": problem.path,
            "message": problem.message,
            "expected": problem.expected,
            "suggestion": problem.suggestion,
        }
        for problem in problems
    ]


def _tally(problems: Iterable[Problem], severity: str) -> str:
    count = sum(problem.severity == severity for problem in problems)
    return f"{count} {severity}{'' if count == 1 else 's'}"


def _summary(policy: PolicySet) -> str:
    parts = (
        (len(policy.clusters), "cluster", "clusters"),
        (len(policy.policies), "traffic policy", "traffic policies"),
        (len(policy.groups), "node group", "node groups"),
        (len(policy.listeners), "listener", "listeners"),
        (len(policy.residency), "residency rule", "residency rules"),
        (len(policy.feeds), "cost feed", "cost feeds"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in parts)


def show_problems(problems: Sequence[Problem], *, to_stderr: bool) -> None:
    """Show problems to people, a line each."""
    for problem in problems:
        style = "red" if problem.severity == "error" else "yellow"
        (complain if to_stderr else say)(styled(problem, style).plain, style)


def validate(directory: Directory, output: OutputForm = Output.TABLE) -> None:
    """Check a directory of policy files. Exits with 1 when it has errors; warnings are told and pass."""
    loaded = load_directory(directory)
    policy = loaded.policy_set
    if output is Output.JSON:
        write_json(
            {
                "valid": policy is not None,
                "digest": None if policy is None else policy.digest,
                "problems": problem_views(loaded.problems),
            }
        )
    else:
        show_problems(loaded.problems, to_stderr=False)
        if policy is None:
            say(f"{_tally(loaded.problems, 'error')}, {_tally(loaded.problems, 'warning')}", "red")
        else:
            say(f"valid: {_summary(policy)}; {_tally(loaded.problems, 'warning')}", "green")
            say(f"digest {policy.digest}")
    if policy is None:
        raise typer.Exit(FINDINGS)


def render(
    directory: Directory,
    output: Annotated[Rendering, typer.Option("--output", "-o", help="The form of the output.")] = Rendering.YAML,
    group: Annotated[str | None, typer.Option(help="Only this node group.", show_default=False)] = None,
) -> None:
    """Print the Envoy configuration that a directory of policies gives, with its residency proven."""
    # Imported here: see there.
    from penstock.cli.rendered import render_policy  # noqa: PLC0415

    loaded = load_directory(directory)
    show_problems(loaded.problems, to_stderr=True)
    if loaded.policy_set is None:
        raise typer.Exit(FINDINGS)
    with waiting("Compiling"):
        text = render_policy(loaded.policy_set, group, output)
    write(text)


def schema() -> None:
    """Print the JSON Schema of the policy language, for editors and other tools."""
    write_json(json_schema())
