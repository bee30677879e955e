"""One HTTP probe against real sockets."""

import asyncio
import gzip
import logging
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from penstock.signals.credentials import Keyring
from penstock.signals.endpoint_asking import LATE
from penstock.signals.http_probe import HttpProbe, Target
from penstock.signals.model_list import MOST_BYTES
from penstock.signals.probe_count import Answer
from penstock.signals.questions import Layer
from penstock_policies.probing import Credential
from penstock_policies.schema import Endpoint, Tls
from penstock_policies.words import Engine
from tests.signals.simulated_servers import serving


@pytest.fixture
async def probe() -> AsyncIterator[HttpProbe]:
    async with HttpProbe() as made:
        yield made


def _target(port: int, *, path: str = "/health", timeout: float = 10.0, tls: Tls | None = None) -> Target:
    return Target(Endpoint(address="127.0.0.1", port=port, tls=tls), path, timeout)


async def test_a_probe_asks_for_the_path_as_written_and_times_the_answer(probe: HttpProbe) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.Response(text="fine")

    async with serving(handler) as port:
        result = await probe(_target(port, path="/v2/health/ready?full=%2Fyes"))
    assert asked == ["/v2/health/ready?full=%2Fyes"]
    assert result.answer is Answer.ALIVE
    assert result.latency is not None
    assert result.latency > 0


async def test_a_redirect_is_not_followed(probe: HttpProbe) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"location": "/elsewhere"})

    async with serving(handler) as port:
        result = await probe(_target(port))
    assert (result.answer, result.detail, asked) == (Answer.FAILED, "health: HTTP 302", ["/health"])


async def test_a_body_without_end_does_not_hold_the_probe(probe: HttpProbe) -> None:
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except (ConnectionError, asyncio.CancelledError):
            gone.set()
            raise

    async with serving(handler) as port:
        assert (await probe(_target(port))).answer is Answer.ALIVE
        async with asyncio.timeout(20):
            await gone.wait()


async def test_a_server_that_does_not_answer_in_time_has_failed(probe: HttpProbe) -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as port:
        result = await probe(_target(port, timeout=0.05))
    assert (result.answer, result.detail) == (Answer.FAILED, "health: no answer within 0.05 s")


async def test_a_time_out_that_this_process_is_to_blame_for_says_nothing(probe: HttpProbe) -> None:
    asked = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as port:
        probing = asyncio.ensure_future(probe(_target(port, timeout=0.2)))
        await asked.wait()
        time.sleep(0.3 + LATE)  # noqa: ASYNC251 - holding up the event loop is the subject
        assert (await probing).answer is Answer.UNKNOWN


async def test_a_refused_connection_has_failed_and_says_so(probe: HttpProbe) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        result = await probe(_target(bound.getsockname()[1]))
    assert (result.answer, result.detail) == (Answer.FAILED, "tcp: connection refused")


async def test_an_answer_that_is_not_http_has_failed(probe: HttpProbe) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        result = await probe(_target(server.sockets[0].getsockname()[1]))
    assert (result.answer, result.detail) == (Answer.FAILED, "health: the answer is no HTTP")


async def test_an_address_that_is_none_has_failed(probe: HttpProbe) -> None:
    result = await probe(Target(Endpoint(address="a..b", port=80), "/", 5.0))
    assert (result.answer, result.layer) == (Answer.FAILED, Layer.TCP)


# Models and keys


def _models(*names: str) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": name} for name in names]})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_models("llama", "mistral", "other"), (Answer.ALIVE, "", ())),
        (_models("llama"), (Answer.ALIVE, "models: does not list mistral", ("mistral",))),
        (_models("other"), (Answer.FAILED, "models: does not list llama, mistral", ("llama", "mistral"))),
        (_models(), (Answer.FAILED, "models: does not list llama, mistral", ("llama", "mistral"))),
        (web.Response(status=404), (Answer.ALIVE, "", None)),
        (web.Response(status=405), (Answer.ALIVE, "", None)),
        (web.Response(status=500), (Answer.FAILED, "models: HTTP 500", None)),
        (web.Response(status=302), (Answer.FAILED, "models: HTTP 302", None)),
        (web.Response(text="<html>"), (Answer.FAILED, "models: answers with no JSON", None)),
        (web.Response(body=b"[" * 100_000), (Answer.FAILED, "models: answers with no JSON", None)),
        (web.json_response({"data": {"id": "llama"}}), (Answer.FAILED, "models: answers with no list of models", None)),
        (web.json_response([1]), (Answer.FAILED, "models: answers with no list of models", None)),
        (
            web.json_response({"data": [1, None, {"id": 7}, {}]}),
            (Answer.FAILED, "models: does not list llama, mistral", ("llama", "mistral")),
        ),
        (
            web.Response(body=b" " * (MOST_BYTES + 1)),
            (Answer.FAILED, f"models: answers with more than {MOST_BYTES} bytes", None),
        ),
        (
            web.Response(body=gzip.compress(b" " * 50_000_000, 1), headers={"content-encoding": "gzip"}),
            (Answer.FAILED, "models: answers compressed, unasked", None),
        ),
    ],
)
async def test_the_list_of_models_is_looked_at_on_top_of_health(
    probe: HttpProbe, answer: web.Response, expected: tuple[Answer, str, tuple[str, ...] | None]
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return answer if request.path == "/v1/models" else web.Response()

    async with serving(handler) as port:
        result = await probe(replace(_target(port), models=("llama", "mistral")))
    assert (result.answer, result.detail, result.missing) == expected
    assert result.layer is Layer.MODELS


async def test_where_health_fails_nothing_above_it_is_asked(probe: HttpProbe) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=503)

    async with serving(handler) as port:
        result = await probe(replace(_target(port), models=("llama",)))
    assert (asked, result.layer, result.detail) == (["/health"], Layer.HEALTH, "health: HTTP 503")


