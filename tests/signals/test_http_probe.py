"""One HTTP probe against real sockets."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from penstock.signals.http_probe import LATE, HttpProbe, Target
from penstock.signals.probe_count import Answer
from penstock_policies.schema import Endpoint, Tls
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
    assert (result.answer, result.detail, asked) == (Answer.FAILED, "HTTP 302", ["/health"])


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
    assert (result.answer, result.detail) == (Answer.FAILED, "no answer within 0.05 s")


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
    assert result.answer is Answer.FAILED
    assert "onnect" in result.detail


async def test_an_answer_that_is_not_http_has_failed(probe: HttpProbe) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        result = await probe(_target(server.sockets[0].getsockname()[1]))
    assert result.answer is Answer.FAILED
    assert 0 < len(result.detail) <= 200


async def test_an_address_that_is_none_has_failed(probe: HttpProbe) -> None:
    result = await probe(Target(Endpoint(address="a..b", port=80), "/", 5.0))
    assert result.answer is Answer.FAILED


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
    "wrong", [{"sni": "other.example.com"}, {"ca_file": "/nosuch/roots.crt"}], ids=["wrong name", "untrusted"]
)
async def test_a_certificate_that_envoy_would_refuse_has_failed(
    probe: HttpProbe, certificate: Path, wrong: dict[str, str]
) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    tls = Tls.model_validate({"sni": "llm.example.com", "ca_file": str(certificate)} | wrong)
    async with serving(handler, _server_tls(certificate)) as port:
        result = await probe(_target(port, tls=tls))
    assert result.answer is Answer.FAILED
    assert "certificate" in result.detail.lower()
