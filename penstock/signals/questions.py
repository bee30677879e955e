"""What a probe asks an endpoint, and the layers at which it may fail. Words only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from penstock.signals.credentials import Secret
from penstock_policies.schema import Endpoint

DETAIL_CHARACTERS: Final = 200
"""Of an error's text: enough to act on, short enough for a table cell and a log line."""


class Layer(StrEnum):
    """How far up a probe looks. A layer is asked only when those below it are well."""

    TCP = "tcp"
    TLS = "tls"
    HEALTH = "health"
    MODELS = "models"
    GENERATION = "generation"


class AskError(Exception):
    """A question was not answered; the text says why. ``layer`` is where it failed."""

    def __init__(self, layer: Layer, detail: str) -> None:
        super().__init__(detail if len(detail) <= DETAIL_CHARACTERS else f"{detail[: DETAIL_CHARACTERS - 3]}...")
        self.layer = layer


class HeldUpError(Exception):
    """Nobody knows whether a question was answered: this process was held up; the text says for how long."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask whom, for how long, and which layer it is about."""

    endpoint: Endpoint
    layer: Layer
    path: str
    timeout: float
    """Seconds, for the whole of connecting, TLS, and all that is read of the answer."""
    key: tuple[str, Secret] | None = None
    body: bytes | None = None
    """JSON to be posted; None: a GET."""
    headers: Mapping[str, str] = field(default_factory=dict)
