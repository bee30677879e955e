"""A whole control plane is told that machines go away: what Envoy, operators and auditors see of it."""

from pathlib import Path
from typing import Any

from penstock_envoy.resource import ROUTE
from tests.control.model_envoy import model_envoy
from tests.control.serving_world import World, world


async def post(of: World, body: dict[str, Any], query: str = "") -> tuple[int, Any]:
    url = f"http://127.0.0.1:{of.admin_port}/api/v1/notices{query}"
    async with of.http.post(url, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_preempted_machine_is_out_of_the_routes_in_the_very_next_decision(tmp_path: Path) -> None:
    async with world(tmp_path) as serving, model_envoy(serving.plane.xds_address) as envoy:
        await envoy.until(lambda: (ROUTE, "public") in envoy.holds)
        before = envoy.holds[ROUTE, "public"]
        body = {"cluster": "onprem", "kind": "spot-interruption", "in": "0s", "id": "spot-1"}
        status, answer = await post(serving, body)
        assert status == 201
        assert answer["notices"][0]["effect"] == "cluster-drained"
        assert "only" not in answer["notices"][0]["reason"]
        assert "would be left for records" in answer["notices"][0]["overload"]
        await envoy.until(lambda: envoy.holds[ROUTE, "public"] != before)
        weights = (await serving.ask("/api/v1/weights?policy=chat"))["items"]
        assert all(not item["weights"].get("onprem") for item in weights)
        findings = (await serving.ask("/api/v1/status"))["findings"]
        assert "notice-overload" in {each["kind"] for each in findings}

        assert (await post(serving, body))[0] == 200
        url = f"http://127.0.0.1:{serving.admin_port}/api/v1/drains/onprem"
        async with serving.http.delete(url) as refused:
            assert refused.status == 404
            assert "notice 'spot-1' has it drained" in (await refused.json(content_type=None))["detail"]

        await serving.ask("/api/v1/notices/spot-1?owner=ann", "DELETE")
        kinds = [entry["kind"] for entry in (await serving.ask("/api/v1/audit"))["items"]]
        assert kinds[:2] == ["notice.ended", "notice.added"]
        for item in (await serving.ask("/api/v1/decisions"))["items"]:
            verified = await serving.ask(f"/api/v1/decisions/{item['id']}/verify", "POST")
            assert verified["verified"], verified
