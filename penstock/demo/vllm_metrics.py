"""The metrics of a simulated endpoint: vLLM 0.32's page, so that scrapers cannot tell the difference.

Every metric that a real vLLM 0.32.0 was seen to serve is here under its name, type, labels and buckets; tests compare
both pages, and ``make test-engines`` the real one with its recording. What a simulator has none of (preemptions, a
prefix cache, floating point) stays at 0.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from penstock.demo.openai_wire import MAX_OUTPUT_TOKENS

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""What vLLM says its page is: whatever its version of the same library writes."""

_ENGINE = ("model_name", "engine")

_GAUGES: Final[Mapping[str, str]] = {
    "num_requests_running": "Number of requests in model execution batches.",
    "num_requests_waiting": "Number of requests waiting to be processed.",
    "kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
}
_COUNTERS: Final[Mapping[str, str]] = {
    "estimated_flops_per_gpu": "Estimated number of floating point operations per GPU.",
    "estimated_read_bytes_per_gpu": "Estimated number of bytes read from memory per GPU.",
    "estimated_write_bytes_per_gpu": "Estimated number of bytes written to memory per GPU.",
    "prefix_cache_queries": "Prefix cache queries, in terms of number of queried tokens.",
    "prefix_cache_hits": "Prefix cache hits, in terms of number of cached tokens.",
    "external_prefix_cache_queries": "External prefix cache queries, in terms of number of queried tokens.",
    "external_prefix_cache_hits": "External prefix cache hits, in terms of number of cached tokens.",
    "mm_cache_queries": "Multi-modal cache queries, in terms of number of queried items.",
    "mm_cache_hits": "Multi-modal cache hits, in terms of number of cached items.",
    "num_preemptions": "Cumulative number of preemption from the engine.",
    "prompt_tokens": "Number of prefill tokens processed.",
    "prompt_tokens_cached": "Number of cached prompt tokens (local + external).",
    "generation_tokens": "Number of generation tokens processed.",
}
_SPLIT_GAUGES: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "num_requests_waiting_by_reason": ("Number of waiting requests by reason.", "reason", ("capacity", "deferred")),
    "engine_sleep_state": ("Engine sleep state.", "sleep_state", ("awake", "weights_offloaded", "discard_all")),
}
_SPLIT_COUNTERS: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "prompt_tokens_by_source": (
        "Number of prompt tokens by source.",
        "source",
        ("local_compute", "local_cache_hit", "external_kv_transfer"),
    ),
    "prompt_tokens_cached_by_source": (
        "Prefix-cache hit tokens by the cache tier that supplied them.",
        "source",
        ("device", "host", "p2p", "disk", "external_unspecified"),
    ),
    "request_success": (
        "Count of successfully processed requests.",
        "finished_reason",
        ("stop", "length", "abort", "error", "repetition"),
    ),
}
_REFUSALS = ("max_num_queued_reqs", "max_num_queued_tokens")

_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
          160.0, 640.0, 2560.0)  # fmt: skip
_NEXT = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_REQUEST = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
            960.0, 1920.0, 7680.0)  # fmt: skip
