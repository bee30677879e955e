"""Which metrics of which engine mean what: one row per engine. All that differs between engines stands here.

Every figure has alternatives, newest name first, and the first that the page has counts, so that a page that has an old
and a new name for one thing (as Ray's has, with and without ``_total``) is not counted twice. An alternative is one
series or several to be added up. Counters are looked for with ``_total`` and without: servers and exporters differ.

Sources, looked up in November 2026; [M] marks what is from memory alone:

* vLLM: a running 0.32.0; for older names ``docs/design/metrics.md``, ``docs/usage/metrics.md`` and
  ``vllm/v1/metrics/loggers.py``.
* SGLang: ``python/sglang/srt/metrics/collector.py``, ``docs/references/production_metrics.md``. The page is there only
  with ``--enable-metrics``. With ``--enable-metrics-for-all-schedulers`` every rank of a parallel group tells the same.
* TensorRT-LLM, ``trtllm-serve``: ``tensorrt_llm/metrics/collector.py``, ``examples/serve/prometheus_metrics.py`` (the
  path). ``trtllm:`` instead of ``trtllm_``: pages passed through older NVIDIA Dynamo (``docs/backends/trtllm``).
* Triton: ``tensorrtllm_backend/README.md`` (port 8002, ``nv_trt_llm_*``), ``custom_metrics_reporter.cc``
  (``nv_llm_*_token_len``), Gateway API Inference Extension's table of model servers (``waiting``, ``fraction``),
  ``qa/L0_metrics`` of triton-inference-server (``nv_inference_first_response_histogram_ms``: milliseconds, to the first
  response of a streaming model, and only with ``--metrics-config histogram_latencies=true``). Its vLLM backend passes
  vLLM's own names on [M].
* NIM: docs.nvidia.com/nim/large-language-models/latest/observability.html. NIM 2 runs vLLM (its reference says so) and
  passes vLLM's own names on [M].
* TGI: huggingface.co/docs/text-generation-inference/reference/metrics and ``router/src/infer``. It has no time to the
  first token, and its tokens are the sums of two histograms.
* Ray Serve: ``vllm/v1/metrics/ray_wrappers.py`` (``:`` becomes ``_``), Ray's ``serve_llm_dashboard_panels.py`` (both
  spellings, by age), ``doc/source/serve/monitoring.md``; Serve's own metrics as a running Ray 2.60.0 has them. A node's
  page has the replicas of that node, and Ray renews it every 10 s. Port 8080: KubeRay's default and that of Ray's
  documentation; ``ray start --metrics-export-port`` sets it.

Ollama and plain OpenAI endpoints serve no such page: they have no row, are not asked, and are judged by what Envoy
measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from penstock_policies.words import Engine


@dataclass(frozen=True, slots=True)
class Series:
    """A metric, or those of its series that carry a label. Of several series the figure says how they become one."""

    name: str
    where: tuple[str, str] | None = None
    """Label and value."""
    greatest_by: str | None = None
    """A label: the sum of its greatest value counts. A request to an application of several Ray Serve deployments is
    at work in each of them."""
    queue: str | None = None
    """With ``greatest_by``, a metric with the same label: from each value's sum is taken what waits for the other
    values. A request that waits for one Ray Serve deployment is at work in those that called it."""


Sums = tuple[tuple[Series, ...], ...]
"""Alternatives; within one, series to be added up."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A histogram by its family name."""

    name: str
    scale: float = 1.0
    """Seconds in its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One engine's row. What it has not is an empty tuple."""

    path: str = "/metrics"
    port: int | None = None
    """The page's port where it is not the one requests go to."""
    running: Sums = ()
    waiting: Sums = ()
    prompt_tokens: Sums = ()
    output_tokens: Sums = ()
    prefix_hits: Sums = ()
    prefix_lookups: Sums = ()
    prefix_hit_rate: Sums = ()
    kv_used: Sums = ()
    kv_blocks_used: Sums = ()
    """With ``kv_blocks``, for pages that have no ``kv_used``."""
    kv_blocks: Sums = ()
    ready: Sums = ()
    ttft: tuple[Timing, ...] = ()
    inter_token: tuple[Timing, ...] = ()
    model: str = "model_name"
    """The label that names the model."""
    revision: str | None = None
    """The label that tells the model's version."""
    copies: frozenset[str] = field(default_factory=frozenset)
    """Labels whose values tell the same thing once more: of such series the greatest counts, not the sum."""


def _one(*names: str) -> Sums:
    return tuple((Series(name),) for name in names)


def _counter(*names: str) -> Sums:
    return tuple((Series(name + suffix),) for name in names for suffix in ("_total", ""))


def _timings(*names: str) -> tuple[Timing, ...]:
    return tuple(Timing(name) for name in names)


