"""What a program is told of its clients."""

from typing import Any

import pytest

from penstock_xds.protos import (
    DeltaDiscoveryRequest,
)
from penstock_xds.types import CLUSTER, ROUTE
from tests.xds.shell_setting import NODE, Hands, Setting, Start, eventually
from tests.xds.transcript import cluster, route


async def refuse_a_route(setting: Setting) -> str:
    """Refuses the only route; returns its version."""
    setting.publish(route("r"))
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=ROUTE, resource_names_subscribe=["r"]))
    response = await stream.hear()
    refusal = DeltaDiscoveryRequest(type_url=ROUTE, response_nonce=response.nonce)
    refusal.error_detail.code, refusal.error_detail.message = 3, "no such cluster"
    await stream.say(refusal)
    version: str = response.system_version_info
    return version


async def test_a_refusal_is_told_with_its_facts_and_left_to_the_listener_to_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    setting = await start()
    version = await refuse_a_route(setting)
    await setting.recorder.until(lambda: bool(setting.recorder.refusals))
    (told,) = setting.recorder.refusals
    assert (told.node_id, told.type_url, told.names, told.message) == ("n1", ROUTE, ("r",), "no such cluster")
    assert told.version == version
    assert "client refused resources" not in [r.message for r in caplog.records]


async def test_a_refusal_nobody_listens_for_is_logged_with_its_facts(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    setting = await start(listener=None)
    version = await refuse_a_route(setting)

    def refusals() -> list[dict[str, Any]]:
        return [r.__dict__ for r in caplog.records if r.message == "client refused resources"]

    await eventually(lambda: bool(refusals()))
    (facts,) = refusals()
    assert (facts["node"], facts["type_url"], facts["names"]) == ("n1", ROUTE, ("r",))
    assert (facts["version"], facts["refusal"]) == (version, "no such cluster")


async def test_a_push_is_told_with_its_size_and_what_it_cost(start: Start) -> None:
    setting = await start()
    setting.publish(route("r"), route("s"))
    streams = [setting.stream() for _ in range(2)]
    sizes = [(await stream.ask(ROUTE, "r", "s")).ByteSize() for stream in streams]
    first, second = setting.recorder.pushed
    assert (first.type_url, first.resources) == (ROUTE, 2)
    assert first.version == second.version
    assert [first.bytes, second.bytes] == sizes
    assert first.build_seconds is not None
    assert first.build_seconds > 0
    # The bytes of the first were used again.
    assert second.build_seconds is None


async def test_how_long_a_snapshot_waited_for_its_stream_is_told(start: Start) -> None:
    clock = Hands()
    setting = await start(clock=clock)
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await setting.recorder.until(lambda: len(setting.recorder.connected) == 1)
    setting.publish(cluster("a"))
    clock.now += 0.25
    await stream.accept(await stream.hear())
    assert [pushed.mailbox_seconds for pushed in setting.recorder.pushed] == [0.25]
    # Asked for, not published: nothing waited.
    await stream.ask(ROUTE, "none")
    assert [pushed.mailbox_seconds for pushed in setting.recorder.pushed] == [0.25, 0.0]


async def test_what_a_reconnecting_client_holds_already_is_told_as_not_sent_again(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"), cluster("b"))
    stream = setting.stream()
    held = {"a": cluster("a").version, "b": cluster("b").version}
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER, initial_resource_versions=held))
    await setting.recorder.until(lambda: bool(setting.recorder.suppressed))
    assert setting.recorder.suppressed == [(CLUSTER, 2)]
    assert setting.recorder.pushed == []


async def test_a_listener_that_raises_is_logged_and_costs_no_client_anything(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = await start()
    setting.publish(cluster("a"))

    def fail(*_: object) -> None:
        raise ValueError("a bug of the program's")

    monkeypatch.setattr(setting.recorder, "on_push", fail)
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    response = await stream.hear()
    assert [r.name for r in response.resources] == ["a"]
    assert "xds listener failed" in [r.message for r in caplog.records]
