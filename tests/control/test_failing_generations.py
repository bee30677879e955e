"""What a restart knows of endpoints that did not generate before it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from penstock.control.failing_generations import failing_generations
from penstock.control.recorder import Recorder
from penstock.state.store import Store
from penstock_policies.engine import decide
from penstock_policies.inputs import DecisionInputs
from penstock_policies.observations import EndpointProbe, Observations
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, START, fleet

FAILING = EndpointProbe(START, 9, 0, generation_failed=4)
WELL = EndpointProbe(START, 9, 0)


async def recorded(store: Store, observations: Observations) -> None:
    policy = fleet()
    decision = decide(policy, observations, Overrides(), None, START)
    recorder = Recorder(store)
    recorder.record(decision, DecisionInputs(policy.digest, observations, Overrides(), None, START, "penstock"))
    writing = asyncio.create_task(recorder.run())
    await recorder.drained(10.0)
    writing.cancel()


async def test_it_is_what_the_last_recorded_decision_was_made_of(tmp_path: Path) -> None:
    async with await Store.open(f"sqlite:///{tmp_path / 'state.db'}", lambda: START) as store:
        assert await failing_generations(store) == {}
        await recorded(
            store,
            Observations(
                probes={EU: {"a:1": FAILING, "b:1": WELL}}, edge_probes={"eu-west": {ONPREM: {"c:1": FAILING}}}
            ),
        )
        assert await failing_generations(store) == {(EU, "a:1"): 4, (ONPREM, "c:1"): 4}


async def test_what_cannot_be_read_is_not_known_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with await Store.open(f"sqlite:///{tmp_path / 'state.db'}", lambda: START) as store:
        await recorded(store, Observations(probes={EU: {"a:1": FAILING}}))
        with closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
            database.execute("UPDATE decision_inputs SET data = x'00'")
        assert await failing_generations(store) == {}
    assert "failed generations of before not known" in caplog.text
