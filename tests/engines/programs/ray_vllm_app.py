"""A vLLM in a replica of Ray Serve, as Ray's own LLM applications have it: its metrics are on the page of Ray's node.

A child process of the tests, run by the Python of ``.venv-engines/servers``; nothing imports it. Arguments: the port of
requests, the port of the node's metrics, a directory for Ray's own files, the requests that the engine works on at
once, the directory of the model, its name.
"""

import itertools
import signal
import sys

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

TOKENS = 1900


class Llm:
    """Generates so many tokens for everyone who asks."""

    def __init__(self, slots: int, directory: str, model: str) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - in the replica, not in the driver
        from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415
        from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger  # noqa: PLC0415

        arguments = AsyncEngineArgs(
            model=directory, served_model_name=model, load_format="dummy", dtype="float32", enforce_eager=True,
            max_model_len=2048, max_num_seqs=slots,
        )  # fmt: skip
        self._engine = AsyncLLM.from_engine_args(arguments, stat_loggers=[RayPrometheusStatLogger])
        self._numbers = itertools.count()

    async def __call__(self, request: Request) -> Response:
        """Generate, where that is asked."""
        from vllm import SamplingParams  # noqa: PLC0415

        if request.url.path == "/generate":
            wanted = SamplingParams(max_tokens=TOKENS, ignore_eos=True)
            async for _ in self._engine.generate("hello", wanted, request_id=str(next(self._numbers))):
                pass
        return Response()


def main() -> None:
    """Serve until told to end."""
    port, metrics_port, directory, slots, model_directory, model = sys.argv[1:]
    ray.init(
        num_cpus=2, include_dashboard=False, _metrics_export_port=int(metrics_port), _temp_dir=directory,
        object_store_memory=80 * 1024 * 1024, configure_logging=False,
    )  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    llm = serve.deployment(Llm, max_ongoing_requests=int(slots) + 2, ray_actor_options={"num_cpus": 0.1})
    serve.run(llm.bind(int(slots), model_directory, model), name="llm", route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


main()
