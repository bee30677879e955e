"""A recorded decision is made again from the store alone; whatever was changed since shows, and where."""

import asyncio
import functools
import hashlib
import json
import os
import sqlite3
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.admin.recorded import Verdict, Verification
from penstock.control.engine_version import engine_version, sources_digest
from penstock.control.inputs import InputsError, pack, unpack
from penstock.control.past import past
from penstock.control.recorder import Recorder
from penstock.control.verification import verify_decision
from penstock.state import PackedInputs, Store, StoredInputs, figures
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.inputs import DecisionInputs, inputs_to_json
from penstock_policies.loader import load
from penstock_policies.observations import EndpointProbe, Load, Observations, Price
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.serial import material_digest, to_json

NOW = 1_700_000_000.0
EXAMPLE = Path(__file__).parents[2] / "policies" / "examples" / "hybrid" / "policy.yaml"
FILES = {"policy.yaml": EXAMPLE.read_text()}
POLICY = load(FILES).require()


def _observations(at: float, rate: float) -> Observations:
    cluster = min(POLICY.clusters)
    region = POLICY.regions()[0]
    return Observations(
        probes={
            name: {one.key: EndpointProbe(at, 5, 0, 0.01) for one in each.spec.endpoints}
            for name, each in POLICY.clusters.items()
        },
        load={region: {cluster: Load(at, rate, rate, 0.0, success_rate=rate)}},
        prices={feed: {"odd": Price(at, float("nan"))} for feed in POLICY.feeds},
    )


@functools.cache
def _history() -> list[tuple[Decision, DecisionInputs]]:
    """Decide for a minute, with a drain in the middle of it, as the control plane would."""
    made: list[tuple[Decision, DecisionInputs]] = []
    previous: Decision | None = None
    drained = max(POLICY.clusters)
    for tick in range(60):
        now = NOW + tick
        drain = Drain(drained, NOW + 20, NOW + 40, "firmware", "ann", ramp=5.0)
        overrides = Overrides({drained: drain} if tick >= 20 else {})
        inputs = DecisionInputs(
            POLICY.digest, _observations(now, 5.0 + tick), overrides, previous, now, engine_version()
        )
        previous = decide(POLICY, inputs.observations, inputs.overrides, inputs.previous, inputs.now)
        made.append((previous, inputs))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "penstock.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite:///{path}", lambda: NOW) as opened:
        await opened.save_policy(POLICY.digest, FILES)
        yield opened


async def _record(store: Store, decision: Decision, inputs: DecisionInputs) -> None:
    packed = pack(inputs)
    await store.record_decision(decision.id, decision.at, "m", to_json(decision), decision.policy_digest, packed)


async def _verified(store: Store, decision: Decision) -> Verification:
    found = await verify_decision(store, decision.id)
    assert found is not None
    return found


def _failed(found: Verification) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def _change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement, values).rowcount == 1
        connection.commit()


async def test_every_recorded_decision_is_made_again_bit_for_bit(store: Store) -> None:
    for decision, inputs in _history()[::7]:
        await _record(store, decision, inputs)
    for decision, _ in _history()[::7]:
        found = await _verified(store, decision)
        assert found.verified, found
        assert found.differences == ()
        assert {check.name for check in found.checks} >= {"audit", "record of decision", "record of inputs", "policy"}


async def test_what_the_recorder_writes_can_be_verified(store: Store) -> None:
    recorder = Recorder(store)
    decision, inputs = _history()[25]
    recorder.record(decision, inputs)
    await _drain_of(recorder)
    assert (await _verified(store, decision)).verified


async def _drain_of(recorder: Recorder) -> None:
    writing = asyncio.create_task(recorder.run())
    await recorder.drained(10)
    writing.cancel()


async def test_a_decision_that_is_not_recorded_cannot_be_verified(store: Store) -> None:
    assert await verify_decision(store, "feedbeef") is None


async def test_a_decision_recorded_without_its_inputs_says_so(store: Store) -> None:
    decision, _ = _history()[0]
    await store.record_decision(decision.id, decision.at, "m", to_json(decision), decision.policy_digest)
    found = await _verified(store, decision)
    assert (found.verified, _failed(found)) == (False, ["inputs"])


