"""Stub LLM endpoints on loopback: they say who they are, remember what they were sent, and fail when told to."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_LONGEST = 10.0
"""Seconds that an answer is held back, whatever a test forgets."""


@dataclass
class Seen:
    """One request as the endpoint received it."""

    path: str
    headers: dict[str, str]
    body_bytes: int


def _open() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@dataclass
class Backend:
    """One endpoint. Set ``status`` to make it fail, ``padding`` to make it wordy; clear ``gate`` to make it slow."""

    name: str
    port: int = 0
    status: int = 200
    padding: int = 0
    """Bytes that its answer is longer by."""
    seen: list[Seen] = field(default_factory=list)
    gate: threading.Event = field(default_factory=_open)


@contextmanager
def backend(name: str, tls: ssl.SSLContext | None = None) -> Iterator[Backend]:
    """A running endpoint."""
    stub = Backend(name)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "secret-engine/1.2.3"
        # Headers and body are two writes: without this the second waits 40 ms for the first to be acknowledged.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            headers = {key.lower(): value for key, value in self.headers.items()}
            stub.seen.append(Seen(self.path, headers, length))
            stub.gate.wait(_LONGEST)
            body = json.dumps({"served_by": stub.name, "padding": "x" * stub.padding}).encode()
            self.send_response(stub.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 -- the name is http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the signature is http.server's
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # A burst of tests must never meet a full queue.
        request_queue_size = 128

        def finish_request(self, request: Any, client_address: Any) -> None:
            if tls is None:
                super().finish_request(request, client_address)
                return
            # Here, in the connection's own thread: a failed handshake must not stop the server.
            with contextlib.suppress(ssl.SSLError, ConnectionError), tls.wrap_socket(request, server_side=True) as safe:
                super().finish_request(safe, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    stub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"stub {name}")
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port on loopback that is bound but not listened on: connections to it are refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
