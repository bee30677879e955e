"""Every pod runs as the Pod Security Standard ``restricted`` wants it, and a little stricter.

The standard: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator

from deploy.findings import Document, Finding, at, image_problem
from deploy.kubernetes_manifests import Manifest, Workload, workloads

_FORBIDDEN_OF_A_POD = ("hostNetwork", "hostPID", "hostIPC")


def check(manifests: list[Manifest]) -> Iterator[Finding]:
    """What is too loose, in no order."""
    for workload in workloads(manifests):
        yield from _pod(workload)
        for container in workload.containers():
            for message in _container(container):
                yield workload.manifest.finding(f"container {container.get('name')}: {message}")


def _pod(workload: Workload) -> Iterator[Finding]:
    manifest, pod = workload.manifest, workload.pod
    if at(pod, "securityContext.runAsNonRoot") is not True or not at(pod, "securityContext.runAsUser"):
        yield manifest.finding("its pods may run as root: set runAsNonRoot and a runAsUser other than 0")
    if at(pod, "securityContext.seccompProfile.type") != "RuntimeDefault":
        yield manifest.finding("seccompProfile must be RuntimeDefault")
    if pod.get("automountServiceAccountToken") is not False:
        yield manifest.finding("its pods get a token for the Kubernetes API that they do not need")
    for name in _FORBIDDEN_OF_A_POD:
        if pod.get(name):
            yield manifest.finding(f"{name} must not be set")
    if any("hostPath" in volume for volume in workload.volumes().values()):
        yield manifest.finding("hostPath volumes are forbidden")


def _container(container: Document) -> Iterator[str]:
    problem = image_problem(container.get("image"))
    if problem is not None:
        yield problem
    security = container.get("securityContext") or {}
    if security.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem must be true"
    if at(security, "capabilities.drop") != ["ALL"] or at(security, "capabilities.add"):
        yield "capabilities must drop ALL and add none"
    if security.get("privileged") or security.get("runAsUser") == 0:
        yield "must not be privileged nor root"
    if at(container, "resources.requests") is None or at(container, "resources.limits.memory") is None:
        yield "needs resource requests and a memory limit"