async def test_a_weight_changed_in_the_record_shows_and_is_named(store: Store, path: Path) -> None:
    decision, inputs = _history()[30]
    await _record(store, decision, inputs)
    document = json.loads(to_json(decision))
    name = next(name for name, row in document["rows"].items() if row["weights"])
    cluster = next(iter(document["rows"][name]["weights"]))
    document["rows"][name]["weights"][cluster] = 1
    forged = json.dumps(document, sort_keys=True, separators=(",", ":"))
    _change(path, "UPDATE decisions SET json = ? WHERE id = ?", forged, decision.id)
    found = await _verified(store, decision)
    assert _failed(found) == ["record of decision", "decision"]
    assert [each.path for each in found.differences] == [f"rows.{name}.weights.{cluster}"]
    assert found.differences[0].recorded == "1"


async def test_inputs_swapped_for_others_show(store: Store, path: Path) -> None:
    decision, inputs = _history()[30]
    await _record(store, decision, inputs)
    other = pack(replace(inputs, now=inputs.now + 1))
    _change(path, "UPDATE decision_inputs SET data = ?, digest = ?", other.data, other.digest)
    assert "record of inputs" in _failed(await _verified(store, decision))


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda _: b"", lambda data: data[::-1]])
async def test_damaged_inputs_are_told_not_guessed(store: Store, path: Path, spoil: Callable[[bytes], bytes]) -> None:
    decision, inputs = _history()[30]
    await _record(store, decision, inputs)
    _change(path, "UPDATE decision_inputs SET data = ?", spoil(pack(inputs).data))
    assert _failed(await _verified(store, decision)) == ["inputs"]
    record = await store.decision(decision.id)
    assert record is not None
    assert (await past(store, record)).inputs is None


async def test_an_audit_log_that_was_touched_before_the_entry_vouches_for_nothing(store: Store, path: Path) -> None:
    await store.append_audit("drain.added", "ann", {})
    decision, inputs = _history()[30]
    await _record(store, decision, inputs)
    await store.append_audit("drain.removed", "ann", {})
    _change(path, "UPDATE audit SET actor = 'mallory' WHERE sequence = 3")
    after = await _verified(store, decision)
    assert after.verified
    assert any("broken from entry 3" in check.detail for check in after.checks)
    _change(path, "UPDATE audit SET actor = 'mallory' WHERE sequence = 1")
    assert _failed(await _verified(store, decision)) == ["audit"]


async def test_without_the_text_of_its_policy_a_decision_cannot_be_made_again(store: Store, path: Path) -> None:
    decision, inputs = _history()[30]
    await _record(store, decision, inputs)
    _change(path, "DELETE FROM policies")
    assert _failed(await _verified(store, decision)) == ["policy"]


async def test_another_policy_under_the_same_digest_shows(store: Store, path: Path) -> None:
    decision, inputs = _history()[30]
    await _record(store, decision, inputs)
    files = {"policy.yaml": FILES["policy.yaml"].replace("concurrency: 600", "concurrency: 601")}
    assert files != FILES
    _change(path, "UPDATE policies SET files = ?", json.dumps(files))
    assert "policy" in _failed(await _verified(store, decision))


async def test_a_decision_that_other_code_made_is_told_to_be_one_and_its_record_to_be_sound(store: Store) -> None:
    decision, inputs = _history()[30]
    await _record(store, replace(decision, frozen="otherwise"), replace(inputs, engine="penstock 0.0.1"))
    found = await _verified(store, decision)
    assert _failed(found) == ["decision"]
    assert (found.verdict, found.untampered) == (Verdict.OTHER_CODE, True)
    assert (found.engine, found.engine_here) == ("penstock 0.0.1", engine_version())
    assert [each.path for each in found.differences] == ["frozen"]


async def test_other_code_is_no_excuse_for_a_record_that_was_changed(store: Store, path: Path) -> None:
    decision, inputs = _history()[30]
    await _record(store, replace(decision, frozen="otherwise"), replace(inputs, engine="penstock 0.0.1"))
    _change(path, "UPDATE decisions SET json = ? WHERE id = ?", to_json(decision), decision.id)
    found = await _verified(store, decision)
    assert (found.verdict, found.untampered) == (Verdict.NOT_VERIFIED, False)


async def test_the_same_code_that_decides_otherwise_is_no_verification(store: Store) -> None:
    decision, inputs = _history()[30]
    await _record(store, replace(decision, frozen="otherwise"), inputs)
    assert (await _verified(store, decision)).verdict is Verdict.NOT_VERIFIED


