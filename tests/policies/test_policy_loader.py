import random

import pytest
import yaml
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.loader import MAX_PROBLEMS, load
from penstock_policies.policyset import Origin
from penstock_policies.problems import PolicyError, Problem
from tests.policies.writing import EXAMPLES, SOUND, UNHURRIED, example


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_every_example_loads_without_errors_or_warnings(name: str) -> None:
    loaded = load(example(name))
    assert loaded.problems == ()
    assert loaded.policy_set is not None


def test_the_hybrid_example_means_what_it_says() -> None:
    policies = load(example("hybrid")).require()
    onprem = policies.clusters["onprem-fra"].spec
    assert [endpoint.key for endpoint in onprem.endpoints] == ["10.0.1.11:8000", "10.0.1.12:8000"]
    assert (onprem.health.interval, onprem.health.timeout) == (1.0, 0.5)
    assert onprem.outlier_detection.consecutive5xx == 5
    assert policies.feeds["cloud-prices"].spec.max_age == 600.0
    assert policies.policies["chat"].spec.limits.max_step == pytest.approx(0.1)
    assert policies.origins["TrafficPolicy", "chat"] == Origin("policy.yaml", 53, 1)


def test_mistakes_of_every_sort_in_several_files_are_told_in_one_go_in_order_of_place() -> None:
    files = {
        "b.yaml": SOUND.replace("engine: vllm", "engine: vlm").replace(
            "clusters: [onprem, cloud]", "clusters: [cluod]"
        ),
        "a.yaml": "kind: [\n",
        "c.yaml": "apiVersion: penstock/v1\nkind: CostFeed\nmetadata: {name: x}\nspec: {type: file}\n",
    }
    loaded = load(files)
    assert loaded.policy_set is None
    assert [(problem.place, problem.path) for problem in loaded.problems] == [
        ("a.yaml:2:1", ""),
        ("b.yaml:7:11", "spec.engine"),
        ("c.yaml:4:14", "spec.type"),
    ]
    del files["a.yaml"]  # no document is unreadable any more, so unknown names can be told
    assert ("b.yaml:42:59", "spec.clusters[0]") in [(problem.place, problem.path) for problem in load(files).problems]


@pytest.mark.parametrize("files", [{}, {"a.yaml": ""}, {"a.yaml": "---\n# gone\n"}])
def test_an_empty_directory_is_an_error_lest_a_lost_mount_unconfigures_every_envoy(files: dict[str, str]) -> None:
    loaded = load(files)
    assert loaded.policy_set is None
    assert [str(problem) for problem in loaded.problems] == [
        "the directory holds no policy document; expected at least one NodeGroup"
    ]


def test_a_directory_without_a_node_group_is_an_error() -> None:
    sound = "---\n".join(part for part in SOUND.split("---\n") if "NodeGroup" not in part)
    assert [str(error) for error in load({"a.yaml": sound}).errors] == [
        "no Envoy is served: the directory has no NodeGroup; expected at least one"
    ]


def test_requiring_a_policy_set_that_is_not_there_raises_with_every_problem() -> None:
    loaded = load({"a.yaml": "- 1\n---\n- 2\n"})
    with pytest.raises(PolicyError, match=r"2 errors in the policy files: a\.yaml:1:1: wrong type") as failure:
        loaded.require()
    assert failure.value.problems == loaded.problems


def test_a_file_full_of_mistakes_is_cut_short_and_says_so() -> None:
    text = SOUND.replace("models: [llama]", f"models: [{', '.join(['1'] * 1000)}]", 1)
    problems = load({"a.yaml": text}).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].message == f"{1000 - MAX_PROBLEMS} more problems from here on"
    assert problems[-1].severity == "error"


def test_problems_sort_by_place() -> None:
    places = [("a", 1, 1), ("a", 1, 2), ("a", 2, 1), ("b", 1, 1)]
    problems = [Problem("error", *place, path="", message="x") for place in places]
    assert sorted([problems[2], problems[0], problems[3], problems[1]]) == problems


