"""What a vLLM server's metrics say that decisions need. Pure: text in, figures out.

Names follow vLLM's ``docs/design/metrics.md``. A page holds thousands of lines of which a dozen are of interest, so
lines are picked by their beginning instead of parsing them all. Series of several models and engine cores are summed.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_RUNNING: Final = "vllm:num_requests_running"
_WAITING: Final = "vllm:num_requests_waiting"
_PROMPT: Final = "vllm:prompt_tokens_total"
_OUTPUT: Final = "vllm:generation_tokens_total"
_TTFT: Final = "vllm:time_to_first_token_seconds_bucket"
_NAMES: Final = (_RUNNING, _WAITING, _PROMPT, _OUTPUT, _TTFT)
_BOUND: Final = re.compile(r'[{,]le="([^"]+)"')

MOST: Final = 1e15
"""No count of tokens or requests is greater; what is says that the text is not what it seems."""


class MetricsTextError(Exception):
    """The text is not a vLLM server's metrics; says why."""


@dataclass(frozen=True, slots=True)
class VllmFigures:
    """One reading of one server. Counters count since the server started."""

    running: float
    waiting: float
    prompt_tokens: float
    output_tokens: float
    ttft: Mapping[float, float] = field(default_factory=dict)
    """Upper bound in seconds (the last is infinite) to requests whose first token came within it, cumulative."""


def parse(text: str) -> VllmFigures:
    """Read a page of metrics.

    Raises:
        MetricsTextError: a figure is missing, or is none a vLLM server could have.

    """
    sums: dict[str, float] = {}
    ttft: dict[float, float] = {}
    for line in text.splitlines():
        if not line.startswith("vllm:"):
            continue
        name, labels, rest = _split(line)
        if name not in _NAMES:
            continue
        value = _number(rest, line)
        if name == _TTFT:
            bound = _BOUND.search(labels)
            if bound is None:
                raise MetricsTextError(f"a bucket without a bound: {line[:80]}")
            upper = _number(bound[1], line, infinite=True)
            ttft[upper] = ttft.get(upper, 0.0) + value
        else:
            sums[name] = sums.get(name, 0.0) + value
    missing = [name for name in (_RUNNING, _WAITING, _PROMPT, _OUTPUT) if name not in sums]
    if missing:
        raise MetricsTextError(f"no {', '.join(missing)}")
    return VllmFigures(sums[_RUNNING], sums[_WAITING], sums[_PROMPT], sums[_OUTPUT], dict(sorted(ttft.items())))


def _split(line: str) -> tuple[str, str, str]:
    """Split a line into name, labels and what follows them; a label's value may hold a brace or a space."""
    brace = line.find("{")
    if brace < 0:
        name, _, rest = line.partition(" ")
        return name, "", rest
    end = line.rfind("}")
    return line[:brace], line[brace : end + 1], line[end + 1 :]


def _number(text: str, line: str, *, infinite: bool = False) -> float:
    words = text.split()
    try:
        value = float(words[0])
    except (IndexError, ValueError) as error:
        raise MetricsTextError(f"not a number: {line[:80]}") from error
    if not (0 <= value <= MOST or (infinite and value == math.inf)):
        raise MetricsTextError(f"not a figure a server could have: {line[:80]}")
    return value
