"""Who is believed: mutual TLS, certificates that rotate, and the authenticator's word."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from penstock_xds import CertificateError, CertificateFiles, Node, Peer, RefusedError, mutual_tls, san_authenticator
from penstock_xds.protos import DeltaDiscoveryRequest, NodeProto
from penstock_xds.types import CLUSTER
from tests.xds.certificates import Authority, Issued
from tests.xds.shell_setting import CHANNEL_OPTIONS, Hands, Setting, Start, Stream
from tests.xds.transcript import cluster

SPIFFE = "spiffe://example.org/edge/n1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Issued:
    return authority.issue("client", f"URI:{SPIFFE}", "DNS:n1")


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> CertificateFiles:
    """The server's files, which a test may replace."""
    issued = authority.issue("server", "DNS:localhost")
    files = CertificateFiles(tmp_path / "tls.crt", tmp_path / "tls.key", authority.certificate)
    issued.certificate.rename(files.certificate)
    issued.key.rename(files.key)
    return files


def channel(setting: Setting, authority: Authority, client: Issued | None) -> Any:
    key, certificate = (None, None) if client is None else client.read()
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, certificate)
    return aio.secure_channel(f"localhost:{setting.port}", credentials, options=CHANNEL_OPTIONS)


async def ended(stream: Stream, node_id: str) -> tuple[grpc.StatusCode, str]:
    await stream.say(DeltaDiscoveryRequest(node=NodeProto(id=node_id, cluster="edge"), type_url=CLUSTER))
    return await stream.end()


def spiffe_name(node: Node) -> tuple[str, ...]:
    return (f"spiffe://example.org/{node.cluster}/{node.id}",)


@pytest.mark.parametrize("authenticator", [san_authenticator(), san_authenticator(spiffe_name)], ids=["dns", "spiffe"])
async def test_a_node_is_believed_whose_certificate_names_it_and_no_other_is(
    start: Start,
    authority: Authority,
    client: Issued,
    files: CertificateFiles,
    authenticator: Any,
) -> None:
    setting = await start(credentials=mutual_tls(files), authenticator=authenticator)
    setting.publish(cluster("a"))
    async with channel(setting, authority, client) as secure:
        response = await Stream(secure).ask(CLUSTER, node=NodeProto(id="n1", cluster="edge"))
        assert [r.name for r in response.resources] == ["a"]
        assert await ended(Stream(secure), "n2") == (
            grpc.StatusCode.PERMISSION_DENIED,
            "the client certificate does not prove the node id",
        )
    assert len(setting.recorder.connected) == 1


async def test_a_client_without_a_certificate_does_not_get_as_far_as_a_stream(
    start: Start, authority: Authority, files: CertificateFiles
) -> None:
    setting = await start(credentials=mutual_tls(files), authenticator=san_authenticator())
    async with channel(setting, authority, None) as secure:
        stream = Stream(secure)
        with pytest.raises((aio.AioRpcError, TimeoutError)):
            await stream.ask(CLUSTER)
        assert (await stream.end())[0] is grpc.StatusCode.UNAVAILABLE


async def test_where_certificates_are_not_asked_for_nobody_is_authenticated_by_one(
    start: Start, authority: Authority, client: Issued, files: CertificateFiles
) -> None:
    credentials = mutual_tls(files, require_client_certificate=False)
    setting = await start(credentials=credentials, authenticator=san_authenticator())
    async with channel(setting, authority, client) as secure:
        assert await ended(Stream(secure), "n1") == (
            grpc.StatusCode.UNAUTHENTICATED,
            "a client certificate is needed",
        )


