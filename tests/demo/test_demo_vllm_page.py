"""The simulator's metrics page is a real vLLM's, name for name and type for type."""

from pathlib import Path

from penstock.demo.vllm_metrics import VllmMetrics
from penstock.signals.engine_table import ADAPTERS
from penstock_policies.words import Engine
from tests.demo.metrics_shape import shape

RECORDING = Path(__file__).parent / "vllm_0_32_metrics.txt"


def recorded() -> list[str]:
    """The shape of the page of a real vLLM."""
    return [line for line in RECORDING.read_text().splitlines() if not line.startswith("#")]


def page(metrics: VllmMetrics) -> str:
    return metrics.render(running=3, waiting=2, kv_cache_usage=0.25).decode()


def test_the_simulator_serves_the_metrics_of_a_real_vllm_and_no_others() -> None:
    assert shape(page(VllmMetrics("m")), "vllm:") == recorded()


def test_what_was_served_changes_figures_and_no_names() -> None:
    metrics = VllmMetrics("m")
    metrics.observe_refusal()
    metrics.observe_start(queued=0.5, ttft=1.0, prompt_tokens=100)
    metrics.observe_finish(seconds=3.0, queued=0.5, ttft=1.0, prompt_tokens=100, tokens=21, finished_reason="length")
    text = page(metrics)
    assert shape(text, "vllm:") == recorded()
    labels = '{engine="0",model_name="m"}'
    for line in (
        f"vllm:prompt_tokens_total{labels} 100.0",
        f"vllm:generation_tokens_total{labels} 21.0",
        f"vllm:inter_token_latency_seconds_count{labels} 20.0",
        f"vllm:request_time_per_output_token_seconds_sum{labels} 0.1",
        f"vllm:request_decode_time_seconds_sum{labels} 2.0",
        'vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 1.0',
        'vllm:admission_rejections_total{model_name="m",reason="max_num_queued_reqs"} 1.0',
    ):
        assert line in text.splitlines()


def test_the_adapters_own_names_are_on_a_real_page() -> None:
    names = {line.split()[0] for line in recorded()}
    adapter = ADAPTERS[Engine.VLLM]
    figures = (
        adapter.running, adapter.waiting, adapter.prompt_tokens, adapter.output_tokens, adapter.prefix_hits,
        adapter.prefix_lookups, adapter.kv_used, adapter.ready,
    )  # fmt: skip
    for figure in figures:
        assert {series.name for series in figure[0]} <= names
    assert {adapter.ttft[0].name, adapter.inter_token[0].name} <= names
