"""The Dockerfile: pinned, without root, and copying only what exists."""

import json
from collections.abc import Iterator
from pathlib import Path

from deploy.findings import Finding, image_problem


def check(path: Path, context: Path) -> Iterator[Finding]:
    """What is wrong, in order of the file. ``context`` is the directory the image is built from."""
    instructions = list(_instructions(path.read_text(encoding="utf-8")))
    stages: list[str] = []
    for name, argument in instructions:
        for message in _instruction(name, argument, stages, context):
            yield Finding(path.name, f"{name} {argument[:40]}", message)
        if name == "FROM":
            stages.append(argument.rpartition(" ")[2])
    last_stage = instructions[max((i for i, (name, _) in enumerate(instructions) if name == "FROM"), default=0) :]
    final = dict(last_stage)
    if final.get("USER", "root").partition(":")[0] in {"root", "0"}:
        yield Finding(path.name, "USER", "the image runs as root")
    elif not final["USER"].partition(":")[0].isdigit():
        yield Finding(path.name, "USER", "must be a number: Kubernetes cannot tell that a name is not root")
    for needed in ("HEALTHCHECK", "ENTRYPOINT"):
        if needed not in final:
            yield Finding(path.name, needed, "is missing")


def _instruction(name: str, argument: str, stages: list[str], context: Path) -> Iterator[str]:
    if name == "FROM":
        image = argument.split(maxsplit=1)[0]
        problem = None if image in stages else image_problem(image)
        if problem is not None:
            yield problem
    elif name == "ADD":
        yield "use COPY: ADD also unpacks and downloads"
    elif name == "COPY" and "--from=" not in argument:
        for source in argument.split()[:-1]:
            if not (context / source).exists():
                yield f"{source} does not exist"
    elif name in {"ENTRYPOINT", "CMD"}:
        try:
            json.loads(argument)
        except ValueError:
            yield "must be in exec form (a JSON list), or signals do not reach the program"


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    kept = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    logical = "\n".join(kept).replace("\\\n", " ")
    for line in logical.splitlines():
        name, _, argument = line.strip().partition(" ")
        yield name.upper(), " ".join(argument.split())
