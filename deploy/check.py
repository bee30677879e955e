"""Judges ``deploy/`` as far as it can be judged without a cluster: ``python deploy/check.py``.

Prints one line a finding and exits 1 when there is any. Part of ``make lint``.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy import compose_checks, dockerfile_checks, kubernetes_checks, pod_security_checks
from deploy.content_checks import check_bootstrap, check_policies, xds_host
from deploy.findings import Document, Finding, at, read_documents
from deploy.kubernetes_manifests import Manifest, Workload, read_manifests, workloads
from penstock_policies.policyset import PolicySet

POLICIES_OPTION = "--policies="
BOOTSTRAP_OPTION = "--config-path="


def main() -> int:
    """Check this directory; returns the exit code."""
    findings = sorted(set(check(Path(__file__).resolve().parent)))
    for finding in findings:
        sys.stderr.write(f"{finding}\n")
    sys.stdout.write(f"deploy: {len(findings)} finding(s)\n")
    return 1 if findings else 0


def check(directory: Path) -> Iterator[Finding]:
    """Check a copy of ``deploy/`` that lies in the root of the repository (or of a copy of it)."""
    yield from dockerfile_checks.check(directory / "Dockerfile", directory.parent)
    yield from compose_checks.check(directory / "compose.yaml")
    yield from _compose_contents(directory / "compose.yaml")
    manifests, findings = read_manifests(directory / "kubernetes")
    yield from findings
    yield from kubernetes_checks.check(manifests, directory / "kubernetes")
    yield from pod_security_checks.check(manifests)
    yield from _kubernetes_contents(manifests)


def _compose_contents(path: Path) -> Iterator[Finding]:
    documents, _ = read_documents(path)
    services: Mapping[str, Document] = (documents[0].get("services") or {}) if documents else {}
    policy: PolicySet | None = None
    for name, service in services.items():
        for directory in _option_values(service.get("command"), POLICIES_OPTION):
            source = compose_checks.bind_mounts(service, path.parent).get(directory)
            if source is None or not source.is_dir():
                yield Finding(path.name, name, f"no directory of policies is mounted at {directory}")
                continue
            files = {file.name: file.read_text(encoding="utf-8") for file in source.iterdir() if file.is_file()}
            policy, findings = check_policies(path.name, name, files)
            yield from findings
    for name, service in services.items():
        for file in _option_values(service.get("command"), BOOTSTRAP_OPTION):
            source = compose_checks.bind_mounts(service, path.parent).get(file)
            if source is None or not source.is_file():
                yield Finding(path.name, name, f"no bootstrap is mounted at {file}")
                continue
            text = source.read_text(encoding="utf-8")
            yield from check_bootstrap(path.name, name, text, policy)
            if xds_host(text) not in services:
                yield Finding(path.name, name, f"its control plane {xds_host(text)} is no service")


def _kubernetes_contents(manifests: list[Manifest]) -> Iterator[Finding]:
    policy: PolicySet | None = None
    for workload, directory in _options(manifests, POLICIES_OPTION):
        config = _config_map_at(workload, directory, manifests)
        if config is None:
            yield workload.manifest.finding(f"no ConfigMap of policies is mounted at {directory}")
            continue
        policy, findings = check_policies(config.file, config.where, config.document.get("data") or {})
        yield from findings
    services = {
        f"{manifest.name}.{at(manifest.document, 'metadata.namespace')}.svc.cluster.local"
        for manifest in manifests
        if manifest.kind == "Service"
    }
    for workload, file in _options(manifests, BOOTSTRAP_OPTION):
        directory, _, name = file.rpartition("/")
        config = _config_map_at(workload, directory, manifests)
        text = None if config is None else (config.document.get("data") or {}).get(name)
        if config is None or text is None:
            yield workload.manifest.finding(f"no bootstrap is mounted at {file}")
            continue
        yield from check_bootstrap(config.file, config.where, text, policy)
        if xds_host(text) not in services:
            yield config.finding(f"its control plane {xds_host(text)} is no Service of these manifests")


def _options(manifests: list[Manifest], option: str) -> Iterator[tuple[Workload, str]]:
    for workload in workloads(manifests):
        for container in workload.containers():
            for value in _option_values(container.get("args"), option):
                yield workload, value


def _option_values(arguments: list[str] | None, option: str) -> Iterator[str]:
    for argument in arguments or []:
        if argument.startswith(option):
            yield argument.removeprefix(option)


def _config_map_at(workload: Workload, directory: str, manifests: list[Manifest]) -> Manifest | None:
    volumes = workload.volumes()
    for container in workload.containers():
        for mount in container.get("volumeMounts") or []:
            if mount.get("mountPath") == directory:
                name = at(volumes.get(mount.get("name")), "configMap.name")
                return next((m for m in manifests if m.kind == "ConfigMap" and m.name == name), None)
    return None


if __name__ == "__main__":
    sys.exit(main())
