"""What is read from the metrics page of every engine, and what is not taken for it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from penstock.demo.vllm_metrics import VllmMetrics
from penstock.signals.engine_samples import samples
from penstock.signals.engine_table import ADAPTERS
from penstock.signals.engine_text import EngineTextError, parse
from penstock_policies.words import Engine
from tests.signals import engine_pages as pages

PAGES = [
    (Engine.VLLM, pages.VLLM),
    (Engine.VLLM, pages.VLLM_OLD),
    (Engine.SGLANG, pages.SGLANG),
    (Engine.TRTLLM, pages.TRTLLM),
    (Engine.TRTLLM, pages.TRTLLM.replace("trtllm_", "trtllm:")),
    (Engine.TRITON, pages.TRITON),
    (Engine.NIM, pages.NIM),
    (Engine.NIM, pages.VLLM),
    (Engine.TGI, pages.TGI),
    (Engine.RAYSERVE, pages.RAYSERVE),
    (Engine.RAYSERVE, pages.RAYSERVE_OLD),
]
KV: dict[Engine, float] = {engine: 0.5 for engine in ADAPTERS if engine is not Engine.TGI}
PREFIX = {Engine.VLLM: (600.0, 1500.0), Engine.SGLANG: (600.0, 1500.0), Engine.TRTLLM: (600.0, 1500.0)}
TTFT = {0.1: 4.0, 1.0: 9.0, math.inf: 10.0}
INTER_TOKEN = {0.025: 600.0, math.inf: 690.0}


@pytest.mark.parametrize(("engine", "text"), PAGES)
def test_every_engine_tells_the_same_in_its_own_words(engine: Engine, text: str) -> None:
    figures = parse(text, engine)
    assert (figures.running, figures.waiting) == (7.0, 2.0)
    assert (figures.prompt_tokens, figures.output_tokens) == (1500.0, 700.0)
    assert figures.kv_used == KV.get(engine)
    assert figures.ttft == (None if engine is Engine.TGI else TTFT)
    assert figures.inter_token == (None if engine is Engine.TRITON else INTER_TOKEN)
    if engine in PREFIX:
        assert (figures.prefix_hits, figures.prefix_lookups) == PREFIX[engine]


def test_models_versions_and_readiness_are_told_where_the_page_tells_them() -> None:
    vllm = parse(pages.VLLM, Engine.VLLM)
    assert (vllm.models, vllm.revision, vllm.ready) == (('a {odd} "name"', "b"), None, True)
    asleep = pages.VLLM.replace('"awake"} 1.0', '"awake"} 0.0')
    assert parse(asleep, Engine.VLLM).ready is False
    triton = parse(pages.TRITON, Engine.TRITON)
    assert (triton.models, triton.revision, triton.ready) == (("tensorrt_llm",), "1", None)
    assert parse(pages.RAYSERVE, Engine.RAYSERVE).ready is True


def test_engines_that_serve_no_metrics_have_no_row() -> None:
    assert set(Engine) - set(ADAPTERS) == {Engine.OLLAMA, Engine.OPENAI}


@pytest.mark.parametrize("engine", ADAPTERS)
@pytest.mark.parametrize("text", ["", "<html>404</html>", '{"iterLatencyMS": 3.1}', "process_cpu_seconds_total 12.0\n"])
def test_a_page_of_something_else_is_refused(engine: Engine, text: str) -> None:
    with pytest.raises(EngineTextError, match=f"no figure of {engine}"):
        parse(text, engine)


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1e16", "three", "1_0", "", "9" * 50])
def test_an_absurd_value_makes_its_figure_unknown_and_no_other(value: str) -> None:
    broken = pages.VLLM.replace('model_name="b"} 4.0', f'model_name="b"}} {value}')
    figures = parse(broken, Engine.VLLM)
    assert figures.running is None
    assert (figures.waiting, figures.output_tokens, figures.ttft) == (2.0, 700.0, TTFT)


def test_a_missing_figure_is_unknown_and_never_nothing() -> None:
    bare = "\n".join(line for line in pages.VLLM.split("\n") if "num_requests_running" in line)
    figures = parse(bare, Engine.VLLM)
    assert figures.running == 7.0
    assert (figures.waiting, figures.prompt_tokens, figures.kv_used, figures.ttft) == (None, None, None, None)
    early = "\n".join(line for line in pages.TRTLLM.split("\n") if "first_token" in line)
    assert parse(early, Engine.TRTLLM).ttft == TTFT


def test_a_share_above_one_is_no_share() -> None:
    assert parse(pages.NIM.replace("} 0.5", "} 73.0"), Engine.NIM).kv_used is None


def test_an_older_triton_tells_its_cache_by_blocks_and_no_queue() -> None:
    old = "\n".join(line for line in pages.TRITON.split("\n") if "fraction" not in line and "waiting" not in line)
    figures = parse(old, Engine.TRITON)
    assert (figures.kv_used, figures.running, figures.waiting) == (0.5, 7.0, None)


def test_ray_serve_without_an_engines_metrics_tells_of_its_own_queues_and_counts_a_request_once() -> None:
    plain = "\n".join(line for line in pages.RAYSERVE.split("\n") if "vllm" not in line)
    figures = parse(plain, Engine.RAYSERVE)
    assert (figures.running, figures.waiting, figures.prompt_tokens) == (8.0, 1.0, None)


def test_what_waits_for_one_deployment_of_ray_serve_is_not_at_work_in_the_one_that_called_it() -> None:
    figures = parse(pages.RAY_2_60, Engine.RAYSERVE)
    assert (figures.running, figures.waiting, figures.ready) == (4.0, 3.0, True)
    line = next(line for line in pages.RAY_2_60.split("\n") if line.startswith("ray_serve_deployment_queued_queries{"))
    assert 'deployment="Ingress"' in line
    figures = parse(pages.RAY_2_60.replace(line, line[: line.rindex(" ")] + " 5.0"), Engine.RAYSERVE)
    assert (figures.running, figures.waiting) == (4.0, 8.0)


def test_a_vllm_in_ray_serve_has_a_queue_of_its_own_before_which_serves_is() -> None:
    figures = parse(pages.RAY_2_60_VLLM, Engine.RAYSERVE)
    assert (figures.running, figures.waiting) == (4.0, 10.0)
    assert (figures.prompt_tokens, figures.output_tokens, figures.models) == (44.0, 4752.0, ("tiny-llama",))
    assert figures.ttft is not None
    assert figures.inter_token is not None
    assert (figures.ttft[0.02], figures.ttft[0.04], figures.inter_token[math.inf]) == (0.0, 4.0, 4748.0)


def test_a_queue_of_ray_serve_that_makes_no_sense_leaves_what_runs_unknown() -> None:
    line = next(line for line in pages.RAY_2_60.split("\n") if line.startswith("ray_serve_deployment_queued_queries{"))
    figures = parse(pages.RAY_2_60.replace(line, line[: line.rindex(" ")] + " NaN"), Engine.RAYSERVE)
    assert (figures.running, figures.waiting) == (None, None)


@pytest.mark.parametrize(
    "broken",
    [
        "\n".join(line for line in pages.SGLANG.split("\n") if "first_token_seconds_bucket" not in line),
        "\n".join(line for line in pages.SGLANG.split("\n") if 'token_seconds_bucket{le="+Inf' not in line),
        pages.SGLANG.replace('le="0.1",', ""),
        pages.SGLANG.replace('le="0.1"', 'le="NaN"'),
        pages.SGLANG.replace('le="1.0",model_name="b"} 9.0', 'le="1.0",model_name="b"} 3.0'),
        pages.SGLANG.replace('le="1.0",model_name="b"} 9.0', 'le="1.0",model_name="b"} NaN'),
    ],
)
def test_a_histogram_without_sound_buckets_is_unknown(broken: str) -> None:
    figures = parse(broken, Engine.SGLANG)
    assert figures.ttft is None
    assert figures.running == 7.0


def test_histograms_of_different_bounds_are_added_where_they_agree() -> None:
    other = pages.VLLM.replace('{engine="1",le="1.0"', '{engine="1",le="2.0"')
    assert parse(other, Engine.VLLM).ttft == {0.1: 4.0, math.inf: 10.0}


def test_thousands_of_foreign_series_change_nothing() -> None:
    foreign = "".join(f'ray_node_disk_usage{{device="d{index}"}} NaN\n' for index in range(20_000))
    assert parse(foreign + pages.RAYSERVE + foreign, Engine.RAYSERVE) == parse(pages.RAYSERVE, Engine.RAYSERVE)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("rest", [" ", "{a", '{a="', '{a="\\', "{" + "a" * 100, '{a="b",', "9", "{ ", '{a="b"} '])
def test_a_hostile_line_costs_no_more_than_its_length(rest: str) -> None:
    line = "vllm:num_requests_running" + rest * (1_000_000 // len(rest))
    assert parse(f"{line}\nvllm:num_requests_waiting 1\n", Engine.VLLM).running is None


def test_the_demos_own_pages_are_understood() -> None:
    metrics = VllmMetrics("llama-3-70b")
    metrics.observe_start(queued=0.01, ttft=0.03, prompt_tokens=120)
    metrics.observe_finish(seconds=1.0, queued=0.01, ttft=0.03, prompt_tokens=120, tokens=40, finished_reason="stop")
    figures = parse(metrics.render(running=1, waiting=2, kv_cache_usage=0.1).decode(), Engine.VLLM)
    assert (figures.running, figures.waiting, figures.prompt_tokens, figures.output_tokens) == (1, 2, 120, 40)
    assert figures.kv_used == 0.1
    assert figures.ttft is not None
    assert (figures.ttft[0.02], figures.ttft[0.04]) == (0, 1)


@pytest.mark.parametrize("text", sorted({text for _, text in PAGES}))
def test_samples_are_those_that_the_prometheus_clients_own_parser_finds(text: str) -> None:
    theirs: dict[str, list[tuple[dict[str, str], float]]] = {}
    untyped = "\n".join(line for line in text.split("\n") if not line.startswith("#")) + "\n"
    for family in text_string_to_metric_families(untyped):
        for sample in family.samples:
            theirs.setdefault(sample.name, []).append((sample.labels, sample.value))
    ours = samples(text, theirs)
    assert {name: [(dict(each.labels), each.value) for each in found] for name, found in ours.items()} == theirs


def test_openmetrics_with_exemplars_are_read_as_the_prometheus_client_reads_them() -> None:
    text = """\
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{model_name="b"} 1500.0 1700000000.5
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="0.1"} 4.0 # {trace_id="a}b"} 0.05 1700000000.0
vllm:time_to_first_token_seconds_bucket{le="+Inf"} 10.0
vllm:time_to_first_token_seconds_count 10.0
vllm:time_to_first_token_seconds_sum 4.0
# EOF
"""
    figures = parse(text, Engine.VLLM)
    assert (figures.prompt_tokens, figures.ttft) == (1500.0, {0.1: 4.0, math.inf: 10.0})
    theirs = {
        sample.labels["le"]: sample.value
        for family in openmetrics_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if "le" in sample.labels
    }
    assert list(theirs.values()) == [4.0, 10.0]


@given(st.text(alphabet='vllm:numrequestswaiting_{}="\\+-.0123456789eNaIf#, \n\r', max_size=300))
def test_arbitrary_text_never_raises_anything_else(text: str) -> None:
    for beginning in ("vllm:num_requests_running", "vllm:time_to_first_token_seconds_bucket{"):
        try:
            parse(f"{beginning}{text}", Engine.VLLM)
        except EngineTextError:
            continue
