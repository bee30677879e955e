"""Which requests a route is for: data class and model, as Envoy matchers.

The class comes from the listener; the client's ``x-data-class`` header may only make it stricter. Envoy matches each of
several header lines by itself ("any line matches"), so a negated match is no guard against ``public`` and ``secret``
sent together. Strictness is therefore asked positively, "some line says something other than public", and stricter
classes stand first in the table.
"""

from typing import Final

from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from penstock_policies.words import DataClass

CLASS_HEADER: Final = "x-data-class"
METADATA: Final = "penstock"
"""The namespace of all metadata of ours: of requests (the model), routes and endpoints."""
MODEL_KEY: Final = "model"


def class_matchers(floor: DataClass, data_class: DataClass) -> list[route.HeaderMatcher]:
    """Matchers for requests of ``data_class`` on a listener of class ``floor``, strictest classes being tried first.

    Raises:
        ValueError: the class is looser than the listener's.
    """
    if data_class not in floor.at_least():
        raise ValueError(f"a {floor} listener never carries {data_class} requests")
    if floor is DataClass.RESTRICTED:
        return []
    if data_class is DataClass.RESTRICTED:
        # Two patterns, because Envoy refuses one of this size; several lines that disagree so count as restricted.
        return [_class_header(other_than(word.value)) for word in (DataClass.PUBLIC, DataClass.INTERNAL)]
    if data_class is floor:
        looser = [word.value for word in DataClass if word.strictness <= floor.strictness]
        return [_class_header(f"({'|'.join(looser)})?", absent_too=True)]
    return [route.HeaderMatcher(name=CLASS_HEADER, string_match=matcher.StringMatcher(exact=data_class.value))]


def model_is(model: str) -> matcher.MetadataMatcher:
    """A match of requests whose body names ``model``."""
    return _model(matcher.ValueMatcher(string_match=matcher.StringMatcher(exact=model)))


def model_named(*, named: bool) -> matcher.MetadataMatcher:
    """A match of requests whose body names any model, or, with ``named`` false, none."""
    return _model(matcher.ValueMatcher(present_match=True), invert=not named)


def other_than(word: str) -> str:
    """An RE2 pattern that matches exactly the strings that are not ``word`` (RE2 has no negative look-ahead)."""
    if not word:
        return ".+"
    return f"(|[^{word[0]}].*|{word[0]}{other_than(word[1:])})"


def _class_header(pattern: str, *, absent_too: bool = False) -> route.HeaderMatcher:
    return route.HeaderMatcher(
        name=CLASS_HEADER,
        string_match=matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=pattern)),
        treat_missing_header_as_empty=absent_too,
    )


def _model(value: matcher.ValueMatcher, *, invert: bool = False) -> matcher.MetadataMatcher:
    return matcher.MetadataMatcher(
        filter=METADATA, path=[matcher.MetadataMatcherPathSegment(key=MODEL_KEY)], value=value, invert=invert
    )