@UNHURRIED
@given(st.randoms(use_true_random=False), st.integers(min_value=1, max_value=8))
def test_the_digest_and_the_policy_set_do_not_depend_on_files_or_order(chance: random.Random, count: int) -> None:
    documents = SOUND.split("---\n")
    chance.shuffle(documents)
    files = {f"{index}.yaml": "---\n".join(documents[index::count]) for index in range(count)}
    chosen, written = load(files).require(), load({"sound.yaml": SOUND}).require()
    assert chosen.digest == written.digest
    assert list(chosen.clusters.items()) == list(written.clusters.items())
    assert chosen.rows() == written.rows()


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("kind: Listener", "kind:   Listener  # the way in", True),
        ("capacity: {concurrency: 100}", "capacity: {concurrency: 100, headroom: 15%}", True),
        ("capacity: {concurrency: 100}", "capacity: {concurrency: 101}", False),
        ("clusters: [onprem, cloud]", "clusters: [cloud, onprem]", False),
    ],
)
def test_the_digest_is_of_what_the_documents_mean(old: str, new: str, *, same: bool) -> None:
    assert SOUND.count(old) == 1
    changed = load({"a.yaml": SOUND.replace(old, new)}).require()
    assert (changed.digest == load({"a.yaml": SOUND}).require().digest) is same


def test_durations_of_equal_length_have_equal_digests() -> None:
    spelled = [
        SOUND.replace("clusters: [cloud]", "") + f"---\n{_feed(refresh)}" for refresh in ("60s", "1m", "60000ms")
    ]
    assert len({load({"a.yaml": text}).require().digest for text in spelled}) == 1


def _feed(refresh: str) -> str:
    return (
        "apiVersion: penstock/v1\nkind: CostFeed\nmetadata: {name: x}\n"
        f"spec: {{type: file, path: p.json, refresh: {refresh}}}\n"
    )


@UNHURRIED
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=400), max_size=3))
@case({"a.yaml": "\x00"})
@case({"a.yaml": "\ufeff%YAML 1.1\n--- !x &y *y"})
@case({"a.yaml": 'a: "\\ud800"'})
@case({"a.yaml": '{apiVersion: penstock/v1, kind: Cluster, metadata: {name: "\\uFFFE"}, spec: .nan}'})
def test_no_text_whatever_makes_the_loader_raise(files: dict[str, str]) -> None:
    _is_an_answer(files)


@UNHURRIED
@given(st.text(alphabet="{}[]:,-&*!|>'\"%@`#?~ \n\tabn01e.", max_size=300))
def test_no_yaml_like_text_makes_the_loader_raise(text: str) -> None:
    _is_an_answer({"a.yaml": text})


@UNHURRIED
@given(st.data())
def test_no_mutation_of_the_example_makes_the_loader_raise(data: st.DataObject) -> None:
    text = example("hybrid")["policy.yaml"]
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        start = data.draw(st.integers(min_value=0, max_value=len(text)))
        end = data.draw(st.integers(min_value=start, max_value=min(len(text), start + 40)))
        patch = data.draw(
            st.sampled_from(
                [
                    "",
                    " ",
                    "\n",
                    "  ",
                    "x",
                    "{",
                    "}",
                    "[",
                    "]",
                    ": ",
                    "- ",
                    "---\n",
                    "null",
                    "1",
                    "no",
                    "&a ",
                    "*a",
                    "<<: *a",
                    '"',
                    "!!str ",
                ]
            )
            | st.text(max_size=5)
        )
        text = text[:start] + patch + text[end:]
    _is_an_answer({"policy.yaml": text})


JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["public", "onprem", "1s", "", "10%", "x" * 300]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "path", "models", "cluster", "tls", "feed", "key", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@UNHURRIED
@given(st.data())
def test_no_value_in_any_field_makes_the_loader_raise(data: st.DataObject) -> None:
    documents = list(yaml.safe_load_all(example("hybrid")["policy.yaml"]))
    spec = data.draw(st.sampled_from(documents))["spec"]
    spec[data.draw(st.sampled_from(sorted(spec)))] = data.draw(JSON_LIKE)
    _is_an_answer({"policy.yaml": yaml.safe_dump_all(documents)})


def _is_an_answer(files: dict[str, str]) -> None:
    loaded = load(files)
    assert (loaded.policy_set is None) == bool(loaded.errors)
    for problem in loaded.problems:
        lines = files.get(problem.file, "").replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        assert 0 <= problem.line <= lines + 1
        assert problem.message
        assert "\n" not in str(problem).removeprefix(problem.file)
