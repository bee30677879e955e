"""The Kubernetes manifests as typed values: workloads with their pods and containers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.findings import Document, Finding, at, read_documents

KUSTOMIZATION = "kustomization.yaml"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and the file it is in."""

    file: str
    document: Document

    @property
    def kind(self) -> str:
        """Its kind, or nothing."""
        return str(self.document.get("kind", ""))

    @property
    def name(self) -> str:
        """Its name, or nothing."""
        return str(at(self.document, "metadata.name") or "")

    @property
    def where(self) -> str:
        """How findings call it."""
        return f"{self.kind}/{self.name}"

    def finding(self, message: str) -> Finding:
        """A finding about it."""
        return Finding(self.file, self.where, message)


@dataclass(frozen=True, slots=True)
class Workload:
    """An object with a pod template."""

    manifest: Manifest

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of its pods."""
        return at(self.manifest.document, "spec.template.metadata.labels") or {}

    @property
    def pod(self) -> Document:
        """The pod's spec."""
        return at(self.manifest.document, "spec.template.spec") or {}

    def containers(self) -> Iterator[Document]:
        """All containers, sidecars included."""
        yield from self.pod.get("initContainers") or []
        yield from self.pod.get("containers") or []

    def port_names(self) -> dict[str, int]:
        """Named ports of its containers."""
        return {
            port["name"]: port["containerPort"]
            for container in self.containers()
            for port in container.get("ports") or []
            if "name" in port
        }

    def has_port(self, port: object) -> bool:
        """Whether a container declares the port, by name or number."""
        return port in self.port_names() or port in self.port_names().values()

    def volumes(self) -> dict[str, Document]:
        """Volumes of the pod by name, claims of a StatefulSet among them."""
        claims = at(self.manifest.document, "spec.volumeClaimTemplates") or []
        named = {str(at(claim, "metadata.name")): claim for claim in claims}
        return named | {str(volume.get("name")): volume for volume in self.pod.get("volumes") or []}


def read_manifests(directory: Path) -> tuple[list[Manifest], list[Finding]]:
    """Every object in a directory's YAML files, the kustomization aside."""
    manifests: list[Manifest] = []
    findings: list[Finding] = []
    for path in sorted(directory.glob("*.yaml")):
        if path.name == KUSTOMIZATION:
            continue
        documents, wrong = read_documents(path)
        findings += wrong
        manifests += [Manifest(path.name, document) for document in documents]
    return manifests, findings


def workloads(manifests: list[Manifest]) -> list[Workload]:
    """The objects that make pods."""
    return [Workload(manifest) for manifest in manifests if manifest.kind in {"Deployment", "StatefulSet", "DaemonSet"}]
