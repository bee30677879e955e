"""First answers are given to so many streams at a time, in order, and established streams never wait for them."""

from typing import Any

import pytest

from penstock_xds.admission import Admission, Ticket
from penstock_xds.protos import DeltaDiscoveryRequest, DiscoveryRequest, NodeProto
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.shell_setting import NODE, Setting, Start, Stream, eventually
from tests.xds.transcript import cluster, endpoints, route


def ask(admission: Admission, name: str, called: list[str], *, returning: bool = False) -> Ticket:
    return admission.ask(lambda: called.append(name), returning=returning)


def test_slots_go_to_those_who_came_first() -> None:
    admission, called = Admission(2), list[str]()
    first, second, third, fourth = (ask(admission, name, called) for name in ("1", "2", "3", "4"))
    assert (first.held, second.held, third.held, fourth.held) == (True, True, False, False)
    assert (admission.holding, admission.queued) == (2, 2)
    second.give_back()
    first.give_back()
    assert called == ["3", "4"]
    assert third.held
    assert fourth.held
    assert (admission.holding, admission.queued) == (2, 0)


def test_who_has_begun_goes_before_who_has_not() -> None:
    admission, called = Admission(1), list[str]()
    holding = ask(admission, "holding", called)
    ask(admission, "new", called)
    ask(admission, "returning 1", called, returning=True)
    ask(admission, "returning 2", called, returning=True)
    holding.give_back()
    assert called == ["returning 1"]


def test_who_leaves_the_queue_is_not_called_and_keeps_no_slot() -> None:
    admission, called = Admission(1), list[str]()
    holding, leaving, waiting = (ask(admission, name, called) for name in ("holding", "leaving", "waiting"))
    leaving.give_back()
    holding.give_back()
    holding.give_back()
    assert called == ["waiting"]
    waiting.give_back()
    assert (admission.holding, admission.queued) == (0, 0)
    assert ask(admission, "next", called).held


def test_a_door_without_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="0 slots"):
        Admission(0)


async def big_and_slow(setting: Setting, count: int) -> tuple[list[Any], list[Stream]]:
    """Clients, each on a connection of its own, that ask for more than a connection holds and do not read it."""
    channels = [setting.new_channel() for _ in range(count)]
    streams = [Stream(channel) for channel in channels]
    connected = setting.recorder.connected
    before = len(connected)
    for i, stream in enumerate(streams):
        node = NodeProto(id=f"slow{i}", cluster="edge")
        await stream.say(DeltaDiscoveryRequest(node=node, type_url=ROUTE, resource_names_subscribe=["big"]))
        await setting.recorder.until(lambda i=i: len(connected) == before + i + 1)  # type: ignore[misc]
    return channels, streams


async def test_first_answers_are_bounded_in_order_and_delay_no_established_stream(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock_xds.session._LONGEST_HOLD_SECONDS", 3_600.0)
    setting = await start(max_concurrent_builds=2)
    established = setting.stream()
    setting.publish(cluster("a"))
    await established.accept(await established.ask(CLUSTER))
    pushed_before = len(setting.recorder.pushed)

    # Far more than a connection's windows hold, so that the first two stay in the middle of theirs.
    big = route("big", content="x" * 20_000_000)
    setting.publish(cluster("a"), big)
    channels, streams = await big_and_slow(setting, 4)
    await setting.recorder.until(lambda: len(setting.recorder.pushed) == pushed_before + 2)
    admission = setting.server._surroundings.admission
    await eventually(lambda: (admission.holding, admission.queued) == (2, 2))

    setting.publish(cluster("a", "urgent"), big)
    response = await established.hear()
    assert response.resources[0].resource.value == cluster("a", "urgent").body
    assert (admission.holding, admission.queued) == (2, 2)

    # The first two read theirs, and it is the turn of the next.
    for stream in streams:
        assert [r.name for r in (await stream.hear()).resources] == ["big"]
    first_answers = [node for node, pushed in setting.recorder.pushed_to if pushed.type_url == ROUTE]
    assert first_answers == ["slow0", "slow1", "slow2", "slow3"]
    await eventually(lambda: (admission.holding, admission.queued) == (0, 0))
    for channel in channels:
        await channel.close()


async def test_a_client_slow_to_take_its_first_answer_keeps_the_others_waiting_for_a_moment_only(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock_xds.session._LONGEST_HOLD_SECONDS", 0.05)
    setting = await start(max_concurrent_builds=1)
    setting.publish(cluster("a"), route("big", content="x" * 20_000_000))
    channels, _ = await big_and_slow(setting, 1)
    assert [r.name for r in (await setting.stream().ask(CLUSTER)).resources] == ["a"]
    for channel in channels:
        await channel.close()


async def test_a_stream_that_ends_while_it_waits_leaves_the_queue(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock_xds.session._LONGEST_HOLD_SECONDS", 3_600.0)
    setting = await start(max_concurrent_builds=1)
    setting.publish(route("big", content="x" * 20_000_000))
    channels, streams = await big_and_slow(setting, 2)
    admission = setting.server._surroundings.admission
    await eventually(lambda: admission.queued == 1)
    streams[1].call.cancel()
    await setting.recorder.until(lambda: len(setting.recorder.disconnected) == 1)
    assert (admission.holding, admission.queued) == (1, 0)
    streams[0].call.cancel()
    await setting.recorder.until(lambda: len(setting.recorder.disconnected) == 2)
    await eventually(lambda: (admission.holding, admission.queued) == (0, 0))
    for channel in channels:
        await channel.close()


async def test_clients_that_wait_for_the_first_snapshot_hold_no_slot(start: Start) -> None:
    setting = await start(max_concurrent_builds=1)
    early, late = setting.stream(), setting.stream()
    for stream in (early, late):
        await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await setting.recorder.until(lambda: len(setting.recorder.connected) == 2)
    assert setting.server._surroundings.admission.holding == 0
    setting.publish(cluster("a"))
    for stream in (early, late):
        assert [r.name for r in (await stream.hear()).resources] == ["a"]


async def test_a_type_that_does_not_exist_keeps_no_slot(start: Start) -> None:
    setting = await start(max_concurrent_builds=1)
    setting.publish(endpoints("e"))
    stream = setting.stream("StreamAggregatedResources")
    await stream.say(DiscoveryRequest(node=NODE, type_url=ROUTE, resource_names=["none"]))
    await stream.say(DiscoveryRequest(type_url=ENDPOINT, resource_names=["e"]))
    assert len((await stream.hear()).resources) == 1
    await eventually(lambda: setting.server._surroundings.admission.holding == 0)
