"""A real Envoy that serves compiled resources with no control plane."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from penstock_envoy.compiler import Compiler
from penstock_envoy.process import EnvoyProcess
from penstock_envoy.residency import prove
from penstock_envoy.static import static_bootstrap
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet
from tests.envoy.backends import Backend, backend, refusing_port
from tests.envoy.fleet import GROUP, MODEL, decision, fleet

JSON = ("content-type", "application/json")


@dataclass(frozen=True)
class Reply:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error_code(self) -> str:
        """The ``code`` of an error in OpenAI's shape, which the reply is checked to have."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert self.headers["content-type"] == "application/json"
        return str(error["code"])


@dataclass
class StaticEdge:
    """A running Envoy and its backends."""

    policy: PolicySet
    envoy: EnvoyProcess
    backends: dict[str, Backend]

    def ask(
        self,
        listener: str,
        path: str = "/v1/chat/completions",
        *,
        body: bytes | None = b'{"model": "llama-3-70b"}',
        headers: Sequence[tuple[str, str | bytes]] = (JSON,),
        method: str = "POST",
    ) -> Reply:
        """One request on a connection of its own, the path sent exactly as given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.envoy.listener_port(listener), timeout=20)
        try:
            connection.putrequest(method, path)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def served_by(self, listener: str, *, data_class: str | None = None, model: str = MODEL) -> str:
        """The endpoint that served a request."""
        stated = [("x-data-class", data_class)] if data_class is not None else []
        reply = self.ask(listener, body=json.dumps({"model": model}).encode(), headers=[JSON, *stated])
        assert reply.status == 200, reply
        return str(reply.json["served_by"])


HOMES = {"onprem-fra": ("onprem-1", "onprem-2"), "cloud-eu-west": ("eu",), "cloud-us-east": ("us",)}
"""Each cluster's stub endpoints."""


@contextmanager
def static_edge(
    *,
    drained: Sequence[str] = (),
    favourite: str = "",
    refusing: Sequence[str] = (),
    unhealthy: Sequence[str] = (),
    affinity: str = "",
    weights: Mapping[str, int] | None = None,
    refusal: str = "",
) -> Iterator[StaticEdge]:
    """An Envoy before stub endpoints ``onprem-1``, ``onprem-2``, ``eu`` and ``us``.

    ``refusing`` endpoints refuse connections; ``unhealthy`` ones are told to Envoy as such.
    """
    with ExitStack() as stack:
        backends, ports = stack.enter_context(stub_endpoints(refusing))
        policy = fleet(addresses(ports), affinity=affinity)
        marked = {
            home: tuple(f"127.0.0.1:{ports[name]}" for name in names if name in unhealthy)
            for home, names in HOMES.items()
        }
        decided = decision(
            policy, drained=drained, favourite=favourite, unhealthy=marked, weights=weights, refusal=refusal
        )
        yield stack.enter_context(edge_before(policy, decided, backends))


@contextmanager
def stub_endpoints(refusing: Sequence[str] = ()) -> Iterator[tuple[dict[str, Backend], dict[str, int]]]:
    """The running endpoints, and the port of each of all."""
    with ExitStack() as stack:
        backends: dict[str, Backend] = {}
        ports: dict[str, int] = {}
        for name in (each for names in HOMES.values() for each in names):
            if name in refusing:
                ports[name] = stack.enter_context(refusing_port())
            else:
                backends[name] = stack.enter_context(backend(name))
                ports[name] = backends[name].port
        yield backends, ports


def addresses(ports: Mapping[str, int]) -> dict[str, list[tuple[str, int]]]:
    """Each cluster's endpoints on loopback."""
    return {home: [("127.0.0.1", ports[name]) for name in names] for home, names in HOMES.items()}


@contextmanager
def edge_before(policy: PolicySet, decided: Decision, backends: dict[str, Backend]) -> Iterator[StaticEdge]:
    """An Envoy with what is compiled of a decision, once it is proven."""
    resources = Compiler().compile(policy, decided, GROUP)
    prove(policy, resources, GROUP)
    bootstrap = static_bootstrap(resources, listener_ports=dict.fromkeys(policy.listeners, 0))
    with EnvoyProcess(bootstrap) as envoy:
        yield StaticEdge(policy, envoy, backends)
