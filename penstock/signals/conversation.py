"""Conversations with price APIs: what to ask next is decided by plain code that never touches the network.

An API's module is a generator: it yields requests, is sent answers, and returns what it read. Here a conversation is
held. An error of a request is thrown into it where it waits, so that an API's module may let one figure go for what is
no fault of the others; large answers are read beside the event loop.
"""

import asyncio
from collections.abc import Generator
from typing import Final

from penstock.signals.asking import Allowance, Answer, Ask, Asker, AskError
from penstock.signals.readings import Reading

Conversation = Generator[Ask, Answer, Reading]

_LARGE: Final = 256 * 1024
"""Bytes of an answer that take some milliseconds to read: too long for the event loop."""


async def hold(conversation: Conversation, asker: Asker, allowance: Allowance) -> Reading:
    """Hold a conversation to its end.

    Raises:
        PriceSourceError: the server did not answer.
        PriceDocumentError: it did, with something that cannot be read or has no figure at all.

    """
    # Not closed at the end: a reading that is cancelled may still be running in its thread.
    ask = _begun(conversation)
    while isinstance(ask, Ask):
        try:
            answer = await asker.answer(ask, allowance)
        except AskError as error:
            ask = _thrown(conversation, error)
            continue
        if len(answer.body) > _LARGE:
            ask = await asyncio.to_thread(_sent, conversation, answer)
        else:
            ask = _sent(conversation, answer)
    return ask


def _begun(conversation: Conversation) -> Ask | Reading:
    try:
        return next(conversation)
    except StopIteration as done:
        return _end(done)


def _sent(conversation: Conversation, answer: Answer) -> Ask | Reading:
    # Told by value: a StopIteration does not pass through a coroutine or a thread.
    try:
        return conversation.send(answer)
    except StopIteration as done:
        return _end(done)


def _thrown(conversation: Conversation, error: AskError) -> Ask | Reading:
    try:
        return conversation.throw(error)
    except StopIteration as done:
        return _end(done)


def _end(done: StopIteration) -> Reading:
    reading: Reading = done.value
    return reading