async def test_inputs_that_only_another_version_reads_are_other_code(store: Store) -> None:
    decision, inputs = _history()[30]
    text = inputs_to_json(replace(inputs, engine="penstock 9")).replace('"overrides"', '"wishes"')
    packed = PackedInputs(hashlib.sha256(text.encode()).hexdigest(), zlib.compress(text.encode()))
    await store.record_decision(decision.id, decision.at, "m", to_json(decision), decision.policy_digest, packed)
    found = await _verified(store, decision)
    assert (found.verdict, found.engine) == (Verdict.OTHER_CODE, "penstock 9")


async def _record_figures(store: Store, decision: Decision, inputs: DecisionInputs) -> None:
    text = figures.packed(to_json(decision))
    await store.record_figures(decision.id, decision.at, decision.policy_digest, text, pack(inputs))


async def test_a_decision_recorded_for_its_figures_is_made_again_and_held_against_the_one_before(
    store: Store, path: Path
) -> None:
    (before, _), (after, inputs) = _history()[10:12]
    assert material_digest(before) == material_digest(after)
    await _record(store, *_history()[10])
    await _record_figures(store, after, inputs)
    found = await _verified(store, after)
    assert found.verdict is Verdict.VERIFIED
    assert any(f"what decision {before.id} says, which is what entry 1" in check.detail for check in found.checks)
    _change(path, "UPDATE decisions SET json = ?", to_json(_history()[30][0]))
    assert "record" in _failed(await _verified(store, after))


async def test_nothing_vouches_for_figures_and_so_other_code_proves_nothing_of_them(store: Store) -> None:
    await _record(store, *_history()[10])
    decision, inputs = _history()[11]
    await _record_figures(store, decision, replace(inputs, engine="penstock 0.0.1", now=inputs.now + 0.5))
    found = await _verified(store, decision)
    assert (found.verdict, found.vouched, found.untampered) == (Verdict.OTHER_CODE, False, False)


async def test_figures_that_hide_another_weight_show(store: Store) -> None:
    await _record(store, *_history()[10])
    await _record_figures(store, *_history()[30])
    assert material_digest(_history()[10][0]) != material_digest(_history()[30][0])
    assert _failed(await _verified(store, _history()[30][0])) == ["record"]


def test_the_version_of_the_engine_is_that_of_its_sources(tmp_path: Path) -> None:
    for name, text in (("a.py", "1"), ("sub/b.py", "2"), ("sub/notes.txt", "3")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = sources_digest(tmp_path)
    (tmp_path / "sub/notes.txt").write_text("4")
    assert sources_digest(tmp_path) == before
    (tmp_path / "sub/b.py").write_text("3")
    assert sources_digest(tmp_path) != before
    assert all(
        name in engine_version() for name in ("penstock ", "(engine ", "highspy ", "numpy ", "cronsim ", "tzdata ")
    )


async def test_a_past_decision_comes_back_with_its_policy_and_its_inputs(store: Store) -> None:
    for decision, inputs in _history()[10:12]:
        await _record(store, decision, inputs)
    record = await store.decision_at(_history()[10][0].at + 0.5)
    assert record is not None
    found = await past(store, record)
    assert found.policy is not None
    assert (found.stored.id, found.policy.digest, found.until) == (
        _history()[10][0].id,
        POLICY.digest,
        _history()[11][0].at,
    )
    assert found.inputs is not None
    assert found.inputs.previous == _history()[9][0]


def test_packed_inputs_are_small_and_whole() -> None:
    inputs = _history()[-1][1]
    packed = pack(inputs)
    back = unpack(StoredInputs("id", packed.digest, 1, packed.data))
    assert pack(back) == packed
    with pytest.raises(InputsError, match="digest"):
        unpack(StoredInputs("id", "0" * 64, 1, packed.data))


_AGAIN = """
import sys
from pathlib import Path
from penstock_policies.engine import decide
from penstock_policies.inputs import inputs_from_json
from penstock_policies.loader import load
from penstock_policies.serial import to_json
policy = load({"policy.yaml": Path(sys.argv[1]).read_text()}).require()
given = inputs_from_json(sys.stdin.read())
sys.stdout.write(to_json(decide(policy, given.observations, given.overrides, given.previous, given.now)))
"""


@pytest.mark.parametrize("seed", ["1", "271828"])
async def test_another_process_with_other_hashes_makes_the_same_bytes(seed: str) -> None:
    decision, inputs = _history()[45]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _AGAIN,
        str(EXAMPLE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONHASHSEED": seed},
    )
    written, _ = await process.communicate(inputs_to_json(inputs).encode())
    assert written.decode() == to_json(decision)
