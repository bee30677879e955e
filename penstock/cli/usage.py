"""Wrong usage in plain words, for every command."""

import re
from typing import Any, Final

import typer
from typer.core import TyperCommand

from penstock_policies.suggestions import closest

USAGE_ERROR: Final[type[Exception]] = typer.BadParameter.__mro__[1]
"""What every complaint about arguments is; typer exports only this child of it."""

_INTERNAL: Final = "Value error, "
_CHOICE: Final = re.compile(r"'(?P<given>.*)' is not one of (?P<choices>.*)\.", re.DOTALL)
_QUOTE: Final = "'"
_NAMED: Final = re.compile(r"Invalid value for (?P<name>.+?): ")


def in_words(error: Exception) -> str:
    """Return a complaint about arguments as people say it, with what was probably meant."""
    told = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
    return _plain(_NAMED.sub(lambda found: f"{found['name'].replace(_QUOTE, '')}: ", told, count=1))


def _plain(message: str) -> str:
    return _CHOICE.sub(_choice, message.replace(_INTERNAL, ""))


def _choice(found: re.Match[str]) -> str:
    choices = [each.strip().strip("'") for each in found["choices"].split(",")]
    meant = closest(found["given"], choices)
    listed = f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else choices[0]
    return f"expected {listed}, not {found['given']!r}" + (f"; did you mean {meant}?" if meant else "")


class PlainCommand(TyperCommand):
    """A command that complains in plain words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer does not export its base type
        """Parse, or complain."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _plain(error.message)
            raise
