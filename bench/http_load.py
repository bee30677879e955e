"""A closed-loop HTTP/1.1 load client, lean enough not to be the bottleneck: one process, one epoll, raw sockets.

``python bench/http_load.py --port P --connections N --seconds S`` keeps N keep-alive connections busy with one chat
request each at a time and prints one JSON line: ``{"requests", "failed", "seconds", "rps", "p50_us", "p99_us"}``. A
request has failed when its status is not 200. Latencies are from the write of a request to the last byte of its answer.
"""

import argparse
import json
import select
import socket
import sys
import time
from dataclasses import dataclass
from typing import Final

REQUEST_BYTES: Final = 256
"""Size of the prompt: one short turn. Envoy reads all of it to find the model's name; docs/performance.md has more."""

_HEADERS_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


def chat_request(path: str, model: str) -> bytes:
    """One request, ready to be sent."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "w" * REQUEST_BYTES}]}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(slots=True)
class Connection:
    """One keep-alive connection and the answer it waits for."""

    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""


def complete(answer: bytes) -> bool:
    """Whether an answer is there to its last byte; every answer here has a content-length."""
    head = answer.find(_HEADERS_END)
    if head < 0:
        return False
    start = answer.find(_LENGTH, 0, head + 2)
    if start < 0:
        raise ValueError(f"an answer without content-length: {answer[:200]!r}")
    start += len(_LENGTH)
    return len(answer) - head - len(_HEADERS_END) >= int(answer[start : answer.index(b"\r", start)])


def run(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    """Send requests for a time; returns the figures."""
    poll = select.epoll()
    by_descriptor: dict[int, Connection] = {}
    for _ in range(connections):
        connected = socket.create_connection(("127.0.0.1", port))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(0)
        by_descriptor[connected.fileno()] = Connection(connected)
        poll.register(connected, select.EPOLLIN)
    latencies: list[float] = []
    failed = 0
    clock = time.perf_counter
    started = clock()
    end = started + seconds
    for connection in by_descriptor.values():
        connection.sent_at = clock()
        connection.socket.sendall(request)
    under_way = len(by_descriptor)
    while under_way:
        for descriptor, _ in poll.poll(5.0) or _stalled(under_way):
            connection = by_descriptor[descriptor]
            data = connection.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed a connection in the middle of an answer")
            connection.received += data
            if not complete(connection.received):
                continue
            now = clock()
            latencies.append(now - connection.sent_at)
            failed += connection.received[9:12] != b"200"
            connection.received = b""
            if now >= end:
                under_way -= 1
                continue
            connection.sent_at = now
            connection.socket.sendall(request)
    elapsed = clock() - started
    for connection in by_descriptor.values():
        connection.socket.close()
    poll.close()
    latencies.sort()
    return {
        "requests": len(latencies),
        "failed": failed,
        "seconds": elapsed,
        "rps": len(latencies) / elapsed,
        "p50_us": latencies[len(latencies) // 2] * 1e6,
        "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
    }


def _stalled(under_way: int) -> list[tuple[int, int]]:
    raise TimeoutError(f"{under_way} answers did not come within five seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--model", default="llama-3-70b")
    given = parser.parse_args()
    figures = run(given.port, given.connections, given.seconds, chat_request(given.path, given.model))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