_TOKENS = tuple(
    float(digit * 10**power) for power in range(5) for digit in (1, 2, 5) if digit * 10**power <= MAX_OUTPUT_TOKENS
)
_HISTOGRAMS: Final[Mapping[str, tuple[str, Sequence[float]]]] = {
    "request_prompt_tokens": ("Number of prefill tokens processed.", _TOKENS),
    "request_generation_tokens": ("Number of generation tokens processed.", _TOKENS),
    "iteration_tokens_total": (
        "Histogram of number of tokens per engine_step.",
        (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    ),
    "request_max_num_generation_tokens": ("Histogram of maximum number of requested generation tokens.", _TOKENS),
    "request_params_n": ("Histogram of the n request parameter.", (1, 2, 5, 10, 20)),
    "request_params_max_tokens": ("Histogram of the max_tokens request parameter.", _TOKENS),
    "time_to_first_token_seconds": ("Histogram of time to first token in seconds.", _FIRST),
    "inter_token_latency_seconds": ("Histogram of inter-token latency in seconds.", _NEXT),
    "request_time_per_output_token_seconds": ("Histogram of time_per_output_token_seconds per request.", _NEXT),
    "e2e_request_latency_seconds": ("Histogram of e2e request latency in seconds.", _REQUEST),
    "request_queue_time_seconds": ("Histogram of time spent in WAITING phase for request.", _REQUEST),
    "request_inference_time_seconds": ("Histogram of time spent in RUNNING phase for request.", _REQUEST),
    "request_prefill_time_seconds": ("Histogram of time spent in PREFILL phase for request.", _REQUEST),
    "request_decode_time_seconds": ("Histogram of time spent in DECODE phase for request.", _REQUEST),
    "request_num_preemptions": ("Histogram of the number of times a request was preempted.", (1, 2, 3, 4, 5, 10, 20)),
    "request_prefill_kv_computed_tokens": ("Histogram of new KV tokens computed during prefill.", _TOKENS),
}


class VllmMetrics:
    """One engine's metrics in a registry of their own: several endpoints can share a process."""

    def __init__(self, model: str) -> None:
        self._registry = CollectorRegistry()
        self._engine = {"model_name": model, "engine": "0"}
        self._gauges = {name: self._gauge(name, text).labels(**self._engine) for name, text in _GAUGES.items()}
        self._counters = {name: self._counter(name, text).labels(**self._engine) for name, text in _COUNTERS.items()}
        self._histograms = {
            name: Histogram(f"vllm:{name}", text, _ENGINE, registry=self._registry, buckets=buckets).labels(
                **self._engine
            )
            for name, (text, buckets) in _HISTOGRAMS.items()
        }
        self._split_gauges = {
            (name, value): family.labels(**self._engine, **{label: value})
            for name, (text, label, values) in _SPLIT_GAUGES.items()
            for family in (self._gauge(name, text, (*_ENGINE, label)),)
            for value in values
        }
        self._split_counters = {
            (name, value): family.labels(**self._engine, **{label: value})
            for name, (text, label, values) in _SPLIT_COUNTERS.items()
            for family in (self._counter(name, text, (*_ENGINE, label)),)
            for value in values
        }
        refused = self._counter(
            "admission_rejections",
            "Number of admission attempts rejected by a queue limit, by reason.",
            ("model_name", "reason"),
        )
        self._refused = {reason: refused.labels(model_name=model, reason=reason) for reason in _REFUSALS}
        self._split_gauges["engine_sleep_state", "awake"].set(1)
        config = self._gauge("cache_config_info", "Information of the LLMEngine CacheConfig", ("engine", "block_size"))
        config.labels(engine="0", block_size="16").set(1)

    def observe_refusal(self) -> None:
        """Count a request turned away because the queue is full."""
        self._refused["max_num_queued_reqs"].inc()

    def observe_start(self, *, queued: float, ttft: float, prompt_tokens: int) -> None:
        """The first token of a request is out. Times in seconds since it was submitted."""
        self._observe(
            request_queue_time_seconds=queued,
            request_prefill_time_seconds=ttft - queued,
            time_to_first_token_seconds=ttft,
        )
        self._counters["prompt_tokens"].inc(prompt_tokens)
        self._counters["prefix_cache_queries"].inc(prompt_tokens)
        self._split_counters["prompt_tokens_by_source", "local_compute"].inc(prompt_tokens)

    def observe_finish(
        self, *, seconds: float, queued: float, ttft: float, prompt_tokens: int, tokens: int, finished_reason: str
    ) -> None:
        """The last token of a request is out. Times in seconds since it was submitted."""
        self._observe(
            e2e_request_latency_seconds=seconds,
            request_inference_time_seconds=seconds - queued,
            request_decode_time_seconds=seconds - ttft,
            request_prompt_tokens=prompt_tokens,
            request_prefill_kv_computed_tokens=prompt_tokens,
            request_generation_tokens=tokens,
            request_max_num_generation_tokens=tokens,
            request_params_max_tokens=tokens,
            request_params_n=1,
            request_num_preemptions=0,
        )
        self._counters["generation_tokens"].inc(tokens)
        if tokens > 1:
            mean = (seconds - ttft) / (tokens - 1)
            self._observe(request_time_per_output_token_seconds=mean)
            for _ in range(tokens - 1):
                self._observe(inter_token_latency_seconds=mean)
        self._split_counters["request_success", finished_reason].inc()

    def render(self, *, running: int, waiting: int, kv_cache_usage: float) -> bytes:
        """The Prometheus text of this moment."""
        self._gauges["num_requests_running"].set(running)
        self._gauges["num_requests_waiting"].set(waiting)
        self._split_gauges["num_requests_waiting_by_reason", "capacity"].set(waiting)
        self._gauges["kv_cache_usage_perc"].set(kv_cache_usage)
        return generate_latest(self._registry)

    def _observe(self, **values: float) -> None:
        for name, value in values.items():
            self._histograms[name].observe(value)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = _ENGINE) -> Gauge:
        return Gauge(f"vllm:{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = _ENGINE) -> Counter:
        return Counter(f"vllm:{name}", text, labels, registry=self._registry)
