"""Conversations before a real Envoy: each keeps to one cluster and one endpoint, as long as it may."""

import http.client
import json
import threading
import time
from collections.abc import Mapping

import pytest

from tests.envoy.edge_envoy import JSON, StaticEdge, addresses, edge_before, static_edge, stub_endpoints
from tests.envoy.fleet import decision, fleet

pytestmark = pytest.mark.e2e

BY_HEADER = "{header: x-session}"
MIXED = {"onprem-fra": 5_000, "cloud-eu-west": 3_000, "cloud-us-east": 2_000}
CONVERSATIONS = 200


def served(edge: StaticEdge, headers: Mapping[str, str]) -> tuple[str, str | None]:
    """Who served a request with these headers, and the cookie the client was given."""
    reply = edge.ask("public", headers=[JSON, *headers.items()])
    assert reply.status == 200, reply
    return str(reply.json["served_by"]), reply.headers.get("set-cookie")


def homes(edge: StaticEdge) -> list[str]:
    """The endpoint of each conversation, told by header, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", edge.envoy.listener_port("public"), timeout=20)
    found = []
    try:
        for number in range(CONVERSATIONS):
            headers = {"content-type": "application/json", "x-session": f"conversation-{number}"}
            connection.request("POST", "/v1/chat/completions", body=b'{"model": "llama-3-70b"}', headers=headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == 200, answer
            found.append(str(answer["served_by"]))
    finally:
        connection.close()
    return found


def test_a_conversation_keeps_to_one_endpoint_of_one_cluster_and_all_get_their_share() -> None:
    with static_edge(affinity=BY_HEADER, weights=MIXED) as edge:
        first = homes(edge)
        assert homes(edge) == first
        counts = {name: first.count(name) for name in ("onprem-1", "onprem-2", "eu", "us")}
        # Five standard deviations about 50, 50, 60 and 40 of 200: hashes are even, not exact.
        assert all(15 <= count <= 95 for count in counts.values()), counts


def test_a_change_of_weights_moves_no_more_conversations_than_it_must() -> None:
    with stub_endpoints() as (backends, ports):
        policy = fleet(addresses(ports), affinity=BY_HEADER)
        after = {"onprem-fra": 4_000, "cloud-eu-west": 4_000, "cloud-us-east": 2_000}
        with edge_before(policy, decision(policy, weights=MIXED), backends) as edge:
            before = homes(edge)
        with edge_before(policy, decision(policy, weights=after), backends) as edge:
            moves = [(old, new) for old, new in zip(before, homes(edge), strict=True) if old != new]
        # A tenth of all shifts from on-prem to eu; five standard deviations of 20 are 21.
        assert 0 < len(moves) <= 41
        assert {(old.rstrip("-12"), new) for old, new in moves} == {("onprem", "eu")}


def test_the_edges_of_a_fleet_agree_on_where_a_conversation_belongs() -> None:
    with stub_endpoints() as (backends, ports):
        policy = fleet(addresses(ports), affinity=BY_HEADER)
        decided = decision(policy, weights=MIXED)
        with edge_before(policy, decided, backends) as one, edge_before(policy, decided, backends) as other:
            assert homes(one) == homes(other)


def test_when_an_endpoint_breaks_only_its_conversations_go_and_they_go_to_its_neighbour() -> None:
    with static_edge(affinity=BY_HEADER, weights=MIXED) as edge:
        before = homes(edge)
        edge.backends["onprem-2"].status = 503
        during = homes(edge)
        assert {new for old, new in zip(before, during, strict=True) if old == "onprem-2"} == {"onprem-1"}
        assert all(new == old for old, new in zip(before, during, strict=True) if old != "onprem-2")


def test_when_a_cluster_breaks_its_conversations_go_to_the_next_of_their_leg() -> None:
    with static_edge(affinity=BY_HEADER, weights=MIXED, refusing=["onprem-1", "onprem-2"]) as edge:
        assert set(homes(edge)) == {"eu", "us"}
        assert homes(edge) == homes(edge)


def test_a_conversation_that_would_overload_its_endpoint_overflows_to_the_neighbour() -> None:
    everything = {"onprem-fra": 10_000, "cloud-eu-west": 0, "cloud-us-east": 0}
    with static_edge(affinity=BY_HEADER, weights=everything) as edge:
        (home,) = {served(edge, {"x-session": "one"})[0] for _ in range(3)}
        stubs = [edge.backends[name] for name in ("onprem-1", "onprem-2")]
        for stub in stubs:
            stub.seen.clear()
            stub.gate.clear()
        answers: list[str] = []
        at_once = [
            threading.Thread(target=lambda: answers.append(served(edge, {"x-session": "one"})[0])) for _ in range(12)
        ]
        for number, thread in enumerate(at_once, start=1):
            thread.start()
            # One after the other: Envoy counts a request from when it is sent on.
            until = time.monotonic() + 10
            while sum(len(stub.seen) for stub in stubs) < number and time.monotonic() < until:
                time.sleep(0.005)
        for stub in stubs:
            stub.gate.set()
        for thread in at_once:
            thread.join()
        # 150 % of the mean of 12 requests on two endpoints are 9, and the one that finds exactly so many still joins.
        assert len(answers) == 12
        assert 6 < answers.count(home) <= 10


def test_requests_that_belong_to_no_conversation_are_spread_by_weight() -> None:
    with static_edge(affinity=BY_HEADER, weights=MIXED) as edge:
        assert {served(edge, {})[0] for _ in range(80)} == {"onprem-1", "onprem-2", "eu", "us"}


def test_a_cookie_of_the_client_keeps_its_conversation_together() -> None:
    with static_edge(affinity="{cookie: sid}", weights=MIXED) as edge:
        for number in range(10):
            answers = {served(edge, {"cookie": f"theme=dark; sid=client-{number}"}) for _ in range(5)}
            assert len(answers) == 1
            assert next(iter(answers))[1] is None


def test_envoy_gives_a_cookie_to_a_client_without_one_and_keeps_to_its_choice_from_then_on() -> None:
    with static_edge(affinity="{cookie: sid, ttl: 1h}", weights=MIXED) as edge:
        chosen = set()
        for _ in range(20):
            _, given = served(edge, {})
            assert given is not None
            cookie, *attributes = given.split("; ")
            assert {"Max-Age=3600", "Path=/", "HttpOnly", "SameSite=Lax"} <= set(attributes)
            # Not of the request that was given the cookie: its cluster was chosen before there was one.
            (home,) = {served(edge, {"cookie": cookie})[0] for _ in range(3)}
            chosen.add(home)
        assert len(chosen) > 1
