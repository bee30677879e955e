"""Node matchers, as CSDS requests carry them (`envoy.type.matcher.v3.NodeMatcher`).

Matchers come from outside, so a malformed one is an error of its own, and none may cost more than it is worth: Python's
regular expressions can take for ever on a hostile pattern (Envoy's RE2 cannot), so only patterns of a plain kind are
taken, and ids of a sane length compared with them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from penstock_xds.errors import InvalidMatcherError
from penstock_xds.node import Node
from penstock_xds.protos import DoubleMatcher, NodeMatcher, StringMatcher, StructMatcher, ValueMatcher

_MOST_QUANTIFIERS: Final = 2
_LONGEST_PATTERN: Final = 256
_LONGEST_SUBJECT: Final = 256

Takes = Callable[[Node], bool]
Holds = Callable[[object], bool]
"""Whether a value of the metadata is the one wanted; None stands for null and for what is not there."""


def node_test(matchers: Sequence[NodeMatcher]) -> Takes:
    """Return the test whether any of the matchers takes a node; no matchers take every node.

    Raises:
        InvalidMatcherError: a matcher is malformed or of a kind that is not supported.

    """
    tests = [_node(matcher) for matcher in matchers]
    return lambda node: not tests or any(test(node) for test in tests)


def _node(matcher: NodeMatcher) -> Takes:
    by_id = _string(matcher.node_id) if matcher.HasField("node_id") else None
    by_metadata = [_struct(wanted) for wanted in matcher.node_metadatas]

    def takes(node: Node) -> bool:
        return (by_id is None or by_id(node.id)) and all(holds(node.metadata) for holds in by_metadata)

    return takes


def _string(matcher: StringMatcher) -> Holds:
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        pattern = _pattern(matcher.safe_regex.regex)
        return lambda v: isinstance(v, str) and len(v) <= _LONGEST_SUBJECT and pattern.fullmatch(v) is not None
    if kind not in {"exact", "prefix", "suffix", "contains"}:
        raise InvalidMatcherError(f"a string matcher of kind {kind or 'none'} is not supported")
    fold: Callable[[str], str] = str.lower if matcher.ignore_case else str
    wanted = fold(getattr(matcher, kind))
    if not wanted and kind != "exact":
        raise InvalidMatcherError(f"the {kind} of a string matcher must not be empty")
    match kind:
        case "exact":
            return lambda v: isinstance(v, str) and fold(v) == wanted
        case "prefix":
            return lambda v: isinstance(v, str) and fold(v).startswith(wanted)
        case "suffix":
            return lambda v: isinstance(v, str) and fold(v).endswith(wanted)
        case _:
            return lambda v: isinstance(v, str) and wanted in fold(v)


@lru_cache(maxsize=64)
def _pattern(text: str) -> "re.Pattern[str]":
    outside_classes = re.sub(r"\[[^\]]*\]", "", re.sub(r"\\\D", "", text))
    quantifiers = len(re.findall(r"[*+?{]", outside_classes))
    involved = re.search(r"[(|\\]", outside_classes) is not None
    if not text or len(text) > _LONGEST_PATTERN or involved or quantifiers > _MOST_QUANTIFIERS:
        raise InvalidMatcherError(
            f"a regex must be 1 to {_LONGEST_PATTERN} characters long, with no group, alternative or back-reference "
            f"and at most {_MOST_QUANTIFIERS} quantifiers"
        )
    try:
        return re.compile(text)
    except (re.error, OverflowError) as error:
        raise InvalidMatcherError(f"the regex {text!r} cannot be read: {error}") from error


def _struct(matcher: StructMatcher) -> Holds:
    path = [segment.key for segment in matcher.path]
    if not path or not all(path):
        raise InvalidMatcherError("a struct matcher needs a path of keys")
    holds = _value(matcher.value)

    def holds_at_path(metadata: object) -> bool:
        for key in path:
            metadata = metadata.get(key) if isinstance(metadata, Mapping) else None
        return holds(metadata)

    return holds_at_path


def _value(matcher: ValueMatcher) -> Holds:
    kind = matcher.WhichOneof("match_pattern")
    match kind:
        case "null_match" | "present_match":
            # Unset, and so False, in a matcher of null.
            wanted: bool = matcher.present_match
            return lambda v: (v is not None) is wanted
        case "bool_match":
            expected: bool = matcher.bool_match
            return lambda v: v is expected
        case "string_match":
            return _string(matcher.string_match)
        case "double_match":
            return _double(matcher.double_match)
        case "list_match":
            one = _value(matcher.list_match.one_of)
            return lambda v: isinstance(v, list) and any(one(each) for each in v)
        case "or_match":
            alternatives = [_value(each) for each in matcher.or_match.value_matchers]
            return lambda v: any(holds(v) for holds in alternatives)
        case _:
            raise InvalidMatcherError(f"a value matcher of kind {kind or 'none'} is not supported")


def _double(matcher: DoubleMatcher) -> Holds:
    if matcher.WhichOneof("match_pattern") == "range":
        start, end = matcher.range.start, matcher.range.end
        return lambda v: isinstance(v, float) and start <= v < end
    exact = matcher.exact
    return lambda v: isinstance(v, float) and v == exact
