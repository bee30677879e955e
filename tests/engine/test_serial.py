"""Decisions as JSON and as hashes."""

from dataclasses import replace

import pytest

from penstock_policies.decision import Decision, Note, Stage
from penstock_policies.policyset import RowKey
from penstock_policies.serial import (
    SerialError,
    decision_id,
    from_json,
    material_digest,
    parse_row_name,
    row_name,
    to_json,
)
from tests.engine.engine_world import EU, ONPREM, US, World, fleet, row


def decided() -> Decision:
    world = World(fleet(), rates={row(): 300.0})
    world.failing = {f"{ONPREM}-1.example.com:8000"}
    world.prices[US] = -1.0
    world.drain(EU, ramp=100.0)
    return world.run(30)


def test_a_decision_comes_back_exactly_as_it_was() -> None:
    decision = decided()
    restored = from_json(to_json(decision))
    assert restored == decision
    assert type(restored.rows[row()].legs[ONPREM]) is tuple
    assert to_json(restored) == to_json(decision)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"rows": 1}', "nonsense"])
def test_a_text_that_is_no_decision_is_a_clear_error(text: str) -> None:
    with pytest.raises(SerialError, match="not a decision"):
        from_json(text)


def test_a_decision_of_a_field_unknown_here_is_a_clear_error() -> None:
    text = to_json(decided()).replace('"price":', '"prize":')
    with pytest.raises(SerialError):
        from_json(text)


@pytest.mark.parametrize("odd", ["half a character \ud800", 2**80])
def test_what_comes_from_outside_cannot_keep_a_decision_from_being_written(odd: str | int) -> None:
    decision = replace(decided(), notes=(Note(Stage.SANITISE, "refused", {"name": odd}),))
    assert from_json(to_json(decision)) == decision
    assert len(decision_id(decision)) == 16


def test_models_may_hold_slashes() -> None:
    key = RowKey("chat", "eu-west", "meta/llama-3/70b")
    assert parse_row_name(row_name(key)) == key
    with pytest.raises(SerialError):
        parse_row_name("chat/eu-west")


def test_what_moves_by_itself_is_not_material() -> None:
    world = World(fleet(), rates={row(): 50.0})
    before = world.run(30)
    world.rates[row()] = 60.0
    world.prices[EU] = 0.91
    after = world.run(30)
    assert after.id != before.id
    assert material_digest(after) == material_digest(before)


def test_what_matters_is_material() -> None:
    world = World(fleet(), rates={row(): 50.0})
    before = world.run(30)
    digests = {material_digest(before)}
    weights = {**before.rows[row()].weights, ONPREM: 9_999, EU: 1}
    digests.add(
        material_digest(replace(before, rows={**before.rows, row(): replace(before.rows[row()], weights=weights)}))
    )
    digests.add(material_digest(replace(before, frozen="why")))
    digests.add(material_digest(replace(before, draining={EU: 0.5})))
    digests.add(material_digest(replace(before, policy_digest="other")))
    world.failing = {f"{ONPREM}-1.example.com:8000"}
    digests.add(material_digest(world.tick()))
    assert len(digests) == 6
