"""A real Envoy refuses a listener: requests go on, all else moves on, and operators are told which line it was."""

from typing import Any

import pytest

from tests.e2e.edge import Edge
from tests.e2e.traffic import served, traffic

pytestmark = pytest.mark.e2e

# Of the addresses reserved for documentation: no machine can listen on it.
NOWHERE = "192.0.2.1"


def with_internal_listener_at(edge: Edge, address: str) -> list[dict[str, Any]]:
    documents = edge.policy_documents()
    for each in documents:
        if (each["kind"], each["metadata"]["name"]) == ("Listener", "internal"):
            each["spec"]["address"] = address
    return documents


async def test_a_listener_that_cannot_be_bound_is_quarantined_while_requests_and_drains_go_on(edge: Edge) -> None:
    async with traffic(edge) as tally, traffic(edge, port=edge.internal_port) as restricted:
        await served(edge, tally, 100)
        edge.write_policy(with_internal_listener_at(edge, NOWHERE))

        async def quarantined() -> bool:
            return bool((await edge.get("/api/v1/quarantine"))["items"])

        await edge.until(quarantined, "the listener is not quarantined")
        (item,) = (await edge.get("/api/v1/quarantine"))["items"]
        assert (item["type"], item["name"], item["nodes"], item["held"]) == ("LDS", "internal", ["edge-1"], "")
        assert NOWHERE in item["message"]
        assert item["servedInstead"]
        text = (edge.directory / "policy.yaml").read_text()
        (origin,) = item["origins"]
        line = int(origin.removeprefix("policy.yaml:"))
        assert "Listener" in text.splitlines()[line] or "Listener" in text.splitlines()[line - 1]

        # An operator's word still reaches the Envoy that refused.
        assert (await edge.drain("onprem-fra", force=True))[0] == 201

        async def drained() -> bool:
            return (await edge.chat())[1].get("x-penstock-cluster") in {"cloud-eu-west", "cloud-us-east"}

        await edge.until(drained, "the drain did not reach the Envoy")
        await edge.undrain("onprem-fra")

        async def back() -> bool:
            status, headers, _ = await edge.chat(port=edge.internal_port)
            return status == 200 and headers["x-penstock-cluster"] == "onprem-fra"

        await edge.until(back, "restricted requests are not served again")
        assert await edge.metric("penstock_xds_nack_total") == 1

        edge.write_policy()

        async def ended() -> bool:
            return not (await edge.get("/api/v1/quarantine"))["items"]

        await edge.until(ended, "the quarantine did not end with the good edit")
        kinds = {entry["kind"] for entry in (await edge.get("/api/v1/audit"))["items"]}
        assert "quarantine.added" in kinds
    assert not tally.failed
    # While on-prem was drained, restricted requests had no place to go: refused, and never anywhere else.
    assert set(restricted.statuses) <= {200, 503}
    assert restricted.served_by.keys() <= {"onprem-fra", ""}
