"""The servers of a failure run, by engine: where they are, what happens to them, and what the engine says of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.servers.spaces import Spaces
from tests.torture.engines import ensembles, postgres, single
from tests.torture.engines.faults import OF_CANDIDATES, STEPS_S, Kind, Verb, Whom
from tests.torture.engines.world import World


@dataclass(frozen=True, slots=True)
class Setting:
    open: Callable[[Path, Spaces], AbstractContextManager[World]]
    """Servers that run, with a directory of theirs."""
    kinds: Sequence[Kind]
    hosts: Sequence[str] = ()
    """Of the servers, in network namespaces; none where they are on this side."""
    steps_s: Sequence[int] = STEPS_S
    excused: Mapping[Kind, float] = field(default_factory=dict)
    """After such a fault two may believe that they lead, for so many TTLs: the engine declares it."""


STEP_SERVERS: Final = Kind(Verb.STEP, Whom.SERVERS)
OF_MEMBERS: Final = (
    *(Kind(verb, Whom.LEADER) for verb in (Verb.KILL, Verb.STOP, Verb.CUT, Verb.MUTE)),
    *(Kind(verb, Whom.MEMBER) for verb in (Verb.KILL, Verb.STOP, Verb.CUT, Verb.MUTE)),
    *(Kind(verb, Whom.SERVERS) for verb in (Verb.KILL, Verb.STOP)),
    Kind(Verb.PART, Whom.HOLDER),
)

SETTINGS: Final[Mapping[str, Setting]] = {
    "etcd": Setting(ensembles.etcds, (*OF_CANDIDATES, *OF_MEMBERS), hosts=ensembles.MEMBERS),
    "zookeeper": Setting(
        ensembles.zookeepers, (*OF_CANDIDATES, *OF_MEMBERS, STEP_SERVERS), hosts=ensembles.MEMBERS
    ),
    "postgresql": Setting(
        postgres.postgreses,
        (
            *OF_CANDIDATES, STEP_SERVERS, Kind(Verb.KILL, Whom.LEADER), Kind(Verb.STOP, Whom.LEADER),
            Kind(Verb.KILL, Whom.MEMBER), Kind(Verb.STOP, Whom.MEMBER), Kind(Verb.KILL, Whom.SERVERS),
            Kind(Verb.RESTART, Whom.SERVERS), Kind(Verb.PROMOTE, Whom.SERVERS),
        ),
    ),
    "redis": Setting(
        single.redises,
        (*OF_CANDIDATES, STEP_SERVERS, Kind(Verb.KILL, Whom.SERVERS), Kind(Verb.STOP, Whom.SERVERS)),
        steps_s=single.REDIS_STEPS_S,
        excused={STEP_SERVERS: 1.0},
    ),
    "kubernetes": Setting(
        single.kuberneteses,
        (
            *OF_CANDIDATES, Kind(Verb.KILL, Whom.SERVERS), Kind(Verb.STOP, Whom.SERVERS),
            Kind(Verb.COMPACT, Whom.SERVERS), Kind(Verb.HARM, Whom.SERVERS),
        ),
    ),
}  # fmt: skip
