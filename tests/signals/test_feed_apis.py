"""Feeds that ask price APIs, from servers of the APIs' documented shape to what the engine makes of the figures."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from penstock.signals.aws_signature import AwsCredentials, signed_headers
from penstock.signals.credentials import MOST_FILE_BYTES, Keyring
from penstock.signals.feed_credentials import aws_credentials
from penstock.signals.price_errors import PriceSourceError
from penstock_policies.decision import EngineMemory
from penstock_policies.engine.prices import judge_prices
from penstock_policies.feed_apis import Credentials
from penstock_policies.observations import Rate
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from tests.signals import price_answers as answers
from tests.signals.feed_harness import Feeds
from tests.signals.signal_policies import cluster, feed, policy_set
from tests.signals.simulated_servers import serving

TOKEN = "hunter2-and-some"
NOW = 1_795_000_000.0


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    directory = tmp_path / "keys"
    directory.mkdir()
    return directory


@pytest.fixture
async def feeds(keys: Path) -> AsyncIterator[Feeds]:
    made = Feeds(keys)
    yield made
    await made.feeds.stop()


def priced(key: str) -> Cluster:
    made = cluster("home", ("10.0.0.1", 80))
    plain = made.model_dump(by_alias=True, exclude_unset=True)
    plain["spec"]["capacity"] = {"concurrency": 100, "tokensPerSecond": 20_000, "gpus": 8}
    plain["spec"]["power"] = {"idleKw": 4.0, "loadedKw": 10.0, "pue": 1.3}
    plain["spec"]["health"] = {}
    plain["spec"]["cost"] = {"feed": "prices", "key": key}
    return Cluster.model_validate(plain)


def fed(key: str, **spec: Any) -> PolicySet:
    return policy_set([priced(key)], [feed("prices", **{"refresh": "1h", "maxAge": "2h", **spec})])


def rates(feeds: Feeds) -> dict[str, Rate]:
    return dict(feeds.board.snapshot(feeds.now).rates.get("prices", {}))


class Server:
    """Answers by a script of functions, each good for one request; the last for all that follow."""

    def __init__(self, *script: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> None:
        self.script = list(script)
        self.asked: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await request.read()
        one = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await one(request)


def says(body: Any, status: int = 200, **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def one(request: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return one


def at(port: int) -> str:
    return f"http://127.0.0.1:{port}"


PRICES = answers.document(answers.series(answers.period({1: 80.0, 2: -20.0, 3: 100.0})))


async def electricity(feeds: Feeds, port: int, keys: Path, **more: Any) -> PolicySet:
    (keys / "token").write_text(TOKEN, encoding="utf-8")
    figures = [{"key": "de", "zone": "10Y1001A1001A82H"}]
    spec = {"type": "entsoe", "url": f"{at(port)}/api", "entsoe": figures, "addresses": "private"}
    policy = fed("de", **spec, credentials={"file": "token"}, currency="EUR", rates={"EUR": 1.0}, **more)
    await feeds.apply(policy, keys.parent)
    return policy


async def test_an_hour_of_a_namespace_becomes_a_price_of_tokens(feeds: Feeds, tmp_path: Path, keys: Path) -> None:
    answer = {"code": 200, "status": "success", "data": [{"vllm": answers.allocation("vllm")}]}
    server = Server(says(answer))
    secret = keys / "token"
    secret.write_text(f"{TOKEN}\n", encoding="utf-8")
    async with serving(server.handle) as port:
        figures = [{"key": "home", "aggregate": "namespace", "name": "vllm"}]
        policy = fed("home", type="opencost", url=at(port), opencost=figures, credentials={"file": "token"})
        await feeds.apply(policy, tmp_path)
        secret.write_text("rotated", encoding="utf-8")
        await feeds.refresh()
    assert [one.headers["authorization"] for one in server.asked] == [f"Bearer {TOKEN}", "Bearer rotated"]
    assert rates(feeds) == {"home": Rate(1000.0, 2.5, "GPU-hour")}
    price = judge_prices(policy, feeds.board.snapshot(feeds.now), EngineMemory(), feeds.now).clusters["home"]
    assert price.usd_per_million_tokens == pytest.approx(2.5 * 8 / 72)
    assert price.source == "feed prices: 2.5 USD/GPU-hour x 8 at 20000 tokens/s declared"


async def test_azures_pages_are_followed_and_its_rate_limit_is_kept(feeds: Feeds, tmp_path: Path) -> None:
    async def first(request: web.Request) -> web.StreamResponse:
        assert parse_qs(request.query_string)["$filter"]
        following = f"http://{request.host}/api/retail/prices?$skip=100"
        return web.json_response(answers.page(*answers.NEIGHBOURS, following=following))

    server = Server(says("", 429, retry_after="3"), first, says("", 503), says(answers.page(answers.item())))
    async with serving(server.handle) as port:
        figures = [{"key": "nd", "region": "westeurope", "sku": answers.SKU}]
        spec = {"type": "azure", "url": f"{at(port)}/api/retail/prices", "azure": figures, "addresses": "private"}
        feeds.now = NOW
        await feeds.apply(fed("nd", **spec), tmp_path)
    assert rates(feeds) == {"nd": Rate(NOW, 98.32, "hour")}
    assert feeds.paused[0] == 3.0
    assert len(server.asked) == 4


async def test_a_server_that_wants_to_be_left_alone_is(feeds: Feeds, tmp_path: Path) -> None:
    server = Server(says("", 429, retry_after="900"))
    async with serving(server.handle) as port:
        figures = [{"key": "nd", "region": "westeurope", "sku": answers.SKU}]
        spec = {"type": "azure", "url": at(port), "azure": figures, "addresses": "private"}
        await feeds.apply(fed("nd", **spec), tmp_path)
    assert (feeds.slept, feeds.failed) == ([900.0], ["prices"])
    assert feeds.feeds.states()[0].error == "HTTP 429, busy"


async def test_so_is_the_server_of_a_plain_document(feeds: Feeds, tmp_path: Path) -> None:
    server = Server(says("", 503, retry_after="7"), says("", 503), says({"eu": 2.0}))
    async with serving(server.handle) as port:
        spec = {"type": "http", "url": at(port), "map": [{"pointer": "/eu", "key": "eu", "unit": "usdPerGpuHour"}]}
        await feeds.apply(fed("eu", **spec), tmp_path)
        await feeds.refresh()
        await feeds.refresh()
    # Asked again by the feed itself and not within a read, which would hold up the start.
    assert (feeds.paused, feeds.slept[:2], len(server.asked)) == ([], [7.0, 2.0], 3)
    assert rates(feeds) == {"eu": Rate(1000.0, 2.0, "GPU-hour")}


async def test_a_series_that_begins_later_says_nothing_of_now(feeds: Feeds, keys: Path) -> None:
    server = Server(says(PRICES), says(answers.document(answers.series(answers.period({1: 9.0}, day=21)))))
    feeds.now = answers.MIDNIGHT + 60.0
    async with serving(server.handle) as port:
        await electricity(feeds, port, keys)
        first = feeds.now
        feeds.now += 3600.0
        while len(server.asked) == 1:
            await feeds.refresh()
    state = feeds.feeds.states()[0]
    assert state.refreshed_at is not None
    assert state.error == "de: no price was published for this hour"
    assert rates(feeds)["de"].at >= first


async def test_a_feed_of_the_internet_does_not_ask_this_machine_unless_told_to(feeds: Feeds, tmp_path: Path) -> None:
    figures = [{"key": "nd", "region": "westeurope", "sku": answers.SKU}]
    for host in ("127.0.0.1", "localhost"):
        await feeds.apply(fed("nd", type="azure", url=f"http://{host}:9/", azure=figures), tmp_path)
        assert "not public (spec.addresses is public)" in feeds.feeds.states()[0].error


async def test_spot_prices_are_asked_for_with_a_signature_that_holds(feeds: Feeds, tmp_path: Path, keys: Path) -> None:
    file = keys / "aws"
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = old\n", encoding="utf-8")
    shown: list[str] = []

    async def checked(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        new = "NEW" in request.headers["authorization"]
        credentials = AwsCredentials("NEW", "new", "session") if new else AwsCredentials("OLD", "old")
        again = signed_headers(
            str(request.url),
            {"content-type": request.headers["content-type"]},
            body,
            credentials,
            region="eu-west-1",
            service="ec2",
            at=feeds.now,
        )
        assert request.headers["authorization"] == again["authorization"]
        assert request.headers.get("x-amz-security-token") == credentials.token
        shown.append(credentials.key_id)
        more = parse_qs(body.decode()).get("NextToken") == ["more"]
        return web.Response(
            text=answers.spot(answers.ZONES[1]) if more else answers.spot(answers.ZONES[0], token="more")
        )

    server = Server(says(answers.fault("RequestLimitExceeded"), 503), checked)
    async with serving(server.handle) as port:
        figures = [{"key": "p5", "region": "eu-west-1", "instanceType": "p5.48xlarge"}]
        spec = {"type": "awsSpot", "url": f"{at(port)}/", "awsSpot": figures, "addresses": "private"}
        feeds.now = NOW
        await feeds.apply(fed("p5", **spec, credentials={"file": "aws"}), tmp_path)
        assert feeds.feeds.states()[0].error == ""
        assert rates(feeds) == {"p5": Rate(NOW, 40.25, "hour")}
        text = "[default]\naws_access_key_id=NEW\naws_secret_access_key=new\naws_session_token=session\n"
        file.write_text(text, encoding="utf-8")
        await feeds.refresh()
        assert feeds.feeds.states()[0].error == ""
        file.write_text("aws_secret_access_key = hunter2", encoding="utf-8")
        await feeds.refresh()
    assert shown == ["OLD", "OLD", "NEW", "NEW"]
    assert feeds.feeds.states()[0].error == "no credentials: file aws is no shared credentials file"


async def test_the_price_list_is_asked_for_with_aws_own_variables(
    feeds: Feeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    server = Server(says({"__type": "ThrottlingException"}, 400), says(answers.listed(answers.product())))
    async with serving(server.handle) as port:
        figures = [{"key": "p5", "region": "eu-west-1", "instanceType": "p5.48xlarge"}]
        spec = {"type": "awsPriceList", "url": at(port), "awsPriceList": figures, "addresses": "private"}
        await feeds.apply(fed("p5", **spec), tmp_path)
        assert feeds.feeds.states()[0].error == (
            "no credentials: the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY lack the key or its secret"
        )
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
        await feeds.refresh()
    assert rates(feeds) == {"p5": Rate(1000.0, 98.32, "hour")}
    assert "Credential=AKID/" in server.asked[-1].headers["authorization"]


async def test_the_hours_price_comes_when_its_hour_does_asked_again_or_not(feeds: Feeds, keys: Path) -> None:
    server = Server(says(PRICES), says("", 503))
    feeds.now = answers.MIDNIGHT + 1800.0
    async with serving(server.handle) as port:
        policy = await electricity(feeds, port, keys)
        assert rates(feeds) == {"de": Rate(feeds.now, 0.08, "kWh")}
        assert feeds.slept == [1800.0]
        feeds.now += 1800.0
        await feeds.refresh()
        assert rates(feeds) == {"de": Rate(feeds.now, -0.02, "kWh")}
        assert (len(server.asked), feeds.notified) == (1, 2)
        seen = judge_prices(policy, feeds.board.snapshot(feeds.now), EngineMemory(), feeds.now)
        assert (seen.notes, seen.clusters["home"].usd_per_million_tokens) == ((), 0.0)
        # The read that is due then fails, and takes nothing from what was published.
        feeds.now += 3000.0
        await feeds.refresh()
        state = feeds.feeds.states()[0]
        assert (state.error, state.failures, state.refreshed_at) == ("HTTP 503, busy", 1, feeds.now)
        assert rates(feeds) == {"de": Rate(feeds.now, -0.02, "kWh")}
        # Once nothing more was published the last price stands, and grows older.
        last = feeds.now
        feeds.now = answers.MIDNIGHT + 25 * 3600.0
        await feeds.refresh()
        assert rates(feeds) == {"de": Rate(last, -0.02, "kWh")}


async def test_a_published_price_does_not_look_old_in_the_middle_of_its_hour(feeds: Feeds, keys: Path) -> None:
    server = Server(says(PRICES))
    feeds.now = answers.MIDNIGHT + 4 * 3600.0
    async with serving(server.handle) as port:
        await electricity(feeds, port, keys, maxAge="10m")
        for _ in range(3):
            feeds.now += 300.0
            await feeds.refresh()
    assert feeds.slept[:4] == [300.0] * 4
    assert (rates(feeds)["de"].at, len(server.asked)) == (feeds.now, 1)


async def test_a_feed_that_nobody_takes_a_price_from_is_well(feeds: Feeds, tmp_path: Path) -> None:
    figures = [{"key": "nd", "region": "westeurope", "sku": answers.SKU}]
    await feeds.apply(policy_set([], [feed("prices", type="azure", azure=figures)]), tmp_path)
    assert (feeds.feeds.states()[0].error, feeds.feeds.states()[0].refreshed_at) == ("", 1000.0)


async def test_no_log_state_or_board_tells_the_token(
    feeds: Feeds, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = answers.acknowledgement("A99", f"securityToken={TOKEN} was sent")
    server = Server(
        says(echo, 400),
        says("", 302, location=f"http://127.0.0.1/?securityToken={TOKEN}"),
        says(answers.acknowledgement("999", f"nothing for {TOKEN}")),
        says(f"<x>{TOKEN}</y>"),
        says("", 401),
    )
    async with serving(server.handle) as port:
        await electricity(feeds, port, keys)
        for _ in range(5):
            await feeds.refresh()
    await feeds.refresh()
    assert len(feeds.failed) == 7
    told = [str(record.__dict__) for record in caplog.records] + [str(feeds.feeds.states()), caplog.text]
    assert not [one for one in told if TOKEN in one]
    assert any("A99" in one for one in told)


async def test_a_token_that_is_none_is_an_error_that_names_the_place(feeds: Feeds, tmp_path: Path, keys: Path) -> None:
    figures = [{"key": "de", "zone": "10Y1001A1001A82H"}]
    spec: dict[str, Any] = {"type": "entsoe", "entsoe": figures, "currency": "EUR", "rates": {"EUR": 1.0}}
    await feeds.apply(fed("de", **spec, credentials={"file": "t"}), tmp_path)
    assert feeds.feeds.states()[0].error == "no credentials: file t cannot be read: No such file or directory"
    (keys / "t").write_text("hunter2\nhunter3", encoding="utf-8")
    await feeds.refresh()
    assert feeds.feeds.states()[0].error == (
        "no credentials: file t holds no key: expected one line of printable characters"
    )


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("[other]\naws_access_key_id = AKID\n", "file aws has no profile default"),
        ("[default]\naws_access_key_id = AKID\n", "profile default of file aws lack the key or its secret"),
        (
            "[default]\naws_access_key_id = AKID\n  x-admin: yes\naws_secret_access_key = hunter2\n",
            "profile default of file aws: a value is not one line of printable characters",
        ),
        ("#" * (MOST_FILE_BYTES + 1), f"file aws is larger than {MOST_FILE_BYTES} bytes"),
    ],
)
async def test_a_shared_credentials_file_that_is_none_is_told_and_not_quoted(
    keys: Path, written: str, why: str
) -> None:
    (keys / "aws").write_text(written, encoding="utf-8")
    with pytest.raises(PriceSourceError) as caught:
        await aws_credentials(Credentials(file="aws"), Keyring(keys))
    assert str(caught.value) == f"no credentials: {why}"


async def test_a_token_goes_to_the_server_that_the_policy_names_and_to_no_other(
    feeds: Feeds, tmp_path: Path, keys: Path
) -> None:
    (keys / "token").write_text(TOKEN, encoding="utf-8")
    other, named = Server(says({"eu": 9.0})), Server(says({"eu": 2.0}))
    async with serving(other.handle) as elsewhere, serving(named.handle) as port:
        named.script = [says("", status, location=f"{at(elsewhere)}/") for status in (301, 302, 303, 307, 308)]
        spec = {"type": "http", "url": at(port), "map": [{"pointer": "/eu", "key": "eu", "unit": "usdPerGpuHour"}]}
        await feeds.apply(fed("eu", **spec, credentials={"file": "token"}), tmp_path)
        for _ in range(4):
            await feeds.refresh()
    assert [one.headers["authorization"] for one in named.asked] == [f"Bearer {TOKEN}"] * 5
    assert (other.asked, rates(feeds)) == ([], {})
    assert feeds.feeds.states()[0].error == "HTTP 308, a redirect to 127.0.0.1: redirects are not followed"


async def test_what_lies_beside_the_policies_is_nobodys_secret(feeds: Feeds, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    named = Server(says({"eu": 2.0}))
    async with serving(named.handle) as port:
        spec = {"type": "http", "url": at(port), "map": [{"pointer": "/eu", "key": "eu", "unit": "usdPerGpuHour"}]}
        await feeds.apply(fed("eu", **spec, credentials={"file": "token"}), tmp_path)
    assert (named.asked, feeds.feeds.states()[0].error) == (
        [],
        "no credentials: file token cannot be read: No such file or directory",
    )


async def test_a_variable_is_read_at_each_use(feeds: Feeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(says({"eu": 2.0}))
    async with serving(server.handle) as port:
        spec = {"type": "http", "url": at(port), "map": [{"pointer": "/eu", "key": "eu", "unit": "usdPerGpuHour"}]}
        monkeypatch.setenv("PENSTOCK_SECRET_PRICES", "one")
        await feeds.apply(fed("eu", **spec, credentials={"env": "PENSTOCK_SECRET_PRICES"}), tmp_path)
        monkeypatch.setenv("PENSTOCK_SECRET_PRICES", "two")
        await feeds.refresh()
        monkeypatch.delenv("PENSTOCK_SECRET_PRICES")
        await feeds.refresh()
    assert [one.headers["authorization"] for one in server.asked] == ["Bearer one", "Bearer two"]
    assert feeds.feeds.states()[0].error == "no credentials: variable PENSTOCK_SECRET_PRICES is not set"
    assert rates(feeds) == {"eu": Rate(1000.0, 2.0, "GPU-hour")}


async def test_pages_without_end_are_an_end(feeds: Feeds, tmp_path: Path) -> None:
    count = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return web.json_response(answers.page(answers.item(), following=f"http://{request.host}/?$skip={count}"))

    server = Server(endless)
    async with serving(server.handle) as port:
        figures = [{"key": "nd", "region": "westeurope", "sku": answers.SKU}]
        spec = {"type": "azure", "url": at(port), "azure": figures, "addresses": "private"}
        await feeds.apply(fed("nd", **spec), tmp_path)
    assert feeds.feeds.states()[0].error == "more pages than a read may take"
    assert count == 200
