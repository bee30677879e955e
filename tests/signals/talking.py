"""Conversations with price APIs held without a network: what is asked, and what becomes of the answers."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from multidict import CIMultiDict

from penstock.signals.asking import Answer, Ask, AskError
from penstock.signals.conversation import Conversation
from penstock.signals.readings import Reading


def answer(body: Any, status: int = 200) -> Answer:
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Answer(status, CIMultiDict(), data)


def talk(conversation: Conversation, answers: Sequence[Any] | Callable[[Ask], Any]) -> tuple[Reading, list[Ask]]:
    """Hold a conversation with these answers, in order or by what is asked; an error among them is thrown."""
    asked: list[Ask] = []
    try:
        ask = next(conversation)
        while True:
            asked.append(ask)
            said = answers(ask) if callable(answers) else answers[len(asked) - 1]
            if isinstance(said, AskError):
                ask = conversation.throw(said)
            else:
                ask = conversation.send(said if isinstance(said, Answer) else answer(said))
    except StopIteration as done:
        return done.value, asked
