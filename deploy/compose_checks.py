"""The compose file: consistent in itself, and as careful as the Kubernetes manifests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.findings import Document, Finding, image_problem, read_documents


def check(path: Path) -> Iterator[Finding]:
    """What is wrong, in no order."""
    documents, findings = read_documents(path)
    yield from findings
    if not documents:
        return
    compose = documents[0]
    services: dict[str, Document] = compose.get("services") or {}
    if not services:
        yield Finding(path.name, "services", "there are none")
    for name, service in services.items():
        for message in (*_confinement(service), *_references(service, compose, path.parent)):
            yield Finding(path.name, name, message)
    used = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes") or []}
    declared = set(compose.get("volumes") or {})
    named = {source for source in used if not source.startswith((".", "/"))}
    for volume in sorted(named ^ declared):
        state = "is declared and unused" if volume in declared else "is used and not declared"
        yield Finding(path.name, f"volume {volume}", state)


def bind_mounts(service: Document, base: Path) -> dict[str, Path]:
    """Path in the container to the file or directory of the repository that is mounted there."""
    split = [volume.split(":") for volume in service.get("volumes") or []]
    return {parts[1]: (base / parts[0]).resolve() for parts in split if parts[0].startswith((".", "/"))}


def _confinement(service: Document) -> Iterator[str]:
    problem = image_problem(service.get("image"))
    if problem is not None:
        yield problem
    if str(service.get("user", "")).partition(":")[0] in {"", "0", "root"}:
        yield "runs as root: set user"
    if service.get("privileged") or service.get("cap_drop") != ["ALL"] or service.get("read_only") is not True:
        yield "must drop ALL capabilities, have a read-only root file system and not be privileged"
    if "no-new-privileges:true" not in (service.get("security_opt") or []):
        yield "must set security_opt no-new-privileges:true"
    for port in service.get("ports") or []:
        if not str(port).startswith("127.0.0.1:"):
            yield f"publishes {port} on every address: name 127.0.0.1"


def _references(service: Document, compose: Document, base: Path) -> Iterator[str]:
    for source in bind_mounts(service, base).values():
        if not source.exists():
            yield f"mounts {source.name}, which does not exist"
    for needed in service.get("depends_on") or []:
        if needed not in compose["services"]:
            yield f"depends on {needed}: no such service"
    for network in service.get("networks") or []:
        if network not in (compose.get("networks") or {}):
            yield f"is on network {network}, which is not declared"
    build: Any = service.get("build")
    if build is not None and not (base / build["context"] / build.get("dockerfile", "Dockerfile")).is_file():
        yield "its Dockerfile does not exist"
