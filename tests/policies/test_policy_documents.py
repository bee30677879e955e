"""What the loader says of broken YAML, before any schema."""

import pytest

from penstock_policies.composer import MAX_DEPTH, MAX_VALUES
from penstock_policies.documents import MAX_CHARACTERS, read
from tests.policies.writing import errors_in

LISTENER = """\
apiVersion: penstock/v1
kind: Listener
metadata: {name: internal}
spec: {address: 0.0.0.0, port: 10001, dataClass: restricted}
"""


def test_broken_syntax_is_an_error_at_its_place() -> None:
    assert errors_in("kind: [Listener\nmetadata: 1\n") == [
        "a.yaml:2:9: invalid YAML: did not find expected ',' or ']' while parsing a flow sequence that begins in line 1"
    ]


def test_a_tab_in_the_indentation_is_called_by_its_name() -> None:
    assert errors_in("kind: Listener\nmetadata:\n\tname: x\n") == [
        "a.yaml:3:1: invalid YAML: a tab; expected spaces: YAML allows no tabs in indentation"
    ]


def test_a_colon_in_plain_text_is_explained() -> None:
    assert errors_in("kind: Listener: public\n") == [
        (
            "a.yaml:1:15: invalid YAML: mapping values are not allowed in this context; "
            "expected quotes round text that holds a colon, or another indentation"
        )
    ]


def test_documents_after_broken_syntax_are_read_and_judged_in_the_same_go() -> None:
    text = f"a: [b\n---\n{LISTENER}---\nkind: {{x\n---\nkind: Listner\napiVersion: penstock/v1\n"
    assert [error.split(": ")[0] for error in errors_in(text)] == ["a.yaml:2:1", "a.yaml:9:1", "a.yaml:10:7"]


def test_names_that_a_broken_document_may_have_declared_are_not_called_unknown() -> None:
    text = """\
        kind: Cluster
        metadata: {name: lost
        ---
        apiVersion: penstock/v1
        kind: TrafficPolicy
        metadata: {name: batch}
        spec: {match: {path: /batch/}, dataClass: public, clusters: [lost]}
        """
    assert [error.split(": ")[1] for error in errors_in(text)] == ["invalid YAML"]


def test_a_key_written_twice_is_an_error_at_the_second() -> None:
    text = LISTENER.replace("port: 10001,", "port: 10001, port: 10002,")
    assert errors_in(text) == [
        "a.yaml:4:39: spec.port: the key is written twice; expected it once: it stands in line 4 already"
    ]


def test_a_word_that_yaml_readers_disagree_about_is_reported_once_at_its_place() -> None:
    text = LISTENER.replace("dataClass: restricted", "dataClass: no").replace("10001", "0o10001")
    assert errors_in(text) == [
        "a.yaml:4:32: spec.port: 0o10001 is not the same number to all YAML readers; write it in plain decimal digits",
        'a.yaml:4:52: spec.dataClass: no means false to some YAML readers; write "no" in quotes',
    ]


def test_the_same_word_in_quotes_is_text() -> None:
    reading = read("a.yaml", "region: 'no'\nowner: !!str on\n")
    assert reading.problems == ()
    assert reading.documents[0].root.plain() == {"region": "no", "owner": "on"}


def test_tags_are_refused() -> None:
    assert errors_in(LISTENER.replace("port: 10001", "port: !!python/name:os.system 10001"))[0] == (
        "a.yaml:4:32: spec.port: the tag !!python/name:os.system is not allowed; expected a value without a tag"
    )


def test_a_list_as_a_key_is_an_error() -> None:
    assert "a.yaml:1:3: a key is a list, a mapping or an alias; expected text as a key" in errors_in("? [a]\n: 1\n")


def test_anchors_and_merge_keys_work_within_a_document() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\nd: {<<: [{x: 4}, *a]}\n"
    reading = read("a.yaml", text)
    assert reading.problems == ()
    assert reading.documents[0].root.plain() == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
        "d": {"x": 4, "y": 2},
    }


def test_a_merge_key_that_merges_no_mapping_is_an_error() -> None:
    (problem,) = read("a.yaml", "a: {<<: 1}\n").problems
    assert str(problem) == (
        'a.yaml:1:5: a["<<"]: a merge key that merges no mapping; expected an alias of a mapping, or a list of such'
    )


def test_an_alias_without_its_anchor_is_an_error() -> None:
    (problem,) = read("a.yaml", "---\na: &x 1\n---\nb: *x\n").problems
    assert str(problem) == 'a.yaml:4:4: b: no anchor "x" stands before this alias'


def test_an_alias_inside_what_it_names_is_an_error() -> None:
    (problem,) = read("a.yaml", "a: &x [1, *x]\n").problems
    assert str(problem) == 'a.yaml:1:11: a[1]: the alias "x" stands inside what it names'


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = read("a.yaml", "\n".join(lines)).problems
    assert problem.message == f"the document holds more than {MAX_VALUES} values"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "{", "? "])
def test_nesting_beyond_any_use_is_refused(opening: str) -> None:
    messages = {problem.message for problem in read("a.yaml", opening * 50_000).problems}
    assert f"nested deeper than {MAX_DEPTH} levels" in messages


def test_nesting_by_aliases_is_refused_too() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [[[*a{n - 1}]]]" for n in range(1, 40)]
    (problem,) = read("a.yaml", "\n".join(lines)).problems
    assert problem.message == f"nested deeper than {MAX_DEPTH} levels"


def test_a_file_of_absurd_length_is_refused() -> None:
    reading = read("a.yaml", "#" * (MAX_CHARACTERS + 1))
    assert [str(problem) for problem in reading.problems] == [
        f"a.yaml: the file is too long; expected at most {MAX_CHARACTERS} characters; use several files"
    ]


@pytest.mark.parametrize(("text", "place", "code"), [("a: b\nc: \x07\n", "2:4", "0007"), ("\ud800", "1:1", "D800")])
def test_control_characters_are_refused_at_their_place(text: str, place: str, code: str) -> None:
    (problem,) = read("a.yaml", text).problems
    assert str(problem) == f"a.yaml:{place}: invalid YAML: the control character U+{code}; expected printable text"


def test_a_file_of_nothing_but_broken_documents_is_given_up_after_some() -> None:
    assert len(read("a.yaml", "---\n[\n" * 1000).problems) == 20


@pytest.mark.parametrize("text", ["", "---\n", "# nothing yet\n", "---\n---\n# nothing\n---\n~\n"])
def test_empty_documents_are_none(text: str) -> None:
    reading = read("a.yaml", text)
    assert (reading.documents, reading.problems, reading.complete) == ((), (), True)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_editors_count_them(newline: str) -> None:
    text = newline.join(["\ufeff# é", "kind: [", "---", "kind: on"])
    assert [problem.place for problem in read("a.yaml", text).problems] == ["a.yaml:3:1", "a.yaml:4:7"]
