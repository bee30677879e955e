"""Answers pass through a real Envoy whole, though it reads them."""

import pytest

from tests.envoy.edge_envoy import JSON, static_edge

pytestmark = pytest.mark.e2e


def test_answers_longer_than_any_buffer_pass_whole() -> None:
    with static_edge() as edge:
        for backend in edge.backends.values():
            backend.padding = 3_000_000
        # The listener takes requests of 2 MiB; a GET has no body that would raise the limit of its stream.
        posted = edge.ask("public")
        got = edge.ask("public", "/v1/embeddings", body=None, method="GET")
        for reply in (posted, got):
            assert (reply.status, len(reply.json["padding"])) == (200, 3_000_000)
        # Nobody compresses what Envoy is to read.
        edge.ask("public", headers=[JSON, ("accept-encoding", "gzip, br")])
        asked = [seen.headers for backend in edge.backends.values() for seen in backend.seen]
        assert len(asked) == 3
        assert all("accept-encoding" not in headers for headers in asked)
