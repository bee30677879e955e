"""What a real Envoy does with the compiled configuration when backends fail, with no control plane at all."""

import json

import pytest

from tests.envoy.edge_envoy import JSON, static_edge

pytestmark = pytest.mark.e2e


def test_a_broken_endpoint_costs_a_retry_on_its_neighbour_and_no_cloud() -> None:
    with static_edge(refusing=["onprem-2"]) as edge:
        replies = [edge.ask("public") for _ in range(60)]
        assert {reply.status for reply in replies} == {200}
        assert {reply.json["served_by"] for reply in replies} == {"onprem-1"}
        assert {reply.headers["x-penstock-attempts"] for reply in replies} == {"1", "2"}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failing_cluster_fails_over_within_the_request(status: int) -> None:
    with static_edge() as edge:
        for name in ("onprem-1", "onprem-2"):
            edge.backends[name].status = status
        replies = [edge.ask("public") for _ in range(40)]
        assert {reply.status for reply in replies} == {200}
        assert {reply.json["served_by"] for reply in replies} == {"eu"}
        assert {reply.headers["x-penstock-cluster"] for reply in replies} == {"cloud-eu-west"}
        assert replies[0].headers["x-penstock-attempts"] == "3"


def test_two_clusters_down_still_leave_the_third() -> None:
    with static_edge(refusing=["onprem-1", "onprem-2", "eu"]) as edge:
        replies = [edge.ask("public") for _ in range(40)]
        assert {(reply.status, reply.headers["x-penstock-cluster"]) for reply in replies} == {(200, "cloud-us-east")}


def test_restricted_requests_get_503_and_never_a_cloud() -> None:
    with static_edge(refusing=["onprem-1", "onprem-2"]) as edge:
        replies = [edge.ask("vault") for _ in range(20)]
        replies += [edge.ask("public", headers=[JSON, ("x-data-class", "restricted")]) for _ in range(20)]
        assert {reply.status for reply in replies} == {503}
        assert {reply.error_code for reply in replies} <= {"cluster_unreachable", "no_healthy_cluster"}
        assert {reply.headers["x-penstock-cluster"] for reply in replies if "x-penstock-cluster" in reply.headers} <= {
            "none"
        }
        assert edge.backends["eu"].seen == edge.backends["us"].seen == []
        assert edge.ask("public").headers["x-penstock-cluster"] == "cloud-eu-west"


def test_internal_requests_fail_over_only_where_their_rule_allows() -> None:
    with static_edge(refusing=["onprem-1", "onprem-2", "eu"]) as edge:
        assert edge.ask("staff").status == 503
        assert edge.backends["us"].seen == []


def test_an_endpoint_held_unhealthy_is_not_asked() -> None:
    with static_edge(unhealthy=["onprem-1"]) as edge:
        assert {edge.served_by("public") for _ in range(20)} == {"onprem-2"}
        assert edge.backends["onprem-1"].seen == []


def test_a_cluster_held_unhealthy_is_passed_over_at_once() -> None:
    with static_edge(unhealthy=["onprem-1", "onprem-2"]) as edge:
        assert {edge.served_by("public") for _ in range(20)} == {"eu"}
        refused = edge.ask("vault")
        assert (refused.status, refused.error_code) == (503, "no_healthy_cluster")
        assert refused.headers["retry-after"] == "1"


def test_a_drained_cluster_is_in_no_list() -> None:
    with static_edge(drained=["onprem-fra"], refusing=["eu"]) as edge:
        assert {edge.served_by("public") for _ in range(20)} == {"us"}
        assert edge.backends["onprem-1"].seen == edge.backends["onprem-2"].seen == []
        refused = edge.ask("vault")
        assert (refused.status, refused.error_code) == (503, "no_cluster_available")
        assert refused.headers["x-penstock-reason"] == "no_cluster_available"


def test_the_weights_decide_who_is_asked_first() -> None:
    with static_edge(favourite="cloud-us-east") as edge:
        assert {edge.served_by("public") for _ in range(20)} == {"us"}


def test_a_large_body_is_sent_again_whole_when_an_attempt_fails() -> None:
    with static_edge() as edge:
        for name in ("onprem-1", "onprem-2"):
            edge.backends[name].status = 503
        body = json.dumps({"model": "llama-3-70b", "prompt": "x" * 1_500_000}).encode()
        reply = edge.ask("public", body=body)
        assert (reply.status, reply.json["served_by"]) == (200, "eu")
        assert [seen.body_bytes for seen in edge.backends["eu"].seen] == [len(body)]


def test_the_last_answer_is_passed_on_when_every_cluster_refuses() -> None:
    with static_edge() as edge:
        for stub in edge.backends.values():
            stub.status = 429
        reply = edge.ask("public")
        assert reply.status == 429
        assert "served_by" in reply.json


def test_a_request_the_backend_calls_wrong_is_not_tried_elsewhere() -> None:
    with static_edge() as edge:
        for name in ("onprem-1", "onprem-2"):
            edge.backends[name].status = 400
        assert edge.ask("public").status == 400
        assert edge.backends["eu"].seen == []
