"""A backend known by DNS name and spoken to by TLS, through a real Envoy."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from penstock_envoy.compiler import Compiler
from penstock_envoy.process import EnvoyProcess
from penstock_envoy.residency import prove
from penstock_envoy.static import static_bootstrap
from tests.envoy.backends import Backend, backend
from tests.envoy.edge_envoy import StaticEdge
from tests.envoy.fleet import decision, policy_set

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate"),
]


def certificate(directory: Path, name: str) -> Path:
    """A self-signed certificate for ``name``, with its key in the same file."""
    pem = directory / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(pem), "-out", f"{pem}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_bytes(pem.read_bytes() + Path(f"{pem}.crt").read_bytes())
    return pem


def served(stub: Backend, sni: str, trusted: Path) -> tuple[int, dict[str, str]]:
    """Status and backend's headers of a request to ``stub`` by the DNS name ``localhost``."""
    policy = policy_set(f"""
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: cloud}}
spec:
  site: cloud
  region: eu-west
  engine: openai
  models: [m]
  endpoints: [{{address: localhost, port: {stub.port}, tls: {{sni: {sni}, caFile: "{trusted}"}}}}]
  capacity: {{concurrency: 10}}
  cost: {{usdPerMillionTokens: 1.0}}
---
apiVersion: penstock/v1
kind: Listener
metadata: {{name: public}}
spec: {{address: 127.0.0.1, port: 10000, dataClass: public}}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {{name: edge}}
spec: {{match: {{cluster: edge}}, region: eu-west, listeners: [public]}}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {{name: chat}}
spec: {{dataClass: public, clusters: [cloud]}}
""")
    resources = Compiler().compile(policy, decision(policy), "edge")
    prove(policy, resources, "edge")
    with EnvoyProcess(static_bootstrap(resources, listener_ports={"public": 0})) as envoy:
        reply = StaticEdge(policy, envoy, {}).ask("public", body=b'{"model": "m"}')
    return reply.status, stub.seen[-1].headers if stub.seen else {}


def test_a_backend_with_the_right_certificate_is_asked_by_its_own_name(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "llm.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with backend("cloud", tls=context) as stub:
        status, headers = served(stub, "llm.test", Path(f"{pem}.crt"))
        assert status == 200
        assert headers["host"] == f"llm.test:{stub.port}"


def test_a_backend_with_another_name_in_its_certificate_is_sent_nothing(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "impostor.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with backend("cloud", tls=context) as stub:
        status, headers = served(stub, "llm.test", Path(f"{pem}.crt"))
        assert (status, headers) == (503, {})
