"""What is read from a vLLM server's metrics, and what is not taken for them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.demo.vllm_metrics import VllmMetrics
from penstock.signals.vllm_text import MetricsTextError, parse

PAGE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {odd} name"} 3.0
vllm:num_requests_running{engine="1",model_name="b"} 4.0
vllm:num_requests_waiting{engine="0",model_name="a {odd} name"} 2.0
vllm:prompt_tokens_total{engine="0",model_name="b"} 1.5e+06
vllm:generation_tokens_total 700 1700000000000
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="b"} 5.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="b"} 8.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.1",model_name="b"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="b"} 1.0
vllm:time_to_first_token_seconds_created{engine="0",model_name="b"} 1.7e+09
vllm:something_new{engine="0"} not-a-number
process_cpu_seconds_total 12.0
"""


def test_series_of_several_models_and_engine_cores_are_summed() -> None:
    figures = parse(PAGE)
    assert (figures.running, figures.waiting) == (7.0, 2.0)
    assert (figures.prompt_tokens, figures.output_tokens) == (1.5e6, 700.0)
    assert dict(figures.ttft) == {0.1: 6.0, math.inf: 9.0}


def test_the_demos_own_pages_are_understood() -> None:
    metrics = VllmMetrics("llama-3-70b")
    metrics.observe_start(queued=0.01, ttft=0.03, prompt_tokens=120)
    metrics.observe_finish(seconds=1.0, ttft=0.03, tokens=40, finished_reason="stop")
    figures = parse(metrics.render(running=1, waiting=2, kv_cache_usage=0.1).decode())
    assert (figures.running, figures.waiting, figures.prompt_tokens, figures.output_tokens) == (1, 2, 120, 40)
    assert figures.ttft[0.04] == 1
    assert figures.ttft[0.02] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no vllm:num_requests_running"),
        ("<html>404</html>", "no vllm:num_requests_running"),
        (PAGE.replace("vllm:prompt_tokens_total", "vllm:other"), "no vllm:prompt_tokens_total"),
        (PAGE.replace("} 3.0", "} NaN"), "not a figure"),
        (PAGE.replace("} 3.0", "} -1"), "not a figure"),
        (PAGE.replace("} 3.0", "} +Inf"), "not a figure"),
        (PAGE.replace("} 3.0", "} three"), "not a number"),
        (PAGE.replace("} 3.0", "}"), "not a number"),
        (PAGE.replace('le="0.1",', ""), "without a bound"),
    ],
)
def test_anything_else_is_refused_and_says_why(text: str, says: str) -> None:
    with pytest.raises(MetricsTextError, match=says):
        parse(text)


@given(st.text(alphabet='vllm:numrequestswaiting_{}="+-.0123456789eNaIf \n', max_size=300))
def test_arbitrary_text_never_raises_anything_else(text: str) -> None:
    try:
        parse(f"vllm:num_requests_running{text}")
    except MetricsTextError:
        return
