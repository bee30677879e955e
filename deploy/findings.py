"""What the checks of ``deploy/`` find, and how they look into plain documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong."""

    file: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: {self.message}"


def at(document: object, path: str) -> Any:  # noqa: ANN401 -- plain YAML has every type
    """What stands at a dotted path of nested mappings; None when there is nothing."""
    here: Any = document
    for part in path.split("."):
        if not isinstance(here, Mapping):
            return None
        here = here.get(part)
    return here


def read_documents(path: Path) -> tuple[list[Document], list[Finding]]:
    """Every document of a YAML file, or what is wrong with it."""
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return [], [Finding(path.name, "file", f"is not YAML: {error}")]
    strange = [Finding(path.name, "file", "holds a document that is no mapping")] * (
        not all(isinstance(document, dict) for document in documents)
    )
    return [document for document in documents if isinstance(document, dict)], strange


def image_problem(image: object) -> str | None:
    """Why an image reference is no good: it must say exactly enough to be the same one tomorrow."""
    if not isinstance(image, str) or not image:
        return "has no image"
    if "@sha256:" in image:
        return None
    _, colon, tag = image.rpartition("/")[2].partition(":")
    if not colon or tag == "latest":
        return f"image {image} is not pinned to a version"
    if not any(character.isdigit() for character in tag) or "." not in tag:
        return f"image {image} has a tag that names no exact version"
    return None
