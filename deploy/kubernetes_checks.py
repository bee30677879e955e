"""What can be said of the Kubernetes manifests without a cluster: shape, references, ports."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.findings import Finding, at, read_documents
from deploy.kubernetes_manifests import KUSTOMIZATION, Manifest, Workload, workloads

# Kind to its API version and the fields without which the API server (or common sense) refuses it.
_SHAPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Namespace": ("v1", ()),
    "ServiceAccount": ("v1", ()),
    "ConfigMap": ("v1", ("data",)),
    "Service": ("v1", ("spec.selector", "spec.ports")),
    "Deployment": (
        "apps/v1",
        (
            "spec.replicas",
            "spec.selector.matchLabels",
            "spec.template.metadata.labels",
            "spec.template.spec.containers",
        ),
    ),
    "StatefulSet": (
        "apps/v1",
        (
            "spec.replicas",
            "spec.serviceName",
            "spec.selector.matchLabels",
            "spec.template.metadata.labels",
            "spec.template.spec.containers",
        ),
    ),
    "NetworkPolicy": ("networking.k8s.io/v1", ("spec.policyTypes",)),
    "PodDisruptionBudget": ("policy/v1", ("spec.selector.matchLabels",)),
}
_CLUSTER_WIDE = {"Namespace"}


def check(manifests: list[Manifest], directory: Path) -> Iterator[Finding]:
    """Everything there is to find, in no order."""
    yield from _shapes(manifests)
    yield from _kustomization(directory)
    for workload in workloads(manifests):
        yield from _workload(workload, manifests)
    for manifest in manifests:
        if manifest.kind == "Service":
            yield from _service(manifest, manifests)
        elif manifest.kind == "PodDisruptionBudget":
            yield from _selected(manifest, at(manifest.document, "spec.selector.matchLabels"), manifests)
        elif manifest.kind == "NetworkPolicy":
            yield from _network_policy(manifest, manifests)


def _shapes(manifests: list[Manifest]) -> Iterator[Finding]:
    namespaces = {manifest.name for manifest in manifests if manifest.kind == "Namespace"}
    seen: set[str] = set()
    for manifest in manifests:
        shape = _SHAPES.get(manifest.kind)
        if shape is None:
            yield manifest.finding("is of a kind the checks do not know; teach them in kubernetes_checks.py")
            continue
        version, required = shape
        if manifest.document.get("apiVersion") != version:
            yield manifest.finding(f"apiVersion must be {version}")
        if not manifest.name:
            yield manifest.finding("has no metadata.name")
        for path in required:
            if at(manifest.document, path) is None:
                yield manifest.finding(f"{path} is missing")
        if manifest.kind not in _CLUSTER_WIDE and at(manifest.document, "metadata.namespace") not in namespaces:
            yield manifest.finding("is in no namespace of these manifests")
        if manifest.where in seen:
            yield manifest.finding("is there twice")
        seen.add(manifest.where)


def _kustomization(directory: Path) -> Iterator[Finding]:
    documents, findings = read_documents(directory / KUSTOMIZATION)
    yield from findings
    listed = set(documents[0].get("resources") or []) if documents else set()
    present = {path.name for path in directory.glob("*.yaml")} - {KUSTOMIZATION}
    for name in sorted(listed ^ present):
        state = "is listed and does not exist" if name in listed else "exists and is not listed"
        yield Finding(KUSTOMIZATION, name, state)


def _workload(workload: Workload, manifests: list[Manifest]) -> Iterator[Finding]:
    manifest = workload.manifest
    selector = at(manifest.document, "spec.selector.matchLabels") or {}
    if not selector.items() <= workload.labels.items():
        yield manifest.finding("its selector does not match its own pods' labels")
    names = {kind: {m.name for m in manifests if m.kind == kind} for kind in ("ServiceAccount", "ConfigMap", "Service")}
    if workload.pod.get("serviceAccountName") not in names["ServiceAccount"]:
        yield manifest.finding("its service account is not among these manifests")
    if manifest.kind == "StatefulSet" and at(manifest.document, "spec.serviceName") not in names["Service"]:
        yield manifest.finding("its service is not among these manifests")
    volumes = workload.volumes()
    for volume in volumes.values():
        config = at(volume, "configMap.name")
        if config is not None and config not in names["ConfigMap"]:
            yield manifest.finding(f"ConfigMap {config} is not among these manifests")
    mounted = set()
    for container in workload.containers():
        for mount in container.get("volumeMounts") or []:
            mounted.add(mount.get("name"))
            if mount.get("name") not in volumes:
                yield manifest.finding(f"container {container.get('name')} mounts {mount.get('name')}: no such volume")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = at(container, f"{probe}.tcpSocket.port") or at(container, f"{probe}.httpGet.port")
            if port is not None and not workload.has_port(port):
                yield manifest.finding(f"{probe} of {container.get('name')} asks port {port}: no container has it")
    for name in sorted(set(volumes) - mounted):
        yield manifest.finding(f"volume {name} is mounted nowhere")


def _matching(selector: Mapping[str, str], manifests: list[Manifest]) -> list[Workload]:
    return [workload for workload in workloads(manifests) if selector.items() <= workload.labels.items()]


def _selected(manifest: Manifest, selector: Mapping[str, str] | None, manifests: list[Manifest]) -> Iterator[Finding]:
    if not selector or not _matching(selector, manifests):
        yield manifest.finding(f"its selector {selector} matches no pod of these manifests")


def _service(manifest: Manifest, manifests: list[Manifest]) -> Iterator[Finding]:
    selector = at(manifest.document, "spec.selector") or {}
    yield from _selected(manifest, selector, manifests)
    for port in at(manifest.document, "spec.ports") or []:
        target = port.get("targetPort", port.get("port"))
        for workload in _matching(selector, manifests):
            if not workload.has_port(target):
                yield manifest.finding(f"port {target} is none of {workload.manifest.where}'s")


def _network_policy(manifest: Manifest, manifests: list[Manifest]) -> Iterator[Finding]:
    selector = at(manifest.document, "spec.podSelector.matchLabels") or {}
    if selector:
        yield from _selected(manifest, selector, manifests)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule in at(manifest.document, f"spec.{direction}") or []:
            labels = [at(peer, "podSelector.matchLabels") for peer in rule.get(peers) or []]
            for wanted in labels:
                yield from _selected(manifest, wanted, manifests)
            # A named port is looked up on the pods that receive the traffic.
            receivers = (
                _matching(selector, manifests)
                if direction == "ingress"
                else [workload for wanted in labels for workload in _matching(wanted or {}, manifests)]
            )
            for port in rule.get("ports") or []:
                if isinstance(port.get("port"), str) and not any(w.has_port(port["port"]) for w in receivers):
                    yield manifest.finding(f"{direction} port {port['port']} is no port of the pods it is about")
