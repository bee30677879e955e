"""What a real Envoy does with the compiled configuration when all is well."""

import json
import threading

import pytest

from tests.envoy.edge_envoy import JSON, StaticEdge

pytestmark = pytest.mark.e2e


def test_the_model_is_read_from_the_body_whatever_the_kind_of_json(shared_edge: StaticEdge) -> None:
    for content_type in (
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/x+json",
    ):
        assert shared_edge.ask("public", headers=[("content-type", content_type)]).status == 200
    assert shared_edge.ask("public", headers=[]).status == 200


def test_a_model_that_nobody_serves_is_a_404_that_names_it(shared_edge: StaticEdge) -> None:
    reply = shared_edge.ask("public", body=b'{"model": "gpt-\\"9\\" \xc3\xa9"}')
    assert reply.status == 404
    assert reply.error_code == "model_not_found"
    assert 'gpt-"9" é' in reply.json["error"]["message"]
    assert reply.json["error"]["param"] == "model"
    assert reply.headers["x-penstock-reason"] == "model_not_found"


@pytest.mark.parametrize("body", [b"{}", b"{broken", b"[]", b"", b'{"model": null}', b'{"model": {"a": 1}}'])
def test_a_body_that_names_no_model_goes_where_any_model_is_served(shared_edge: StaticEdge, body: bytes) -> None:
    assert shared_edge.ask("vault", body=body).json["served_by"].startswith("onprem")
    refused = shared_edge.ask("public", body=body)
    assert (refused.status, refused.error_code) == (404, "no_policy")
    assert shared_edge.ask("public", "/v1/embeddings", body=body).json["served_by"] == "eu"


def test_a_longer_path_wins_over_a_shorter_one(shared_edge: StaticEdge) -> None:
    assert shared_edge.ask("public", "/v1/embeddings").json["served_by"] == "eu"
    assert shared_edge.ask("public", "/v1/embeddings2").json["served_by"].startswith("onprem")


def test_each_class_has_its_own_cluster_choice(shared_edge: StaticEdge) -> None:
    for listener in ("public", "staff", "vault"):
        reply = shared_edge.ask(listener)
        assert reply.headers["x-penstock-cluster"] == "onprem-fra"
        assert reply.headers["x-penstock-attempts"] == "1"


def effective_class(edge: StaticEdge, listener: str, *stated: str | bytes) -> str:
    """The class that the backend was told, which is the one the edge routed by."""
    for stub in edge.backends.values():
        stub.seen.clear()
    reply = edge.ask(listener, headers=[JSON, *(("x-data-class", value) for value in stated)])
    assert reply.status == 200, reply
    return next(seen.headers["x-data-class"] for stub in edge.backends.values() for seen in stub.seen)


@pytest.mark.parametrize(
    ("listener", "stated", "expected"),
    [
        ("public", (), "public"),
        ("public", ("public",), "public"),
        ("public", ("internal",), "internal"),
        ("public", ("restricted",), "restricted"),
        ("public", ("Public",), "restricted"),
        ("public", ("publi",), "restricted"),
        ("public", ("",), "restricted"),
        ("public", ("secret",), "restricted"),
        ("public", ("public, restricted",), "restricted"),
        ("public", ("public", "restricted"), "restricted"),
        ("public", ("public", "secret"), "restricted"),
        ("public", ("public", b"\xff"), "restricted"),
        ("public", ("public", "internal"), "restricted"),
        ("staff", (), "internal"),
        ("staff", ("public",), "internal"),
        ("staff", ("internal",), "internal"),
        ("staff", ("restricted",), "restricted"),
        ("staff", ("nonsense",), "restricted"),
        ("vault", (), "restricted"),
        ("vault", ("public",), "restricted"),
        ("vault", ("internal", "public"), "restricted"),
    ],
)
def test_a_client_can_only_make_its_class_stricter(
    shared_edge: StaticEdge, listener: str, stated: tuple[str | bytes, ...], expected: str
) -> None:
    assert effective_class(shared_edge, listener, *stated) == expected


