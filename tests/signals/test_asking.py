"""Asking price servers: busy ones, broken ones, hostile ones, and what no message may tell."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate

import pytest
from aiohttp import ClientSession, TCPConnector, web

from penstock.signals import asking
from penstock.signals.addresses import GuardedResolver
from penstock.signals.asking import Allowance, Answer, Ask, Asker, AskError, struck
from penstock_policies.feed_apis import Reach
from tests.signals.simulated_servers import serving

NOW = 1_700_000_000.0


class World:
    """An asker whose pauses are told and not waited for."""

    def __init__(self, session: ClientSession) -> None:
        self.paused: list[float] = []
        self.asker = Asker(session, Reach.PRIVATE, lambda: NOW, sleep=self._sleep, jitter=random.Random(1))  # noqa: S311

    async def _sleep(self, seconds: float) -> None:
        self.paused.append(seconds)

    async def ask(self, ask: Ask, *, most_bytes: int = 10_000, answers: int = 20) -> Answer:
        return await self.asker.answer(ask, Allowance(most_bytes, answers))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ClientSession(connector=TCPConnector(resolver=GuardedResolver(Reach.PRIVATE))) as session:
        yield World(session)


def scripted(
    *answers: web.Response | Callable[[], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    left = list(answers)

    async def handler(request: web.Request) -> web.StreamResponse:
        one = left.pop(0)
        return one if isinstance(one, web.Response) else await one()

    return handler


async def test_a_busy_server_is_asked_again_after_what_it_says(world: World) -> None:
    slow_down = web.Response(status=429, headers={"retry-after": "7"})
    dated = web.Response(status=503, headers={"retry-after": formatdate(NOW + 3, usegmt=True)})
    async with serving(scripted(slow_down, dated, web.Response(text="well"))) as port:
        answer = await world.ask(Ask(f"http://127.0.0.1:{port}/"))
    assert answer.body == b"well"
    assert world.paused == [7.0, 3.0]


async def test_a_busy_server_that_says_nothing_is_asked_ever_later_with_chance_in_it(world: World) -> None:
    async with serving(scripted(web.Response(status=502), web.Response(status=500), web.Response())) as port:
        await world.ask(Ask(f"http://127.0.0.1:{port}/"))
    first, second = world.paused
    assert 0.25 <= first <= 0.5
    assert 0.5 <= second <= 1.0


async def test_a_server_that_stays_busy_is_given_up(world: World) -> None:
    async with serving(scripted(*(web.Response(status=503) for _ in range(3)))) as port:
        with pytest.raises(AskError, match="HTTP 503, busy") as caught:
            await world.ask(Ask(f"http://127.0.0.1:{port}/"))
    assert (len(world.paused), caught.value.leave_alone) == (2, 0.0)


@pytest.mark.parametrize(("told", "left_alone"), [("600", 600.0), ("99999999", 86400.0)])
async def test_a_server_that_wants_to_be_left_alone_is_not_waited_for(
    world: World, told: str, left_alone: float
) -> None:
    async with serving(scripted(web.Response(status=429, headers={"retry-after": told}))) as port:
        with pytest.raises(AskError) as caught:
            await world.ask(Ask(f"http://127.0.0.1:{port}/"))
    assert (world.paused, caught.value.leave_alone) == ([], left_alone)


@pytest.mark.parametrize("told", ["soon", "-5", "1e9", "Thu, 99 Foo 2020", "", "Thu, 01 Jan 9999999999 00:00:00 GMT"])
async def test_a_retry_after_of_no_sense_is_none(world: World, told: str) -> None:
    async with serving(scripted(web.Response(status=429, headers={"retry-after": told}), web.Response())) as port:
        await world.ask(Ask(f"http://127.0.0.1:{port}/"))
    assert world.paused[0] <= 0.5


async def test_an_error_that_is_a_rate_limit_by_its_words_is_asked_again(world: World) -> None:
    limit = web.Response(status=400, text='{"__type": "ThrottlingException"}')
    async with serving(scripted(limit, web.Response(text="well"))) as port:
        answer = await world.ask(Ask(f"http://127.0.0.1:{port}/", busy_words=(b"ThrottlingException",)))
    assert answer.body == b"well"


async def test_a_request_that_is_wrong_is_not_asked_again(world: World) -> None:
    async with serving(scripted(web.Response(status=404), web.Response(status=400, text="why"))) as port:
        with pytest.raises(AskError, match="HTTP 404"):
            await world.ask(Ask(f"http://127.0.0.1:{port}/"))
        assert (await world.ask(Ask(f"http://127.0.0.1:{port}/", read_errors=True))).body == b"why"
    assert world.paused == []


async def test_a_redirect_is_refused_and_tells_no_more_than_the_host(world: World) -> None:
    to = "http://169.254.169.254/latest?securityToken=hunter2"
    async with serving(scripted(web.Response(status=302, headers={"location": to}))) as port:
        with pytest.raises(AskError, match=r"^HTTP 302, a redirect to 169\.254\.169\.254: redirects are not followed$"):
            await world.ask(Ask(f"http://127.0.0.1:{port}/"))


async def test_more_bytes_or_pages_than_a_read_may_take_are_cut_off(world: World) -> None:
    async with serving(scripted(*(web.Response(text="x" * 600) for _ in range(4)))) as port:
        ask, allowance = Ask(f"http://127.0.0.1:{port}/"), Allowance(1000, 3)
        await world.asker.answer(ask, allowance)
        with pytest.raises(AskError, match="more than 400 bytes"):
            await world.asker.answer(ask, allowance)
        allowance.bytes = 1000
        await world.asker.answer(ask, allowance)
        with pytest.raises(AskError, match="more pages"):
            await world.asker.answer(ask, allowance)


async def test_a_bomb_of_gzip_is_cut_off_as_it_unpacks(world: World) -> None:
    async def bomb() -> web.StreamResponse:
        response = web.Response(body=b" " * (64 << 20))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with serving(scripted(bomb)) as port:
        with pytest.raises(AskError, match="more than 10000 bytes"):
            await world.ask(Ask(f"http://127.0.0.1:{port}/"))


async def raw(text: bytes) -> tuple[asyncio.Server, int]:
    """A server that sends these bytes whatever is asked, and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nxyz",
        b"hello\r\n\r\n",
        b"",
    ],
)
async def test_what_is_truncated_or_no_http_is_an_error_after_three_tries(world: World, text: bytes) -> None:
    server, port = await raw(text)
    async with server:
        with pytest.raises(AskError):
            await world.ask(Ask(f"http://127.0.0.1:{port}/"))
    assert len(world.paused) == 2


