"""Metrics pages of every engine as their public documentation and sources show them, shortened to some buckets.

Each tells of the same load where the engine can tell it at all: 7 requests running, 2 waiting, 1500 prompt tokens read
and 700 generated, of ten first tokens four within 0.1 s.
"""

from pathlib import Path

RAY_2_60 = (Path(__file__).parent / "ray_2_60_metrics.txt").read_text()
"""Some of what a running Ray 2.60.0 served (`make test-engines`): an OpenAI-style application of an ingress and an
engine with four slots, seven streams in flight. It has no vLLM in it, so no tokens."""

RAY_2_60_VLLM = (Path(__file__).parent / "ray_2_60_vllm_metrics.txt").read_text()
"""The same of a vLLM 0.32.0 in a replica that takes seven requests, asked by fourteen: it works on four, three wait in
it and seven in Serve."""

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {odd} \\"name\\""} 3.0
vllm:num_requests_running{engine="1",model_name="b"} 4.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a {odd} \\"name\\""} 2.0
vllm:num_requests_waiting{engine="1",model_name="b"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="b",reason="capacity"} 2.0
# TYPE vllm:engine_sleep_state gauge
vllm:engine_sleep_state{engine="0",model_name="b",sleep_state="awake"} 1.0
vllm:engine_sleep_state{engine="0",model_name="b",sleep_state="weights_offloaded"} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="a {odd} \\"name\\""} 0.9
vllm:kv_cache_usage_perc{engine="1",model_name="b"} 0.1
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="b"} 1500.0
# TYPE vllm:prefix_cache_queries_created gauge
vllm:prefix_cache_queries_created{engine="0",model_name="b"} 1.7e+09
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="b"} 600.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="a {odd} \\"name\\""} 5e+02
vllm:prompt_tokens_total{engine="1",model_name="b"} 1000.0
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="1",model_name="b"} 700.0 1700000000000
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="b"} 3.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="1.0",model_name="b"} 8.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="b"} 9.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="b"} 9.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="b"} 4.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.1",model_name="b"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="1.0",model_name="b"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="b"} 1.0
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.025",model_name="b"} 600.0
vllm:inter_token_latency_seconds_bucket{engine="0",le="+Inf",model_name="b"} 690.0
process_cpu_seconds_total 12.0
"""

VLLM_OLD = (
    VLLM.replace("kv_cache_usage_perc", "gpu_cache_usage_perc")
    .replace("inter_token_latency_seconds", "time_per_output_token_seconds")
    .replace("vllm:prefix_cache", "vllm:gpu_prefix_cache")
    .replace("_total{", "{")
)

SGLANG = """\
# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="b",pp_rank="0",tp_rank="0"} 3.0
sglang:num_running_reqs{dp_rank="0",engine_type="unified",model_name="b",pp_rank="0",tp_rank="1"} 3.0
sglang:num_running_reqs{dp_rank="1",engine_type="unified",model_name="b",pp_rank="0",tp_rank="2"} 4.0
sglang:num_queue_reqs{dp_rank="0",engine_type="unified",model_name="b",pp_rank="0",tp_rank="0"} 2.0
sglang:num_queue_reqs{dp_rank="0",engine_type="unified",model_name="b",pp_rank="0",tp_rank="1"} 2.0
sglang:token_usage{dp_rank="0",engine_type="unified",model_name="b",pp_rank="0",tp_rank="0"} 0.5
sglang:cache_hit_rate{dp_rank="0",engine_type="unified",model_name="b",pp_rank="0",tp_rank="0"} 0.25
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="b"} 1500.0
# TYPE sglang:cached_tokens_total counter
sglang:cached_tokens_total{cache_source="device",model_name="b"} 500.0
sglang:cached_tokens_total{cache_source="host",model_name="b"} 100.0
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{model_name="b"} 700.0
# TYPE sglang:time_to_first_token_seconds histogram
sglang:time_to_first_token_seconds_sum{model_name="b"} 2.3
sglang:time_to_first_token_seconds_bucket{le="0.1",model_name="b"} 4.0
sglang:time_to_first_token_seconds_bucket{le="1.0",model_name="b"} 9.0
sglang:time_to_first_token_seconds_bucket{le="+Inf",model_name="b"} 10.0
sglang:time_to_first_token_seconds_count{model_name="b"} 10.0
# TYPE sglang:inter_token_latency_seconds histogram
sglang:inter_token_latency_seconds_bucket{le="0.025",model_name="b"} 600.0
sglang:inter_token_latency_seconds_bucket{le="+Inf",model_name="b"} 690.0
"""

_LABELS = '{engine_type="trtllm",model_name="b"}'
TRTLLM = f"""\
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{_LABELS} 7.0
trtllm_num_requests_waiting{_LABELS} 2.0
trtllm_kv_cache_hit_rate{_LABELS} 0.4
trtllm_kv_cache_reused_blocks_total{_LABELS} 600.0
trtllm_kv_cache_missed_blocks_total{_LABELS} 900.0
trtllm_kv_cache_utilization{_LABELS} 0.5
trtllm_prompt_tokens_total{_LABELS} 1500.0
trtllm_generation_tokens_total{_LABELS} 700.0
trtllm_request_success_total{{engine_type="trtllm",finished_reason="stop",model_name="b"}} 10.0
trtllm_time_to_first_token_seconds_bucket{{engine_type="trtllm",le="0.1",model_name="b"}} 4.0
trtllm_time_to_first_token_seconds_bucket{{engine_type="trtllm",le="1.0",model_name="b"}} 9.0
trtllm_time_to_first_token_seconds_bucket{{engine_type="trtllm",le="+Inf",model_name="b"}} 10.0
trtllm_time_per_output_token_seconds_bucket{{engine_type="trtllm",le="0.025",model_name="b"}} 600.0
trtllm_time_per_output_token_seconds_bucket{{engine_type="trtllm",le="+Inf",model_name="b"}} 690.0
"""

TRITON = """\
# HELP nv_trt_llm_request_metrics TRT LLM request metrics
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 7
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 9
# HELP nv_trt_llm_kv_cache_block_metrics TRT LLM KV cache block metrics
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 3120
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="free",model="tensorrt_llm",version="1"} 3120
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 6240
# TYPE nv_llm_input_token_len histogram
nv_llm_input_token_len_count{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1"} 10
nv_llm_input_token_len_sum{model="tensorrt_llm",response_metric_type="total_input_tokens",version="1"} 1500
# TYPE nv_llm_output_token_len histogram
nv_llm_output_token_len_count{model="tensorrt_llm",response_metric_type="total_output_tokens",version="1"} 10
nv_llm_output_token_len_sum{model="tensorrt_llm",response_metric_type="total_output_tokens",version="1"} 700
# TYPE nv_inference_first_response_histogram_ms histogram
nv_inference_first_response_histogram_ms_count{model="tensorrt_llm",version="1"} 10
nv_inference_first_response_histogram_ms_sum{model="tensorrt_llm",version="1"} 4200
nv_inference_first_response_histogram_ms_bucket{model="tensorrt_llm",version="1",le="100"} 4
nv_inference_first_response_histogram_ms_bucket{model="tensorrt_llm",version="1",le="1000"} 9
nv_inference_first_response_histogram_ms_bucket{model="tensorrt_llm",version="1",le="+Inf"} 10
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="preprocessing",version="1"} 10
"""

NIM = """\
# TYPE num_requests_running gauge
num_requests_running{model_name="b"} 7.0
num_requests_waiting{model_name="b"} 2.0
num_request_max{model_name="b"} 256.0
gpu_cache_usage_perc{model_name="b"} 0.5
prompt_tokens_total{model_name="b"} 1500.0
generation_tokens_total{model_name="b"} 700.0
time_to_first_token_seconds_bucket{le="0.1",model_name="b"} 4.0
time_to_first_token_seconds_bucket{le="1.0",model_name="b"} 9.0
time_to_first_token_seconds_bucket{le="+Inf",model_name="b"} 10.0
time_per_output_token_seconds_bucket{le="0.025",model_name="b"} 600.0
time_per_output_token_seconds_bucket{le="+Inf",model_name="b"} 690.0
python_gc_objects_collected_total{generation="0"} 700.0
"""

TGI = """\
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 7
# TYPE tgi_batch_current_max_tokens gauge
tgi_batch_current_max_tokens 8192
# TYPE tgi_queue_size gauge
tgi_queue_size 2
# TYPE tgi_request_input_length histogram
tgi_request_input_length_bucket{le="1000"} 10
tgi_request_input_length_bucket{le="+Inf"} 10
tgi_request_input_length_sum 1500
tgi_request_input_length_count 10
# TYPE tgi_request_generated_tokens histogram
tgi_request_generated_tokens_bucket{le="+Inf"} 10
tgi_request_generated_tokens_sum 700
tgi_request_generated_tokens_count 10
# TYPE tgi_request_mean_time_per_token_duration histogram
tgi_request_mean_time_per_token_duration_bucket{le="0.025"} 600
tgi_request_mean_time_per_token_duration_bucket{le="+Inf"} 690
"""

_NODE = 'NodeAddress="10.0.0.1",SessionName="session_1",WorkerId="w1"'
_REPLICA = f'ReplicaId="r1",engine="0",model_name="b",{_NODE}'
RAYSERVE = f"""\
# TYPE ray_node_cpu_utilization gauge
ray_node_cpu_utilization{{{_NODE}}} 12.5
# HELP ray_vllm_num_requests_running Number of requests in model execution batches.
# TYPE ray_vllm_num_requests_running gauge
ray_vllm_num_requests_running{{{_REPLICA}}} 7.0
ray_vllm_num_requests_waiting{{{_REPLICA}}} 1.0
ray_vllm_kv_cache_usage_perc{{{_REPLICA}}} 0.5
# TYPE ray_vllm_prompt_tokens gauge
ray_vllm_prompt_tokens{{{_REPLICA}}} 1500.0
# TYPE ray_vllm_prompt_tokens_total counter
ray_vllm_prompt_tokens_total{{{_REPLICA}}} 1500.0
ray_vllm_generation_tokens{{{_REPLICA}}} 700.0
ray_vllm_generation_tokens_total{{{_REPLICA}}} 700.0
ray_vllm_time_to_first_token_seconds_bucket{{{_REPLICA},le="0.1"}} 4.0
ray_vllm_time_to_first_token_seconds_bucket{{{_REPLICA},le="1.0"}} 9.0
ray_vllm_time_to_first_token_seconds_bucket{{{_REPLICA},le="+Inf"}} 10.0
ray_vllm_inter_token_latency_seconds_bucket{{{_REPLICA},le="0.025"}} 600.0
ray_vllm_inter_token_latency_seconds_bucket{{{_REPLICA},le="+Inf"}} 690.0
# TYPE ray_serve_deployment_queued_queries gauge
ray_serve_deployment_queued_queries{{application="llm",deployment="LLMServer",handle="h1",{_NODE}}} 1.0
ray_serve_deployment_queued_queries{{application="llm",deployment="OpenAiIngress",handle="h2",{_NODE}}} 0.0
# TYPE ray_serve_replica_processing_queries gauge
ray_serve_replica_processing_queries{{application="llm",deployment="LLMServer",replica="r1",{_NODE}}} 8.0
ray_serve_replica_processing_queries{{application="llm",deployment="OpenAiIngress",replica="r2",{_NODE}}} 9.0
ray_serve_deployment_replica_healthy{{application="llm",deployment="LLMServer",replica="r1",{_NODE}}} 1.0
"""

RAYSERVE_OLD = (
    RAYSERVE.replace("ray_vllm_", "ray_vllm:")
    .replace("kv_cache_usage_perc", "gpu_cache_usage_perc")
    .replace("inter_token_latency_seconds", "time_per_output_token_seconds")
)
