"""The decision loop must end when told to, whatever else happens in the same moment."""

import asyncio

import pytest

from penstock.control.decider import Decider
from penstock.control.history import WeightHistory
from penstock.control.ledger import LedgerKeeper
from penstock.control.publisher import Publisher
from penstock.control.recorder import Recorder
from penstock.signals.board import ObservationBoard
from penstock.state.store import Store
from penstock_envoy.compiler import Compiler
from penstock_xds import SnapshotCache

# The loop's own reaction to news takes fewer turns of the event loop than this.
TURNS = 12


async def turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns_between", range(6))
async def test_news_and_the_order_to_stop_may_come_together(turns_between: int) -> None:
    # asyncio.wait_for of Python 3.11 loses a cancellation that meets its result: SIGTERM just after news then hung.
    async with await Store.open("sqlite://", lambda: 1000.0) as store:
        decider = Decider(
            board=ObservationBoard(),
            publisher=Publisher(SnapshotCache(), Compiler()),
            recorder=Recorder(store),
            history=WeightHistory(),
            ledger=LedgerKeeper(store, lambda: 1000.0),
            clock=lambda: 1000.0,
            published=lambda _: None,
        )
        running = asyncio.create_task(decider.run())
        await turn(TURNS)
        decider.notify()
        await turn(turns_between)
        running.cancel()
        await turn(TURNS)
        stopped = running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert stopped
