"""Names of generated resources. Readable, because they are what Envoy's statistics and admin pages show.

A policy cluster keeps its name for its Envoy cluster and endpoints; a listener for itself and its routes. A leg is
named by the data class it carries and the clusters it tries in order: ``leg/public/onprem-fra>cloud-eu-west``. Names
in policy files have neither ``/`` nor ``>``, so nothing a person writes can be taken for a leg.
"""

from functools import lru_cache
from typing import Final

from penstock_policies.words import DataClass

_LEG: Final = "leg/"
_THEN: Final = ">"


@lru_cache(maxsize=8192)
def leg(data_class: DataClass, members: tuple[str, ...]) -> str:
    """The name of the leg of a class that tries ``members`` in order."""
    return f"{_LEG}{data_class.value}/{_THEN.join(members)}"


def parse_leg(name: str) -> tuple[DataClass, tuple[str, ...]] | None:
    """The class and members in a leg's name; None when it is not one."""
    if not name.startswith(_LEG):
        return None
    word, _, members = name.removeprefix(_LEG).partition("/")
    if word not in set(DataClass) or not members:
        return None
    return DataClass(word), tuple(members.split(_THEN))


def route(data_class: DataClass, policy: str, model: str) -> str:
    """The name of the route of a row: ``public/chat/llama-3-70b``."""
    return f"{data_class.value}/{policy}/{model}"
