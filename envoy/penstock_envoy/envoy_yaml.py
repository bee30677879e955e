"""YAML that Envoy reads as it was meant.

Envoy's YAML reader takes more words for something else than PyYAML's: ``n`` is a boolean and ``1e3`` a number to it,
so a node called ``n`` would be refused. Whatever is not plainly a word is therefore quoted.
"""

import re
from typing import Final

import yaml

_PLAIN_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"})


class _Dumper(yaml.SafeDumper):
    """Quotes doubtful strings."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN_WORD.fullmatch(text) is not None and text.lower() not in _NOT_WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)


def dump(document: object) -> str:
    """YAML of plain data, keys in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
