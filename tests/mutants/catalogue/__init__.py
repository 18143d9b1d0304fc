"""Every planted fault of the project, by subject. The one list: nothing else plants faults in the source."""

from __future__ import annotations

from typing import Final

from tests.mutants.catalogue.disks import DISKS
from tests.mutants.catalogue.elections import ELECTIONS
from tests.mutants.catalogue.engines import ENGINES
from tests.mutants.catalogue.etcd import ETCD
from tests.mutants.catalogue.fences import FENCES
from tests.mutants.catalogue.gates import GATES
from tests.mutants.catalogue.kubernetes import KUBERNETES
from tests.mutants.catalogue.leaders import LEADERS
from tests.mutants.catalogue.leases import LEASES
from tests.mutants.catalogue.logs import LOGS
from tests.mutants.catalogue.memberships import MEMBERSHIPS
from tests.mutants.catalogue.reads import READS
from tests.mutants.catalogue.recipes import RECIPES
from tests.mutants.catalogue.redis import REDIS
from tests.mutants.catalogue.requests import REQUESTS
from tests.mutants.catalogue.resumes import RESUMES
from tests.mutants.catalogue.snapshots import SNAPSHOTS
from tests.mutants.catalogue.transfers import TRANSFERS
from tests.mutants.catalogue.verbs import VERBS
from tests.mutants.mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = (
    *ELECTIONS,
    *LOGS,
    *DISKS,
    *READS,
    *MEMBERSHIPS,
    *SNAPSHOTS,
    *TRANSFERS,
    *LEASES,
    *REQUESTS,
    *LEADERS,
    *VERBS,
    *RESUMES,
    *RECIPES,
    *ENGINES,
    *GATES,
    *ETCD,
    *KUBERNETES,
    *REDIS,
    *FENCES,
)
