"""A strict fake of the Kubernetes Lease API, over real HTTP, for tests of the engine and of your own candidates.

    async with KubernetesFake() as fake:
        engine = await incumbent.connect(f"kubernetes://default?kubeconfig={fake.kubeconfig(tmp_path / 'config')}")

`fake.faults` loses answers, delays and refuses; `fake.store` holds the Leases; `fake.compact()` makes watches 410 Gone;
`fake.token` expires credentials; `await fake.stop()` and `start()` take the API server away and bring it back.
"""

from incumbent.testing.kubernetes.faults import Fault, Harm
from incumbent.testing.kubernetes.server import KubernetesFake
from incumbent.testing.kubernetes.store import Store
from incumbent.testing.kubernetes.validation import Refused

__all__ = ["Fault", "Harm", "KubernetesFake", "Refused", "Store"]