async def test_a_body_that_drips_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.1)
    dripping = asyncio.Event()

    async def drip() -> web.StreamResponse:
        await dripping.wait()
        raise AssertionError

    async with serving(scripted(drip, drip, drip)) as port:
        with pytest.raises(AskError, match=r"no answer within 0\.1 s"):
            await world.ask(Ask(f"http://127.0.0.1:{port}/"))


@pytest.mark.parametrize("secret", ["hunter2", "a/b+c=", "token with space"])
async def test_no_message_tells_a_secret(world: World, secret: str) -> None:
    ask = Ask(f"http://no.such.host.invalid/{secret}?securityToken={secret}", secrets=(secret,))
    with pytest.raises(AskError) as caught:
        await world.ask(ask)
    assert secret not in str(caught.value)
    assert secret not in repr(ask)
    assert caught.value.__cause__ is None


def test_secrets_are_struck_as_they_are_and_as_urls_have_them() -> None:
    assert struck("at ?t=a%2Fb%2Bc%3D and a/b+c=", ("a/b+c=", "")) == "at ?t=*** and ***"


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999/", "http:///x", "ftp://127.0.0.1/"])
async def test_what_is_no_url_is_an_error(world: World, url: str) -> None:
    with pytest.raises(AskError):
        await world.ask(Ask(url))


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "224.0.0.1", "[64:ff9b::a9fe:a9fe]"]
)
async def test_an_address_that_may_not_be_asked_is_not(world: World, host: str) -> None:
    with pytest.raises(AskError, match="is refused"):
        await world.ask(Ask(f"http://{host}/"))