def _vllm(*prefixes: str) -> dict[str, Any]:
    """VLLM's names, as its own page has them or as another server passes them on."""

    def under(*names: str) -> list[str]:
        return [prefix + name for prefix in prefixes for name in names]

    return {
        "running": _one(*under("num_requests_running")),
        "waiting": _one(*under("num_requests_waiting")),
        "prompt_tokens": _counter(*under("prompt_tokens")),
        "output_tokens": _counter(*under("generation_tokens")),
        "prefix_hits": _counter(*under("prefix_cache_hits", "gpu_prefix_cache_hits")),
        "prefix_lookups": _counter(*under("prefix_cache_queries", "gpu_prefix_cache_queries")),
        "prefix_hit_rate": _one(*under("gpu_prefix_cache_hit_rate")),
        "kv_used": _one(*under("kv_cache_usage_perc", "gpu_cache_usage_perc")),
        "ready": tuple((Series(name, ("sleep_state", "awake")),) for name in under("engine_sleep_state")),
        "ttft": _timings(*under("time_to_first_token_seconds")),
        "inter_token": _timings(*under("inter_token_latency_seconds", "time_per_output_token_seconds")),
    }


_RAY_VLLM: Final = _vllm("ray_vllm_", "ray_vllm:")
_QUEUED: Final = Series("ray_serve_deployment_queued_queries")
"""Requests that wait for a replica to have room: these are not in an engine's queue yet."""
_PROCESSING: Final = Series("ray_serve_replica_processing_queries", greatest_by="deployment", queue=_QUEUED.name)


def _trtllm(*prefixes: str) -> Adapter:
    def under(*names: str) -> list[str]:
        return [prefix + name for prefix in prefixes for name in names]

    def blocks(suffix: str) -> Sums:
        kinds = ("reused", "missed")
        return tuple(tuple(Series(f"{prefix}kv_cache_{kind}_blocks{suffix}") for kind in kinds) for prefix in prefixes)

    return Adapter(
        path="/prometheus/metrics",
        running=_one(*under("num_requests_running")),
        waiting=_one(*under("num_requests_waiting")),
        prompt_tokens=_counter(*under("prompt_tokens")),
        output_tokens=_counter(*under("generation_tokens")),
        prefix_hits=_counter(*under("kv_cache_reused_blocks")),
        prefix_lookups=blocks("_total") + blocks(""),
        prefix_hit_rate=_one(*under("kv_cache_hit_rate")),
        kv_used=_one(*under("kv_cache_utilization")),
        kv_blocks_used=_one(*under("kv_cache_used_blocks")),
        kv_blocks=_one(*under("kv_cache_max_blocks")),
        ttft=_timings(*under("time_to_first_token_seconds")),
        inter_token=_timings(*under("time_per_output_token_seconds")),
    )


def _triton() -> Adapter:
    behind = _vllm("vllm:")

    def requests(kind: str) -> Sums:
        return ((Series("nv_trt_llm_request_metrics", ("request_type", kind)),),)

    def cache(kind: str) -> Sums:
        return ((Series("nv_trt_llm_kv_cache_block_metrics", ("kv_cache_block_type", kind)),),)

    return Adapter(
        port=8002,
        running=requests("scheduled") + behind["running"],
        waiting=requests("waiting") + behind["waiting"],
        prompt_tokens=_one("nv_llm_input_token_len_sum") + behind["prompt_tokens"],
        output_tokens=_one("nv_llm_output_token_len_sum") + behind["output_tokens"],
        kv_used=cache("fraction") + behind["kv_used"],
        kv_blocks_used=cache("used"),
        kv_blocks=cache("max"),
        ttft=(Timing("nv_inference_first_response_histogram_ms", 0.001), *behind["ttft"]),
        inter_token=behind["inter_token"],
        model="model",
        revision="version",
    )


def _sglang() -> Adapter:
    prompts = _counter("sglang:prompt_tokens")
    return Adapter(
        running=_one("sglang:num_running_reqs"),
        waiting=_one("sglang:num_queue_reqs"),
        prompt_tokens=prompts,
        output_tokens=_counter("sglang:generation_tokens"),
        prefix_hits=_counter("sglang:cached_tokens"),
        prefix_lookups=prompts,
        prefix_hit_rate=_one("sglang:cache_hit_rate"),
        kv_used=_one("sglang:token_usage"),
        ttft=_timings("sglang:time_to_first_token_seconds"),
        inter_token=_timings("sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"),
        copies=frozenset({"tp_rank", "pp_rank", "moe_ep_rank"}),
    )


ADAPTERS: Final[Mapping[Engine, Adapter]] = MappingProxyType(
    {
        Engine.VLLM: Adapter(**_vllm("vllm:")),
        Engine.SGLANG: _sglang(),
        Engine.TRTLLM: _trtllm("trtllm_", "trtllm:"),
        Engine.TRITON: _triton(),
        Engine.NIM: Adapter(path="/v1/metrics", **_vllm("", "vllm:")),
        Engine.TGI: Adapter(
            running=_one("tgi_batch_current_size"),
            waiting=_one("tgi_queue_size"),
            prompt_tokens=_one("tgi_request_input_length_sum"),
            output_tokens=_one("tgi_request_generated_tokens_sum"),
            inter_token=_timings("tgi_request_mean_time_per_token_duration"),
        ),
        Engine.RAYSERVE: Adapter(
            **_RAY_VLLM
            | {
                "port": 8080,
                "running": _RAY_VLLM["running"] + ((_PROCESSING,),),
                "waiting": (
                    *((*engine, _QUEUED) for engine in _RAY_VLLM["waiting"]),
                    *_RAY_VLLM["waiting"],
                    (_QUEUED,),
                ),
                "ready": _one("ray_serve_deployment_replica_healthy"),
            }
        ),
    }
)
"""Engine to its row."""
