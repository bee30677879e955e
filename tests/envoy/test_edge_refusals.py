"""What a client is told, by a real Envoy, of demand that nobody is there for: always an answer, and always a reason."""

from collections.abc import Iterator

import pytest

from tests.envoy.edge_envoy import JSON, StaticEdge, static_edge

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def spent_edge() -> Iterator[StaticEdge]:
    """An edge whose only on-prem cluster is out, and whose decision says that a budget is the reason."""
    with static_edge(drained=["onprem-fra", "cloud-eu-west", "cloud-us-east"], refusal="budget_exhausted") as edge:
        yield edge


@pytest.mark.parametrize("listener", ["public", "staff", "vault"])
def test_what_a_budget_refuses_is_a_503_that_says_so_and_asks_for_no_quick_retry(
    spent_edge: StaticEdge, listener: str
) -> None:
    reply = spent_edge.ask(listener)
    assert (reply.status, reply.error_code) == (503, "budget_exhausted")
    assert reply.headers["x-penstock-reason"] == "budget_exhausted"
    assert (reply.headers["retry-after"], reply.headers["x-should-retry"]) == ("60", "false")
    assert "x-penstock-cluster" not in reply.headers


def test_a_region_with_no_cluster_left_is_a_503_that_may_be_tried_again() -> None:
    with static_edge(drained=["onprem-fra", "cloud-eu-west", "cloud-us-east"]) as edge:
        for listener in ("public", "staff", "vault"):
            reply = edge.ask(listener)
            assert (reply.status, reply.error_code) == (503, "no_cluster_available")
            assert reply.headers["x-penstock-reason"] == "no_cluster_available"
            assert reply.headers["retry-after"] == "1"
            assert "x-should-retry" not in reply.headers


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/v1/chat/completions", b'{"model": "gpt-9"}', "model_not_found"),
        ("/v1/embeddings", b'{"model": "gpt-9"}', "model_not_found"),
        ("/elsewhere", b'{"model": "llama-3-70b"}', "no_policy"),
        ("/v1/chat/completions", b"{}", "no_policy"),
    ],
)
def test_a_model_or_path_that_no_policy_has_is_a_404_even_when_nothing_could_serve_anyway(
    spent_edge: StaticEdge, path: str, body: bytes, reason: str
) -> None:
    reply = spent_edge.ask("public", path, body=body, headers=[JSON])
    assert (reply.status, reply.error_code, reply.headers["x-penstock-reason"]) == (404, reason, reason)
