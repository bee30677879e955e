"""The metrics of a simulated endpoint under vLLM's names and types, so that scrapers cannot tell the difference.

Names, labels and buckets follow vLLM's ``docs/design/metrics.md`` and ``vllm/v1/metrics/loggers.py``.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LABELS = ("model_name", "engine")
_TTFT_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0)
_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0)
_REQUEST_BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0)


class VllmMetrics:
    """One engine's metrics in a registry of their own: several endpoints can share a process."""

    def __init__(self, model: str) -> None:
        self._registry = CollectorRegistry()
        self._labels = {"model_name": model, "engine": "0"}
        self._running = self._gauge("vllm:num_requests_running", "Number of requests in model execution batches.")
        self._waiting = self._gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.")
        self._cache = self._gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self._prompt = self._counter("vllm:prompt_tokens", "Number of prefill tokens processed.")
        self._generated = self._counter("vllm:generation_tokens", "Number of generation tokens processed.")
        self._success = Counter(
            "vllm:request_success",
            "Count of successfully processed requests.",
            (*_LABELS, "finished_reason"),
            registry=self._registry,
        )
        self._ttft = self._histogram(
            "vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", _TTFT_BUCKETS
        )
        self._queue = self._histogram(
            "vllm:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", _REQUEST_BUCKETS
        )
        self._inter_token = self._histogram(
            "vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", _TOKEN_BUCKETS
        )
        self._e2e = self._histogram(
            "vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", _REQUEST_BUCKETS
        )

    def observe_start(self, *, queued: float, ttft: float, prompt_tokens: int) -> None:
        """The first token of a request is out. Times in seconds since it was submitted."""
        self._queue.observe(queued)
        self._ttft.observe(ttft)
        self._prompt.inc(prompt_tokens)

    def observe_finish(self, *, seconds: float, ttft: float, tokens: int, finished_reason: str) -> None:
        """The last token of a request is out."""
        self._e2e.observe(seconds)
        self._generated.inc(tokens)
        if tokens > 1:
            self._inter_token.observe((seconds - ttft) / (tokens - 1))
        self._success.labels(**self._labels, finished_reason=finished_reason).inc()

    def render(self, *, running: int, waiting: int, kv_cache_usage: float) -> bytes:
        """The Prometheus text of this moment."""
        self._running.set(running)
        self._waiting.set(waiting)
        self._cache.set(kv_cache_usage)
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, _LABELS, registry=self._registry).labels(**self._labels)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, _LABELS, registry=self._registry).labels(**self._labels)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, _LABELS, registry=self._registry, buckets=buckets).labels(**self._labels)
