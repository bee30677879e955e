"""Penstock's own decisions as traffic: from the store through the export to a replay."""

import json
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest

from penstock.admin.app import AdminServer
from penstock.admin.metrics import Metrics
from penstock.admin.recorded import StoredDecision
from penstock.replay.errors import ReplayError
from penstock.replay.prepare import prepare
from penstock.replay.run import run_one
from penstock.replay.trace import RELATIVE_START, read_trace
from penstock.state import Store
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.loader import load
from penstock_policies.observations import Load, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.serial import material_digest, to_json
from tests.admin.fake_control import FakeControlPlane
from tests.replay.replaying import fleet, fleet_text, write


def decisions(*minutes: float, rate: float = 4.0) -> list[Decision]:
    """Decisions of the test's fleet under steady load, so many minutes after the start."""
    policy, made, previous = fleet(80), [], None
    for minute in minutes:
        at = RELATIVE_START + 60.0 * minute
        load = {"eu-west": {"onprem": Load(at, in_flight=5, request_rate=rate, error_rate=0)}}
        previous = decide(policy, Observations(load=load), Overrides(), previous, at)
        made.append(previous)
    return made


def log(path: Path, made: Sequence[Decision]) -> Path:
    return write(path, "".join(f"{to_json(decision)}\n" for decision in made))


def test_requests_come_by_the_rows_and_at_the_rates_that_decisions_hold(tmp_path: Path) -> None:
    path = log(tmp_path / "log.ndjson", decisions(0, 1, 2, 3, 4))
    trace = read_trace(path)
    assert trace.form == "decisions"
    assert len(trace.requests) / 300 == pytest.approx(4, rel=0.2)
    assert {request.row.policy for request in trace.requests if request.row} == {"chat", "records"}
    assert read_trace(path) == trace


def test_neither_order_nor_repetition_matters_nor_the_wrapping_of_the_api(tmp_path: Path) -> None:
    made = decisions(0, 1, 2)
    plain = read_trace(log(tmp_path / "plain", made))
    assert read_trace(log(tmp_path / "turned", [*reversed(made), made[0]])).requests == plain.requests
    wrapped = [json.dumps({"id": each.id, "at": "whenever", "decision": json.loads(to_json(each))}) for each in made]
    assert read_trace(write(tmp_path / "wrapped", "\n".join(wrapped))).requests == plain.requests


def test_demand_holds_until_the_next_decision_however_long_and_long_gaps_are_told(tmp_path: Path) -> None:
    trace = read_trace(log(tmp_path / "log", decisions(0, 1, 21)))
    middle = [request for request in trace.requests if 300 <= request.at < 1200]
    assert len(middle) / 900 == pytest.approx(4, rel=0.2)
    (warning,) = trace.warnings
    assert "for more than 5 min once, the longest 20 min from 2026-01-05 00:01:00 UTC" in warning
    assert read_trace(log(tmp_path / "log", decisions(0, 1, 5))).warnings == ()


@pytest.mark.parametrize("second", ["[]", "{}", '{"decision": {}}', "{oops"])
def test_a_line_that_is_no_decision_is_refused_with_its_number(tmp_path: Path, second: str) -> None:
    (first,) = decisions(0)
    with pytest.raises(ReplayError, match=r"log:2: is (no decision|not JSON)"):
        read_trace(write(tmp_path / "log", f"{to_json(first)}\n{second}\n"))


class _Recording(FakeControlPlane):
    """A control plane whose decisions are in a real store."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def recent_decisions(self, limit: int, before: float | None = None) -> Sequence[StoredDecision]:
        found = await self._store.decisions(limit, before)
        return [StoredDecision(each.id, each.at, each.policy_digest, each.json) for each in found]


async def test_what_is_recorded_is_exported_and_replayed(tmp_path: Path) -> None:
    made = decisions(*(number / 4 for number in range(120)))
    async with await Store.open(f"sqlite:///{tmp_path}/penstock.db", lambda: RELATIVE_START) as store:
        for each in made:
            await store.record_decision(
                each.id, each.at, material_digest(each), to_json(each), each.policy_digest, None
            )
        server = AdminServer(_Recording(store), Metrics())
        _, port = await server.start("127.0.0.1:0")
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
                since = {"since": "2026-01-05T00:02:00Z"}
                async with http.get("/api/v1/decisions.ndjson", params=since) as answer:
                    assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
                    text = await answer.text()
                async with http.get("/api/v1/decisions.ndjson", params={"since": "soon"}) as answer:
                    assert answer.status == 422
        finally:
            await server.stop()
    assert text.splitlines() == [to_json(each) for each in reversed(made) if each.at >= RELATIVE_START + 120]

    directory = tmp_path / "policies"
    directory.mkdir()
    write(directory / "fleet.yaml", fleet_text(80))
    exported = write(tmp_path / "log.ndjson", text)
    scenario, warnings = prepare(directory, {"fleet.yaml": fleet_text(80)}, fleet(80), trace=exported)
    assert warnings == ()
    result = run_one(scenario, "waterfall")
    assert result.requests / scenario.duration == pytest.approx(4, rel=0.2)
    assert result.served["onprem"] > 0


def test_rows_that_the_policies_do_not_have_are_told(tmp_path: Path) -> None:
    directory = tmp_path / "policies"
    directory.mkdir()
    text = fleet_text(80).replace("name: records", "name: files")
    write(directory / "fleet.yaml", text)
    files = {"fleet.yaml": text}
    recorded = log(tmp_path / "log.ndjson", decisions(0, 1))
    made, warnings = prepare(directory, files, load(files).require(), trace=recorded)
    assert warnings == (
        "the policies have no row records/eu-west/m: those requests are spread over the rows they have",
    )
    assert {made.rows[row].policy for row in made.row} == {"chat", "files"}
