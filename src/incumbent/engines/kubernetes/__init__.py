"""The engine on Kubernetes: Leases of `coordination.k8s.io/v1` in one namespace, shared with client-go's candidates.

    kubernetes://namespace?kubeconfig=/home/me/.kube/config&context=prod&timeout=5

Without a namespace: the pod's own, or the context's. Without a kubeconfig: the pod's service account; outside of a pod,
$KUBECONFIG or ~/.kube/config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from incumbent.engines.api import Engine
from incumbent.engines.url import EngineUrl
from incumbent.errors import InvalidInput

if TYPE_CHECKING:
    from incumbent.engines.kubernetes.access import Place

OPTIONS: Final = ("kubeconfig", "context", "timeout")
EXAMPLE: Final = "kubernetes://namespace?kubeconfig=/path"
TIMEOUT_S: Final = 5.0


async def connect(url: str) -> Engine:
    """Open the engine on the namespace that `url` names, which must exist.

    Raises InvalidInput for a wrong URL or kubeconfig, EngineUnavailable when the API server does not answer, NotAllowed when
    the Role is missing, Unsupported when its resourceVersions are no integers.
    """
    place, timeout_s = parse(url)
    from incumbent.engines.kubernetes.engine import KubernetesEngine

    return await KubernetesEngine.open(place, call_timeout_s=timeout_s)


def parse(url: str) -> tuple[Place, float]:
    """Where the Leases are, and how long a call may take in seconds. Raises InvalidInput."""
    parsed = EngineUrl.parse(url)
    parsed.allow_options(OPTIONS)
    if parsed.user is not None or parsed.password is not None:
        raise InvalidInput("url", "names a user", f"credentials come from a kubeconfig or the pod: {EXAMPLE}")
    if len(parsed.hosts) > 1 or parsed.path.strip("/") or any(host.port is not None for host in parsed.hosts):
        raise InvalidInput("url", "names more than a namespace", f"write {EXAMPLE}")
    namespace = parsed.hosts[0].name if parsed.hosts else ""
    if namespace and (len(namespace) > 63 or not _is_label(namespace)):
        raise InvalidInput("url", f"{namespace[:80]!r} is no namespace", "lowercase letters, digits and '-'")
    from incumbent.engines.kubernetes.access import find_place

    options = parsed.options
    place = find_place(options.get("kubeconfig", ""), options.get("context", ""), namespace)
    return place, parsed.seconds("timeout", TIMEOUT_S)


def _is_label(text: str) -> bool:
    return (
        all(c.isascii() and (c.islower() or c.isdigit() or c == "-") for c in text)
        and text[0] != "-"
        and text[-1] != "-"
    )
