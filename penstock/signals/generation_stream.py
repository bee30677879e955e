"""Reading the answer to a probe's generation as it comes: OpenAI's chunks, or its whole answer at once. Pure.

Tolerant of what engines differ in (chat or completions, reasoning apart or not, usage or none), and of nothing else: an
answer in which no token comes, that ends in the middle or says that it failed is a failed generation.
"""

from typing import Any, Final

import orjson

MOST_BYTES: Final = 256 * 1024
"""Of an answer of a few tokens: hundreds of times what any engine sends."""

_CONTENT: Final = ("content", "reasoning_content", "reasoning")
"""Where a chat answer has its text; reasoning models begin with the others."""


class BadAnswerError(Exception):
    """The answer is no generation; the text says why, and quotes nothing of it."""


class GenerationReader:
    """Reads one answer. Feed it what comes, then :meth:`finish`."""

    def __init__(self, *, streamed: bool) -> None:
        self._streamed = streamed
        self._pending = bytearray()
        self._read = 0
        self._ended = False
        self.begun = False
        """A token has come."""
        self.done = False
        """Nothing more is to come."""
        self.usage: tuple[int, int] | None = None
        """Prompt and generated tokens, where the engine counts them."""

    def feed(self, data: bytes) -> None:
        """Take in the next bytes.

        Raises:
            BadAnswerError: this is no generation, or too long.

        """
        self._read += len(data)
        if self._read > MOST_BYTES:
            raise BadAnswerError(f"answers with more than {MOST_BYTES} bytes")
        self._pending += data
        # Looked for in what is new alone: a line that drips in byte by byte must not be gone through each time.
        if not self._streamed or b"\n" not in data:
            return
        *lines, rest = bytes(self._pending).split(b"\n")
        self._pending = bytearray(rest)
        for line in lines:
            self._line(line.rstrip(b"\r"))

    def finish(self) -> None:
        """Take the end of the answer.

        Raises:
            BadAnswerError: it was none, or ends in the middle.

        """
        if not self._streamed:
            self._take(bytes(self._pending))
        elif self._pending and not self.done:
            self._line(bytes(self._pending).rstrip(b"\r"))
        if not self.begun:
            raise BadAnswerError("answers without a token")
        if not self._ended:
            raise BadAnswerError("the answer ends in the middle")

    def _line(self, line: bytes) -> None:
        if self.done or not line.startswith(b"data:"):
            return
        data = line[len(b"data:") :].strip()
        if data == b"[DONE]":
            self._ended = self.done = True
        elif data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            answer = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadAnswerError("answers with something else than JSON") from None
        if not isinstance(answer, dict):
            raise BadAnswerError("answers with something else than a generation")
        if answer.get("error"):
            raise BadAnswerError("the engine tells of an error within its answer")
        self._count(answer.get("usage"))
        choices = answer.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self.begun = self.begun or _has_text(choice)
                self._ended = self._ended or choice.get("finish_reason") is not None

    def _count(self, usage: Any) -> None:  # noqa: ANN401 - whatever stands there
        if not isinstance(usage, dict):
            return
        prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
        if isinstance(prompt, int) and isinstance(output, int) and min(prompt, output) >= 0:
            self.usage = (prompt, output)
            # Tokens without text, as a few at the beginning of some answers are, are tokens.
            self.begun = self.begun or output > 0


def _has_text(choice: dict[str, Any]) -> bool:
    if isinstance(choice.get("text"), str) and choice["text"]:
        return True
    message = choice.get("delta", choice.get("message"))
    return isinstance(message, dict) and any(isinstance(message.get(name), str) and message[name] for name in _CONTENT)
