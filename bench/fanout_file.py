"""The file in which the fan-out benchmarks hand their servers what to serve. Knows nothing of how it was generated."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from penstock_xds import Resource


@dataclass(frozen=True, slots=True)
class Served:
    """What a server of the benchmark serves."""

    group: str
    changed: str
    """The route configuration whose weights change."""
    resources: tuple[Resource, ...]

    def names(self, type_url: str) -> list[str]:
        """The names of a type."""
        return [r.name for r in self.resources if r.type_url == type_url]

    def size(self, type_url: str, name: str) -> int:
        """The bytes of one resource."""
        return next(len(r.body) for r in self.resources if (r.type_url, r.name) == (type_url, name))

    def write(self, path: Path) -> None:
        """Write the file that both servers read."""
        rows = [
            {"type_url": r.type_url, "name": r.name, "body": base64.b64encode(r.body).decode()} for r in self.resources
        ]
        path.write_text(json.dumps({"group": self.group, "changed": self.changed, "resources": rows}))


def read(path: Path) -> Served:
    """What `write` wrote."""
    given = json.loads(path.read_text())
    resources = (Resource(r["type_url"], r["name"], base64.b64decode(r["body"])) for r in given["resources"])
    return Served(given["group"], given["changed"], tuple(resources))