async def test_ollamas_names_are_understood(probe: HttpProbe) -> None:
    async def handler(request: web.Request) -> web.Response:
        return _models("llama3:latest")

    async with serving(handler) as port:
        target = replace(_target(port), models=("llama3",))
        assert (await probe(target)).answer is Answer.FAILED
        assert (await probe(replace(target, engine=Engine.OLLAMA))).missing == ()


async def test_every_layer_shows_the_key_and_none_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        key = request.headers.get("api-key", "")
        seen.append((request.path, key))
        return web.Response(status=200 if request.path == "/health" else 403, text=key)

    keyring = Keyring(environment={"PENSTOCK_SECRET_EU": "sk-very-secret"})
    credential = Credential(env="PENSTOCK_SECRET_EU", header="api-key", scheme="")
    with caplog.at_level(logging.DEBUG):
        async with serving(handler) as port, HttpProbe(keyring) as probe:
            result = await probe(replace(_target(port), models=("llama",), credential=credential))
    assert seen == [("/health", "sk-very-secret"), ("/v1/models", "sk-very-secret")]
    assert (result.answer, result.credential) == (Answer.ALIVE, "models: HTTP 403, the key is refused")
    assert "sk-very" not in repr(result) + repr(credential) + caplog.text


async def test_a_key_that_cannot_be_had_is_told_and_the_probe_made_without_it(probe: HttpProbe) -> None:
    seen: list[bool] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append("Authorization" in request.headers)
        return web.Response()

    async with serving(handler) as port:
        result = await probe(replace(_target(port), credential=Credential(file="eu.key")))
    assert (seen, result.answer) == ([False], Answer.ALIVE)
    assert result.credential == "no directory for file eu.key: penstock serve --credentials DIR"


async def test_no_proxy_of_the_environment_comes_between(probe: HttpProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with serving(handler) as port:
        assert (await probe(_target(port))).answer is Answer.ALIVE


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for llm.example.com, with its key in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate of this test")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=llm.example.com", "-addext", "subjectAltName=DNS:llm.example.com"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem"


@pytest.fixture(scope="module")
def expired(certificate: Path) -> Path:
    """The same, of a year long gone."""
    folder = certificate.parent
    key = str(folder / "key.pem")
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={folder}/index\nserial={folder}/serial\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=DNS:llm.example.com\nbasicConstraints=critical,CA:TRUE\n[req]\ndistinguished_name=n\n[n]\n"
    )
    config = ("-config", str(folder / "ca.cnf"))
    for command in (
        ("req", "-new", "-key", key, "-subj", "/CN=llm.example.com", "-out", str(folder / "request.pem"), *config),
        (
            *("ca", "-batch", "-selfsign", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-notext"),
            *("-keyfile", key, "-in", str(folder / "request.pem"), "-out", str(folder / "expired.pem"), *config),
        ),
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return folder / "expired.pem"


def _server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


async def test_tls_uses_the_endpoints_sni_host_and_roots(probe: HttpProbe, certificate: Path) -> None:
    hosts: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        hosts.append(request.host)
        return web.Response()

    tls = Tls(sni="llm.example.com", ca_file=str(certificate))
    async with serving(handler, _server_tls(certificate)) as port:
        result = await probe(_target(port, tls=tls))
    assert (result.answer, hosts) == (Answer.ALIVE, ["llm.example.com"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sni": "other.example.com"}, "tls: certificate of another name than other.example.com"),
        ({"ca_file": "/nosuch/roots.crt"}, "tls: certificate self-signed and not trusted"),
    ],
    ids=["wrong name", "untrusted"],
)
async def test_a_certificate_that_envoy_would_refuse_has_failed(
    probe: HttpProbe, certificate: Path, wrong: dict[str, str], told: str
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    tls = Tls.model_validate({"sni": "llm.example.com", "ca_file": str(certificate)} | wrong)
    async with serving(handler, _server_tls(certificate)) as port:
        result = await probe(_target(port, tls=tls))
    assert (result.answer, result.detail) == (Answer.FAILED, told)


async def test_a_certificate_that_has_expired_is_told_apart(probe: HttpProbe, expired: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async with serving(handler, _server_tls(expired)) as port:
        result = await probe(_target(port, tls=Tls(sni="llm.example.com", ca_file=str(expired))))
    assert (result.answer, result.layer, result.detail) == (Answer.FAILED, Layer.TLS, "tls: certificate expired")


async def test_a_plain_server_where_tls_is_expected_is_told_from_one_that_refuses(
    probe: HttpProbe, certificate: Path
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async with serving(handler) as port:
        result = await probe(_target(port, tls=Tls(sni="llm.example.com", ca_file=str(certificate))))
    assert (result.answer, result.layer) == (Answer.FAILED, Layer.TLS)
    assert result.detail.startswith("tls: handshake failed")


@pytest.mark.parametrize(
    ("hangs", "told"), [(True, "and no handshake within"), (False, "cut off during the handshake")]
)
async def test_a_handshake_that_comes_to_nothing_is_told_from_a_connection_that_does(
    probe: HttpProbe, certificate: Path, *, hangs: bool, told: str
) -> None:
    over = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if hangs:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        tls = Tls(sni="llm.example.com", ca_file=str(certificate))
        result = await probe(_target(port, timeout=0.2 if hangs else 10.0, tls=tls))
        over.set()
    assert (result.answer, result.layer) == (Answer.FAILED, Layer.TLS)
    assert told in result.detail
