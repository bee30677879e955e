"""Streams that have served their time are ended in good order, and their clients come back on a new connection."""

import asyncio

import grpc
import pytest

from penstock_xds.ageing import Ageing
from penstock_xds.protos import DeltaDiscoveryRequest
from penstock_xds.types import CLUSTER
from tests.xds.shell_setting import NODE, Hands, Start
from tests.xds.transcript import cluster


def test_ages_are_drawn_from_the_jitters_range() -> None:
    ageing = Ageing(max_age=100.0, jitter=0.2, patience=5.0)
    assert ageing.retire_at(10.0, lambda: 0.0) == 110.0
    assert ageing.retire_at(10.0, lambda: 1.0) == 90.0


def test_a_stream_goes_at_its_age_unless_it_is_in_the_middle_of_a_change_and_not_for_ever_then() -> None:
    ageing = Ageing(max_age=100.0, jitter=0.0, patience=5.0)
    assert not ageing.must_go(99.9, 100.0, settled=True)
    assert ageing.must_go(100.0, 100.0, settled=True)
    assert not ageing.must_go(104.9, 100.0, settled=False)
    assert ageing.must_go(105.0, 100.0, settled=False)


def test_a_connection_is_announced_to_end_before_any_of_its_streams_can() -> None:
    ageing = Ageing(max_age=100.0, jitter=0.2, patience=5.0)
    assert ageing.connection_age * 1.1 <= ageing.retire_at(0.0, lambda: 1.0)


@pytest.mark.parametrize(("max_age", "jitter"), [(0.0, 0.1), (-1.0, 0.1), (10.0, -0.1), (10.0, 1.1)])
def test_an_age_that_is_none_is_refused(max_age: float, jitter: float) -> None:
    with pytest.raises(ValueError, match="is no age"):
        Ageing(max_age, jitter, patience=1.0)


async def test_each_stream_ends_at_its_own_age(start: Start) -> None:
    clock, draws = Hands(), iter([0.0, 1.0])
    setting = await start(clock=clock, write_timeout=1e6, max_age=1_000.0, age_jitter=0.5, chance=lambda: next(draws))
    setting.publish(cluster("a"))
    long_lived, short_lived = setting.stream(), setting.stream()
    for stream in (long_lived, short_lived):
        await stream.accept(await stream.ask(CLUSTER))
        await setting.recorder.until(lambda: len(setting.recorder.acks) == len(setting.recorder.pushes))
    clock.now += 499.0
    setting.server._patrol.look()
    assert len(setting.server.streams()) == 2
    clock.now += 1.0
    setting.server._patrol.look()
    assert await short_lived.end() == (grpc.StatusCode.OK, "")
    assert [reason for _, reason in setting.recorder.disconnected] == ["the stream has reached its age"]
    assert len(setting.server.streams()) == 1
    clock.now += 500.0
    setting.server._patrol.look()
    assert await long_lived.end() == (grpc.StatusCode.OK, "")


async def test_an_old_stream_may_finish_what_it_is_about_within_a_bound(start: Start) -> None:
    clock = Hands()
    setting = await start(clock=clock, write_timeout=1e6, max_age=100.0, age_jitter=0.0, phase_timeout=5.0)
    setting.publish(cluster("a"))
    stream = setting.stream()
    response = await stream.ask(CLUSTER)
    clock.now += 100.0
    setting.server._patrol.look()
    await asyncio.sleep(0)
    assert len(setting.server.streams()) == 1
    await stream.accept(response)
    await setting.recorder.until(lambda: len(setting.recorder.acks) == 1)
    setting.server._patrol.look()
    assert await stream.end() == (grpc.StatusCode.OK, "")

    silent = setting.stream()
    await silent.ask(CLUSTER)
    clock.now += 104.9
    setting.server._patrol.look()
    assert len(setting.server.streams()) == 1
    clock.now += 0.1
    setting.server._patrol.look()
    assert await silent.end() == (grpc.StatusCode.OK, "")


async def test_a_client_comes_back_on_a_new_connection_when_its_stream_was_too_old(start: Start) -> None:
    setting = await start(max_age=0.5, age_jitter=0.2)
    setting.publish(cluster("a"))
    stream = setting.stream()
    await stream.accept(await stream.ask(CLUSTER))
    assert await stream.end() == (grpc.StatusCode.OK, "")
    again = setting.stream()
    await again.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await again.hear()
    first, second = setting.recorder.connected
    assert first.peer != second.peer
