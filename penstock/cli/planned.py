"""The work behind ``penstock plan``.

Imported only when it is needed: the Envoy message types take the better part of a second to load.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from penstock.cli.errors import CommandError
from penstock.cli.policies import load_directory, problem_views, show_problems
from penstock.cli.terminal import PlanForm, complain, say, show_table, waiting, write, write_json
from penstock.plan.as_json import as_json
from penstock.plan.assumed import AssumptionError, parse_assumptions, with_demand
from penstock.plan.comparison import Plan, compare
from penstock.plan.configuration import ConfigurationError
from penstock.plan.feeds import Fed, with_feeds
from penstock.plan.forbid import ForbidError, Rule, Verdict, judge, parse_rules
from penstock.plan.inputs import Inputs, without_credentials
from penstock.plan.lines import Mark
from penstock.plan.markdown import as_markdown, problems_as_markdown
from penstock.plan.report import basis, headline, sections
from penstock_policies.loader import Loaded
from penstock_policies.policyset import PolicySet

_NOTHING: Final = 0
_BROKEN: Final = 1
_CHANGES: Final = 2

_STYLES: Final = {
    Mark.NONE: None,
    Mark.ADDED: "green",
    Mark.CHANGED: "yellow",
    Mark.REMOVED: "red",
    Mark.ALARM: "bold red",
}


def show_plan(
    directory: Path, inputs: Inputs, base: Path | None, *, demand: Sequence[str], forbid: Sequence[str], form: PlanForm
) -> int:
    """Write the plan for a directory of policies, and return the exit code it asks for.

    Raises:
        CommandError: there is no plan: policies with errors, a rule nobody knows, nothing to compare with.

    """
    rules = _rules(forbid)
    before = _base(base, inputs, form)
    # What a server tells of its policy holds no credentials; they are no difference.
    candidate = _loaded(load_directory(directory, without_credentials if base is None else None), form)
    fed = _fed(inputs, before, base, candidate, directory)
    try:
        with waiting("Planning"):
            assumed = with_demand(fed, before, candidate, parse_assumptions(demand))
            plan = compare(before, candidate, assumed)
    except AssumptionError as error:
        raise CommandError(f"--demand: {error}") from error
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
    verdicts = judge(plan, rules)
    _write(plan, verdicts, form)
    if plan.barred or any(verdict.because for verdict in verdicts):
        return _BROKEN
    return _CHANGES if plan.changed else _NOTHING


def _fed(inputs: Inputs, before: PolicySet, base: Path | None, candidate: PolicySet, directory: Path) -> Inputs:
    """Read the feeds that the inputs do not hold."""
    fed = Fed(inputs, ())
    if base is not None and not inputs.source:
        fed = with_feeds(inputs, before, base, None)
    after = with_feeds(fed.inputs, candidate, directory, before)
    for unread in dict.fromkeys((*fed.unread, *after.unread)):
        complain(unread, "yellow")
    return after.inputs


def _rules(forbid: Sequence[str]) -> tuple[Rule, ...]:
    try:
        return parse_rules(forbid)
    except ForbidError as error:
        raise CommandError(f"--forbid: {error}") from error


def _base(directory: Path | None, inputs: Inputs, form: PlanForm) -> PolicySet:
    if directory is not None:
        policy = _loaded(load_directory(directory), form, "the base: ")
        if inputs.policy_digest and inputs.policy_digest != policy.digest:
            complain(f"{directory} is not the policy in force at {inputs.source}", "yellow")
        return policy
    if inputs.policy is not None:
        return inputs.policy
    if not inputs.source:
        raise CommandError("nothing to compare with", hint="give --server URL, --inputs FILE or --base DIR")
    why = "its text is not in the state store" if inputs.policy_digest else "there is none"
    raise CommandError(f"no policy in force at {inputs.source} to compare with: {why}", hint="give --base DIR")


def _loaded(loaded: Loaded, form: PlanForm, whose: str = "") -> PolicySet:
    """Return the policy set of a directory, or tell what keeps it from being one, as ``penstock validate`` does."""
    if loaded.policy_set is not None:
        show_problems(loaded.problems, to_stderr=True)
        return loaded.policy_set
    errors = len(loaded.errors)
    why = f"{whose}the policies cannot be used: {errors} error{'' if errors == 1 else 's'}"
    match form:
        case PlanForm.JSON:
            refused = {"valid": False, "changed": None, "summary": why, "refusedBecause": why}
            write_json({**refused, "problems": problem_views(loaded.problems)})
        case PlanForm.MARKDOWN:
            write(problems_as_markdown([f"{whose}{problem}" for problem in loaded.errors]))
        case PlanForm.TEXT:
            show_problems(loaded.problems, to_stderr=False)
    raise CommandError(why)


def _write(plan: Plan, verdicts: Sequence[Verdict], form: PlanForm) -> None:
    match form:
        case PlanForm.JSON:
            write_json(as_json(plan, verdicts))
        case PlanForm.MARKDOWN:
            write(as_markdown(plan, verdicts))
        case PlanForm.TEXT:
            _write_text(plan, verdicts)


def _write_text(plan: Plan, verdicts: Sequence[Verdict]) -> None:
    say(headline(plan), "bold")
    say(basis(plan))
    for section in sections(plan, verdicts):
        say()
        say(section.title, "bold")
        for line in section.lines:
            say(f"  {'    ' * line.level}{line.mark.value:1} {line.text}", _STYLES[line.mark])
        for table in section.tables:
            say()
            show_table(table.columns, table.rows)
