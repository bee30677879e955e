"""The xDS port over TLS: whom it believes, and how streams end."""

import asyncio
from pathlib import Path

import grpc
import pytest

from bench.ports import free_ports
from penstock.control.errors import StartError
from penstock.control.xds_port import TlsFiles, XdsPort
from penstock_envoy.bootstrap import XdsTls, render
from penstock_envoy.process import EnvoyProcess
from penstock_envoy.resource import LISTENER
from tests.control.model_envoy import model_envoy
from tests.control.serving_world import world
from tests.xds.certificates import Authority, Issued


def of_client(authority: Authority, issued: Issued | None) -> grpc.ChannelCredentials:
    roots = authority.certificate.read_bytes()
    return grpc.ssl_channel_credentials(roots, *(issued.read() if issued is not None else (None, None)))


async def test_with_a_client_ca_an_envoy_is_served_as_the_node_its_certificate_names_and_as_no_other(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", "DNS:localhost", "IP:127.0.0.1")
    client = authority.issue("client", "DNS:edge-1")
    files = TlsFiles(server.certificate, server.key, authority.certificate)
    async with world(tmp_path, XdsPort(tls=files, drain_window=0.0)) as serving:
        address = serving.plane.xds_address
        credentials = of_client(authority, client)
        async with model_envoy(address, node="edge-1", credentials=credentials) as envoy:
            await envoy.until(lambda: (LISTENER, "vault") in envoy.holds)
        async with model_envoy(address, node="edge-2", credentials=credentials) as impostor:
            assert await impostor.ending() is grpc.StatusCode.PERMISSION_DENIED
        async with model_envoy(address, node="edge-1", credentials=of_client(authority, None)) as nobody:
            assert await nobody.ending() is grpc.StatusCode.UNAVAILABLE
        assert (impostor.holds, nobody.holds) == ({}, {})


async def test_without_a_client_ca_the_port_is_encrypted_and_asks_for_no_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", "DNS:localhost", "IP:127.0.0.1")
    async with world(tmp_path, XdsPort(tls=TlsFiles(server.certificate, server.key), drain_window=0.0)) as serving:
        async with model_envoy(serving.plane.xds_address, credentials=of_client(authority, None)) as envoy:
            await envoy.until(lambda: (LISTENER, "vault") in envoy.holds)
        async with model_envoy(serving.plane.xds_address) as in_plain_text:
            assert await in_plain_text.ending() is grpc.StatusCode.UNAVAILABLE


async def test_certificates_that_cannot_be_used_stop_the_start_with_their_file(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "missing.pem", tmp_path / "missing.key")
    with pytest.raises(StartError, match=r"missing\.pem"):
        async with world(tmp_path, XdsPort(tls=files)):
            pass


async def test_a_stop_with_a_window_ends_streams_in_good_order(tmp_path: Path) -> None:
    async with world(tmp_path, XdsPort(drain_window=0.2)) as serving:
        context = model_envoy(serving.plane.xds_address)
        envoy = await context.__aenter__()
        await envoy.until(lambda: (LISTENER, "vault") in envoy.holds)
    assert await envoy.ending() is grpc.StatusCode.OK
    await context.__aexit__(None, None, None)


async def test_a_stream_that_reaches_its_age_ends_in_good_order(tmp_path: Path) -> None:
    port = XdsPort(max_age=1.0, drain_window=0.0)
    async with world(tmp_path, port) as serving, model_envoy(serving.plane.xds_address) as envoy:
        assert await envoy.ending() is grpc.StatusCode.OK
        assert (LISTENER, "vault") in envoy.holds


def test_a_port_beyond_loopback_that_believes_everybody_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    files = TlsFiles(Path("a.pem"), Path("a.key"), Path("ca.pem"))
    XdsPort(tls=files).warn_if_open("0.0.0.0:18000")
    XdsPort().warn_if_open("127.0.0.1:18000")
    assert caplog.records == []
    XdsPort().warn_if_open("0.0.0.0:18000")
    assert "open beyond loopback" in caplog.text


@pytest.mark.e2e
async def test_a_real_envoy_with_a_rendered_bootstrap_is_served_over_mutual_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", "IP:127.0.0.1")
    client = authority.issue("client", "DNS:edge-1")
    files = TlsFiles(server.certificate, server.key, authority.certificate)
    tls = XdsTls(str(authority.certificate), str(client.certificate), str(client.key))
    async with world(tmp_path, XdsPort(tls=files, drain_window=0.0)) as serving:
        (public, vault) = free_ports(2)
        serving.edit(("port: 10000", f"port: {public}"), ("port: 10001", f"port: {vault}"))
        port = int(serving.plane.xds_address.rpartition(":")[2])
        bootstrap = render("edge-1", "edge", "127.0.0.1", port, region="eu-central", admin_port=0, tls=tls)
        envoy = EnvoyProcess(bootstrap)
        try:
            await asyncio.to_thread(envoy.start)
            await asyncio.to_thread(envoy.wait_ready)
            (node,) = (await serving.ask("/api/v1/nodes"))["items"]
            assert node["node"] == "edge-1"
            assert {state["type"] for state in node["types"]} >= {"CDS", "LDS"}
        finally:
            await asyncio.to_thread(envoy.stop)