async def served_certificate(setting: Setting, authority: Authority, client: Issued) -> str:
    """Connects anew and returns the certificate the server shows."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("localhost", setting.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(shown)


async def test_a_rotated_certificate_is_served_without_a_restart_and_a_broken_one_never(
    start: Start, authority: Authority, client: Issued, files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    setting = await start(credentials=mutual_tls(files))
    setting.publish(cluster("a"))
    first = files.certificate.read_text()
    assert await served_certificate(setting, authority, client) == first
    old_channel = channel(setting, authority, client)
    old = Stream(old_channel)
    await old.accept(await old.ask(CLUSTER))

    replacement = authority.issue("replacement", "DNS:localhost")
    # Half a rotation: the key of another certificate.
    replacement.key.rename(files.key)
    assert await served_certificate(setting, authority, client) == first
    assert "new certificates cannot be used, the old ones stay" in [r.message for r in caplog.records]
    replacement.certificate.rename(files.certificate)
    second = files.certificate.read_text()
    assert second != first
    assert await served_certificate(setting, authority, client) == second

    # Streams that are there are none the wiser.
    setting.publish(cluster("a"), cluster("b"))
    assert [r.name for r in (await old.hear()).resources] == ["b"]
    await old_channel.close()


def test_files_that_do_not_fit_together_are_refused_at_once(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("one", "DNS:a"), authority.issue("other", "DNS:b")
    with pytest.raises(CertificateError, match=r"one\.pem"):
        mutual_tls(CertificateFiles(one.certificate, other.key, authority.certificate))
    with pytest.raises(CertificateError, match=r"none\.pem"):
        mutual_tls(CertificateFiles(tmp_path / "none.pem", one.key, authority.certificate))


async def test_the_authenticator_sees_what_the_connection_proves_and_may_change_the_node(
    start: Start, authority: Authority, client: Issued, files: CertificateFiles
) -> None:
    seen: list[Peer] = []

    async def from_certificate(peer: Peer, claimed: Node) -> Node:
        seen.append(peer)
        assert claimed.cluster == "elsewhere"
        return Node(id=claimed.id, cluster="edge")

    setting = await start(credentials=mutual_tls(files), authenticator=from_certificate)
    setting.publish(cluster("a"))
    async with channel(setting, authority, client) as secure:
        stream = Stream(secure)
        await stream.ask(CLUSTER, node=NodeProto(id="n1", cluster="elsewhere"))
    (view,) = setting.recorder.connected
    assert view.node == Node(id="n1", cluster="edge")
    (peer,) = seen
    assert set(peer.alternative_names) == {SPIFFE, "n1"}
    assert peer.common_name == "client"
    assert "CN=client" in peer.subject
    assert peer.certificate.decode().strip() == client.certificate.read_text().strip()
    assert ":" in peer.address


def test_a_peer_shows_no_secret() -> None:
    peer = Peer(address="ipv4:127.0.0.1:1", certificate=b"---PEM---", authorization="Bearer hunter2")
    assert "hunter2" not in repr(peer)
    assert "PEM" not in repr(peer)


async def test_a_token_reaches_the_authenticator_and_no_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="penstock_xds")

    async def by_token(peer: Peer, claimed: Node) -> Node:
        if peer.authorization != "Bearer good":
            raise RefusedError("the token is not valid", grpc.StatusCode.UNAUTHENTICATED)
        return claimed

    setting = await start(authenticator=by_token)
    setting.publish(cluster("a"))
    node = NodeProto(id="n1", cluster="edge")
    good = Stream(setting.channel, metadata=(("authorization", "Bearer good"),))
    assert [r.name for r in (await good.ask(CLUSTER, node=node)).resources] == ["a"]
    bad = Stream(setting.channel, metadata=(("authorization", "Bearer hunter2"),))
    assert await ended(bad, "n1") == (grpc.StatusCode.UNAUTHENTICATED, "the token is not valid")
    assert "client refused" in [r.message for r in caplog.records]
    assert "hunter2" not in "".join(str(r.__dict__) for r in caplog.records)


async def test_an_authenticator_that_breaks_lets_nobody_in(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(peer: Peer, claimed: Node) -> Node:
        raise KeyError("a bug of the program's")

    setting = await start(authenticator=broken)
    code, reason = await ended(setting.stream(), "n1")
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "bug" not in reason
    assert "authenticator failed" in [r.message for r in caplog.records]
    assert setting.recorder.connected == []


async def test_an_authenticator_that_hangs_lets_nobody_in_either(start: Start) -> None:
    async def hanging(peer: Peer, claimed: Node) -> Node:
        await asyncio.Event().wait()
        return claimed

    setting = await start(authenticator=hanging, first_request_timeout=0.1)
    assert (await ended(setting.stream(), "n1"))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_refusal_is_logged_again_after_a_minute_with_the_number_left_out(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async def never(peer: Peer, claimed: Node) -> Node:
        raise RefusedError("nobody is")

    clock = Hands()
    setting = await start(authenticator=never, clock=clock)

    def told() -> list[int]:
        return [r.__dict__["left_out"] for r in caplog.records if r.message == "client refused"]

    for _ in range(3):
        assert await ended(setting.stream(), "n1") == (grpc.StatusCode.PERMISSION_DENIED, "nobody is")
    assert told() == [0]
    clock.now += 60.0
    await ended(setting.stream(), "n1")
    assert told() == [0, 2]


@pytest.mark.parametrize(
    ("peer", "node", "code"),
    [
        (Peer("a", b"pem", alternative_names=("",)), Node(id=""), grpc.StatusCode.PERMISSION_DENIED),
        (Peer("a", b"pem"), Node(id="n1"), grpc.StatusCode.PERMISSION_DENIED),
        (Peer("a", alternative_names=("n1",)), Node(id="n1"), grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_an_empty_name_proves_nothing(peer: Peer, node: Node, code: grpc.StatusCode) -> None:
    with pytest.raises(RefusedError) as refusal:
        await san_authenticator()(peer, node)
    assert refusal.value.code is code
