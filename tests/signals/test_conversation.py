"""Conversations with price APIs, held."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.signals.asking import Allowance, Answer, Ask, Asker, AskError
from penstock.signals.conversation import Conversation, hold
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.readings import Reading
from tests.signals.talking import answer

LARGE = b"x" * 300_000
ALLOWANCE = Allowance(1 << 20, 10)


class Scripted(Asker):
    """Answers without a network."""

    def __init__(self, *answers: Answer | AskError) -> None:
        self.answers = list(answers)
        self.asked: list[Ask] = []

    async def answer(self, ask: Ask, allowance: Allowance) -> Answer:
        self.asked.append(ask)
        said = self.answers.pop(0)
        if isinstance(said, AskError):
            raise said
        return said


def lengths(urls: Sequence[str], threads: list[str]) -> Conversation:
    """Read how long the answers are, and go on where one fails."""
    found: dict[str, float] = {}
    refused: dict[str, str] = {}
    for url in urls:
        try:
            said = yield Ask(url)
        except AskError as error:
            refused[url] = str(error)
        else:
            threads.append(threading.current_thread().name)
            found[url] = float(len(said.body))
    return Reading(found, refused)


async def test_answers_come_in_order_errors_where_they_belong_and_large_ones_beside_the_loop() -> None:
    threads: list[str] = []
    asker = Scripted(answer(b"abc"), AskError("HTTP 404", status=404), answer(LARGE), answer(b"de"))
    reading = await hold(lengths("abcd", threads), asker, ALLOWANCE)
    assert (reading.figures, reading.refused) == ({"a": 3.0, "c": 300_000.0, "d": 2.0}, {"b": "HTTP 404"})
    here = threading.current_thread().name
    assert [name == here for name in threads] == [True, False, True]


async def test_one_with_nothing_to_ask_is_at_its_end() -> None:
    assert await hold(lengths("", []), Scripted(), ALLOWANCE) == Reading({})


async def test_an_error_that_nobody_takes_ends_it() -> None:
    def one() -> Conversation:
        said = yield Ask("x")
        raise PriceDocumentError(f"{len(said.body)} bytes")

    with pytest.raises(AskError, match="HTTP 503"):
        await hold(one(), Scripted(AskError("HTTP 503", status=503)), ALLOWANCE)
    with pytest.raises(PriceDocumentError, match="3 bytes"):
        await hold(one(), Scripted(answer(b"abc")), ALLOWANCE)
    with pytest.raises(PriceDocumentError, match="300000 bytes"):
        await hold(one(), Scripted(answer(LARGE)), ALLOWANCE)


async def test_one_that_is_cancelled_while_it_reads_is_cancelled() -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> Conversation:
        yield Ask("x")
        reading.set()
        go_on.wait(10)
        return Reading({})

    task: asyncio.Task[Any] = asyncio.create_task(hold(slow(), Scripted(answer(LARGE)), ALLOWANCE))
    await asyncio.to_thread(reading.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
