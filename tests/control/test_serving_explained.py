"""A whole control plane: every decision it records can be made again, and the past and the might-be explained."""

import asyncio
from pathlib import Path

from tests.control.serving_world import World, world


async def _recorded(of: World, least: int) -> list[str]:
    """Ids of the recorded decisions, newest first, once there are so many."""
    async with asyncio.timeout(20):
        # Asks over HTTP, where nothing wakes the asker.
        while len(items := (await of.ask("/api/v1/decisions"))["items"]) < least:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)
    return [item["id"] for item in items]


async def _drain(of: World, cluster: str) -> None:
    url = f"http://127.0.0.1:{of.admin_port}/api/v1/drains"
    body = {"cluster": cluster, "for": "1h", "reason": "test", "owner": "ann", "force": True}
    async with of.http.post(url, json=body) as answer:
        assert answer.status in {200, 201}, await answer.text()


async def test_whatever_it_recorded_is_made_again_bit_for_bit(tmp_path: Path) -> None:
    async with world(tmp_path) as serving:
        await _recorded(serving, 1)
        await _drain(serving, "cloud")
        ids = await _recorded(serving, 2)
        for decision in ids:
            verified = await serving.ask(f"/api/v1/decisions/{decision}/verify", "POST")
            assert verified["verified"], verified
        vouched = (await serving.ask("/api/v1/audit?kind=decision.recorded"))["items"]
        assert {entry["detail"]["id"] for entry in vouched} >= set(ids)
        assert (await serving.ask("/api/v1/audit"))["items"][0]["kind"] == "drain.added"


async def test_the_past_is_explained_after_it_has_changed_and_can_be_supposed_otherwise(tmp_path: Path) -> None:
    async with world(tmp_path) as serving:
        (first, *_) = await _recorded(serving, 1)
        await _drain(serving, "cloud")
        await _recorded(serving, 2)
        now = await serving.ask("/api/v1/explain/chat")
        assert any("drained" in each["reason"] for each in now["rows"][0]["excluded"])
        then = await serving.ask(f"/api/v1/explain/chat?decision={first}&what-if=drain:onprem")
        assert "cloud" in {each["cluster"] for each in then["rows"][0]["weights"]}
        assert then["decision"]["replacedAt"] is not None
        supposed = next(row for row in then["whatIf"]["rows"] if row["policy"] == "chat")
        assert supposed["shares"]["after"] == {"cloud": 1.0}
        records = next(row for row in then["whatIf"]["rows"] if row["policy"] == "records")
        assert "refused" in records["outcome"]["after"]


async def test_the_record_that_stands_for_the_decision_in_force_is_named_and_can_be_verified(tmp_path: Path) -> None:
    async with world(tmp_path) as serving:
        recorded = await _recorded(serving, 1)
        shown = (await serving.ask("/api/v1/explain/chat"))["decision"]
        assert shown["recordedAs"] in recorded
        verified = await serving.ask(f"/api/v1/decisions/{shown['recordedAs']}/verify", "POST")
        assert (verified["verdict"], verified["untampered"]) == ("verified", True)
