"""The pipeline that people copy calls ``penstock plan`` with what it understands."""

import shlex
from pathlib import Path

import yaml
from typer.main import get_command

from penstock.cli.main import app
from penstock.plan.forbid import parse_rules
from penstock.plan.markdown import MARKER

WORKFLOW = Path(__file__).parents[2] / "deploy" / "ci" / "github-plan.yaml"


def script(step: str) -> str:
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["plan"]["steps"]
    (found,) = [each["run"] for each in steps if each.get("name") == step]
    return str(found)


def test_the_pipelines_plan_uses_options_and_rules_that_there_are() -> None:
    words = shlex.split(script("Plan").replace("\\\n", " "), comments=True)
    arguments = words[words.index("plan") + 1 : words.index(">")]
    command = get_command(app)
    context = command.make_context("penstock", ["plan"], resilient_parsing=True)
    plan = command.get_command(context, "plan")  # type: ignore[attr-defined]  # typer gives a group of commands
    given = plan.make_context("plan", arguments).params
    assert given["directory"] == Path("/policies")
    assert given["output"].value == "markdown"
    assert len(parse_rules(given["forbid"])) == 7


def test_the_pipeline_finds_its_earlier_comment_by_the_plans_first_line() -> None:
    assert f'startswith("{MARKER}")' in script("Comment")