def test_the_models_of_a_class_are_listed_by_the_edge_itself(shared_edge: StaticEdge) -> None:
    reply = shared_edge.ask("public", "/v1/models", method="GET", body=None, headers=[])
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["object"] == "list"
    assert [each["id"] for each in reply.json["data"]] == ["bge-m3", "llama-3-70b"]
    assert {each["object"] for each in reply.json["data"]} == {"model"}
    assert "x-penstock-attempts" not in reply.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1", 200),
        ("/v1?x=1", 200),
        ("//v1//chat", 200),
        ("/other/../v1/chat", 200),
        ("/v10/chat", 404),
        ("/V1/chat", 404),
        ("/v1/../other", 404),
        ("/v1/%2e%2e/other", 404),
        ("/v1\\..\\other", 404),
        ("/v1%2fchat", 400),
        ("/v1/..%2fother", 400),
        ("/v1/%5c../other", 400),
        ("/v1/%00", 400),
    ],
)
def test_a_path_trick_reaches_no_other_policy(shared_edge: StaticEdge, path: str, status: int) -> None:
    reply = shared_edge.ask("public", path)
    assert reply.status == status, reply
    if status != 200:
        assert reply.error_code in {"no_policy", "model_not_found", "bad_request"}


def test_the_backend_sees_the_path_that_was_matched(shared_edge: StaticEdge) -> None:
    shared_edge.backends["eu"].seen.clear()
    shared_edge.ask("public", "/x/..//v1/./embeddings?q=1")
    assert [seen.path for seen in shared_edge.backends["eu"].seen] == ["/v1/embeddings?q=1"]


def test_clients_cannot_steer_envoy_or_speak_in_our_name(shared_edge: StaticEdge) -> None:
    stub = shared_edge.backends["eu"]
    stub.seen.clear()
    steering = [("x-envoy-max-retries", "99"), ("x-envoy-upstream-rq-timeout-ms", "1"), ("x-penstock-cluster", "mine")]
    reply = shared_edge.ask("public", "/v1/embeddings", headers=[JSON, *steering])
    assert reply.headers["x-penstock-cluster"] == "cloud-eu-west"
    (seen,) = stub.seen
    assert [name for name in seen.headers if name.startswith(("x-envoy", "x-penstock"))] == []
    assert seen.headers["host"] == f"127.0.0.1:{stub.port}"


def test_the_reply_names_no_server_and_no_address(shared_edge: StaticEdge) -> None:
    reply = shared_edge.ask("public")
    assert "server" not in reply.headers
    assert not any("127.0.0.1" in value or name.startswith("x-envoy") for name, value in reply.headers.items())


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_body_over_the_listeners_limit_is_a_413_in_json(shared_edge: StaticEdge, content_type: str) -> None:
    limit = shared_edge.policy.listeners["public"].spec.max_request_bytes
    reply = shared_edge.ask("public", body=b"x" * (limit + 1), headers=[("content-type", content_type)])
    assert (reply.status, reply.error_code) == (413, "request_too_large")
    assert reply.headers["x-penstock-reason"] == "request_too_large"


def test_a_body_just_under_the_limit_is_read_and_served(shared_edge: StaticEdge) -> None:
    limit = shared_edge.policy.listeners["public"].spec.max_request_bytes
    body = json.dumps({"prompt": "x" * (limit - 100), "model": "llama-3-70b"}).encode()
    assert shared_edge.ask("public", body=body).status == 200


def test_headers_too_large_are_a_431_in_json(shared_edge: StaticEdge) -> None:
    reply = shared_edge.ask("public", headers=[JSON, ("x-filler", "x" * 70_000)])
    assert (reply.status, reply.error_code) == (431, "headers_too_large")


def test_many_clients_at_once_are_all_served(shared_edge: StaticEdge) -> None:
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(shared_edge.ask("public").status)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 40
