"""Which nodes a matcher takes, and which matchers are not taken at all."""

from typing import Any

import pytest

from penstock_xds.errors import InvalidMatcherError
from penstock_xds.node import Node
from penstock_xds.node_matcher import node_test
from penstock_xds.protos import NodeMatcher

NODE = Node(
    id="Edge-eu-1",
    metadata={
        "team": "payments",
        "tier": {"level": 2.0, "canary": True},
        "zones": ["a", "b"],
        "nothing": None,
    },
)


def takes(*matchers: dict[str, Any], node: Node = NODE) -> bool:
    return node_test([NodeMatcher(**matcher) for matcher in matchers])(node)


def metadata(path: str, **value: Any) -> dict[str, Any]:
    segments = [{"key": key} for key in path.split(".")]
    return {"node_metadatas": [{"path": segments, "value": value}]}


@pytest.mark.parametrize(
    ("matcher", "taken"),
    [
        ({"exact": "Edge-eu-1"}, True),
        ({"exact": "edge-eu-1"}, False),
        ({"exact": "edge-EU-1", "ignore_case": True}, True),
        ({"prefix": "Edge-"}, True),
        ({"prefix": "edge-", "ignore_case": True}, True),
        ({"suffix": "-1"}, True),
        ({"suffix": "-2"}, False),
        ({"contains": "-eu-"}, True),
        ({"contains": "-EU-", "ignore_case": True}, True),
        ({"safe_regex": {"regex": "Edge-[a-z]+-[0-9]+"}}, True),
        ({"safe_regex": {"regex": r"Edge\-.*"}}, True),
        # The whole id, as with Envoy.
        ({"safe_regex": {"regex": "Edge"}}, False),
    ],
)
def test_ids_are_matched_as_asked(matcher: dict[str, Any], taken: bool) -> None:  # noqa: FBT001  # a table's column
    assert takes({"node_id": matcher}) is taken


@pytest.mark.parametrize(
    ("matcher", "taken"),
    [
        (metadata("team", string_match={"exact": "payments"}), True),
        (metadata("team", string_match={"prefix": "risk"}), False),
        (metadata("tier.level", double_match={"exact": 2.0}), True),
        (metadata("tier.level", double_match={"range": {"start": 1.0, "end": 2.0}}), False),
        (metadata("tier.level", double_match={"range": {"start": 2.0, "end": 3.0}}), True),
        (metadata("tier.canary", bool_match=True), True),
        (metadata("tier.canary", bool_match=False), False),
        (metadata("tier.canary", double_match={"exact": 1.0}), False),
        (metadata("zones", list_match={"one_of": {"string_match": {"exact": "b"}}}), True),
        (metadata("zones", list_match={"one_of": {"string_match": {"exact": "c"}}}), False),
        (metadata("tier.none", present_match=True), False),
        (metadata("tier.none", present_match=False), True),
        (metadata("team.deeper", present_match=True), False),
        (metadata("nothing", null_match={}), True),
        (metadata("team", null_match={}), False),
        (metadata("team", or_match={"value_matchers": [{"bool_match": True}, {"present_match": True}]}), True),
    ],
)
def test_metadata_is_matched_as_asked(matcher: dict[str, Any], taken: bool) -> None:  # noqa: FBT001  # a table's column
    assert takes(matcher) is taken


def test_all_parts_of_a_matcher_must_match_and_any_of_the_matchers() -> None:
    good, bad = metadata("team", present_match=True), metadata("team", present_match=False)
    assert takes({"node_id": {"prefix": "Edge"}, **good})
    assert not takes({"node_id": {"prefix": "Edge"}, **bad})
    assert not takes({"node_id": {"prefix": "core"}, **good})
    assert takes(bad, good)
    assert takes()


@pytest.mark.parametrize(
    "matcher",
    [
        {"node_id": {}},
        {"node_id": {"prefix": ""}},
        {"node_id": {"custom": {"name": "x"}}},
        {"node_id": {"safe_regex": {"regex": ""}}},
        {"node_id": {"safe_regex": {"regex": "["}}},
        {"node_id": {"safe_regex": {"regex": "(a+)+$"}}},
        {"node_id": {"safe_regex": {"regex": "a?a?a?a?a?a?"}}},
        {"node_id": {"safe_regex": {"regex": "(a|a)(a|a)"}}},
        {"node_id": {"safe_regex": {"regex": r"[(]+\1"}}},
        {"node_id": {"safe_regex": {"regex": "[]a]+[b]+[c]+"}}},
        {"node_id": {"safe_regex": {"regex": "x" * 257}}},
        metadata("team"),
        {"node_metadatas": [{"path": [], "value": {"present_match": True}}]},
        metadata("team", string_match={"suffix": ""}),
    ],
)
def test_a_matcher_that_is_malformed_or_too_costly_is_refused(matcher: dict[str, Any]) -> None:
    with pytest.raises(InvalidMatcherError):
        takes(matcher)


def test_an_absurdly_long_id_is_not_worth_a_regular_expression() -> None:
    assert not takes({"node_id": {"safe_regex": {"regex": ".*x.*"}}}, node=Node(id="x" * 100_000))
