"""The rules of serving, drawn: `python -m penstock_xds.rules` prints the page that docs/xds-rules.md holds.

All of it is read from the tables the core works by, so it cannot say anything else than what is done.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from penstock_xds import types
from penstock_xds.core.life_cycle import STEPS
from penstock_xds.core.messages import SyncStatus
from penstock_xds.core.order import RULES, TypeRule, rule_for

_SHORT: Final = {
    types.CLUSTER: "CDS",
    types.ENDPOINT: "EDS",
    types.LISTENER: "LDS",
    types.ROUTE: "RDS",
    types.SCOPED_ROUTE: "SRDS",
    types.VIRTUAL_HOST: "VHDS",
    types.SECRET: "SDS",
    types.RUNTIME: "RTDS",
    types.EXTENSION_CONFIG: "ECDS",
}

_HEAD: Final = """\
# The rules by which xDS types are served

Written by `python -m penstock_xds.rules` from the tables in `xds/penstock_xds/core/order.py` and
`xds/penstock_xds/core/life_cycle.py`, which are what the library works by. Do not edit: change those, print it again.
"""

_TYPES: Final = """
## Per type

Types are served in this order within one round; removals come after all else.

* **Full state**: in State of the World every response holds all the client subscribes to; what is absent is removed.
* **Legacy wildcard**: a first request without names means everything.
* **Overtaken after**: how long a response may stay unanswered before a newer one follows (others: the phase timeout).
* **Removals told**: Delta clients are told when a resource is gone. If not, they let go by unsubscribing.
* **Heartbeats**: to a Delta client, a time to live is prolonged without the body.
"""

_GATES: Final = """
## What waits for what

* A solid arrow, *needs*: a resource is held back while it names something **new** of that type which the client has not
  confirmed. What merely changed holds nothing back.
* A dotted arrow, *may use*: something of the type at its head is kept, although it left the snapshot, while the client
  holds a resource that names it and is about to be replaced.

Together they are the three phases of make before break: new clusters and endpoints; what points at them; removals.
"""

_AGAIN: Final = """
## What is sent again

Once such a resource is sent, the client waits for those it names, changed or not, known or not:
"""

_STATES: Final = """
## The states of one type on one stream

As people see them in `TypeView.status` (the words are those of CSDS):
"""


def page() -> str:
    """Return the page, as Markdown with Mermaid diagrams."""
    return "\n".join([_HEAD.rstrip("\n"), *_types(), *_gates(), *_again(), *_states(), ""])


def _types() -> Iterator[str]:
    yield _TYPES
    yield "| | type | full state | legacy wildcard | overtaken after | removals told | heartbeats |"
    yield "|---|---|---|---|---|---|---|"
    for type_url, rule in RULES.items():
        name = type_url.rpartition(".")[2]
        yield _row(_SHORT[type_url], f"`{name}`", rule)
    yield _row("", "any other", rule_for(""))


def _row(short: str, name: str, rule: TypeRule) -> str:
    overtaken = "" if rule.overtake_after is None else f"{rule.overtake_after:g} s"
    cells = (short, name, _yes(rule.full_state), _yes(rule.legacy_wildcard), overtaken)
    return f"| {' | '.join((*cells, _yes(rule.removable), _yes(rule.heartbeats)))} |"


def _yes(value: bool) -> str:  # noqa: FBT001  # a column of a table
    return "yes" if value else ""


def _gates() -> Iterator[str]:
    yield _GATES
    edges = [f"    {_SHORT[t]} -->|needs| {_names(rule.needs)}" for t, rule in RULES.items() if rule.needs]
    edges += [f"    {_names(rule.used_by)} -.->|may use| {_SHORT[t]}" for t, rule in RULES.items() if rule.used_by]
    yield from _mermaid("flowchart LR", edges)


def _again() -> Iterator[str]:
    yield _AGAIN
    edges = [
        f"    {_names(rule.resent_after)} -->|then again| {_SHORT[t]}" for t, rule in RULES.items() if rule.resent_after
    ]
    yield from _mermaid("flowchart LR", edges)


def _states() -> Iterator[str]:
    yield _STATES
    edges = [f"    [*] --> {SyncStatus.NOT_SENT.value}"]
    edges += [f"    {step.start.value} --> {step.end.value}: {step.cause}" for step in STEPS]
    yield from _mermaid("stateDiagram-v2", edges)


def _names(type_urls: Iterable[str]) -> str:
    return " & ".join(_SHORT[t] for t in type_urls)


def _mermaid(kind: str, lines: Iterable[str]) -> Iterator[str]:
    yield "```mermaid"
    yield kind
    yield from lines
    yield "```"


if __name__ == "__main__":
    sys.stdout.write(page())
