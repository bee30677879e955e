"""A gRPC client of its own process: calls through an `xds:///` target whenever it is told to, and says who answered.

It reads lines from standard input and answers each with one line of JSON: `{"answer": ...}` or `{"error": ...}`. gRPC
reads its xDS bootstrap once per process, from the environment, hence the process.
"""

import json
import sys

import grpc

METHOD = "/penstock.test.Backend/WhoAreYou"

# A call waits for its turn while the channel resolves; longer than any step of a test, shorter than the test.
_CALL_SECONDS = 30.0


def main() -> None:
    with grpc.insecure_channel(sys.argv[1]) as channel:
        call = channel.unary_unary(METHOD, None, None)
        for _line in sys.stdin:
            try:
                said = {"answer": call(b"", timeout=_CALL_SECONDS, wait_for_ready=True).decode()}
            except grpc.RpcError as error:
                said = {"error": str(error)}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
