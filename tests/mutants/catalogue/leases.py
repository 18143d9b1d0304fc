"""Faults of when leases run out, as the voters see it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import WORLDS, Mutant, suite

NODE: Final = "node/node.py"
DEADLINES: Final = "node/leases.py"
MACHINE: Final = "kv/machine.py"
OF_NODE: Final = (suite("tests/node/test_node.py"),)
OF_CHECKPOINTS: Final = (suite("tests/node/test_checkpoints.py"),)
OF_MACHINE: Final = (suite("tests/kv/test_machine.py", "tests/kv/test_sessions.py"),)

LEASES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a new leader does not give leases their full time",
        DEADLINES,
        "            self._live[lease] = _Live(ttl_ns, now_ns + left_ns, checkpoint_ns,",
        "            self._live[lease] = _Live(ttl_ns, now_ns + left_ns // 4, checkpoint_ns,",
        (*WORLDS, *OF_NODE),
        promises=("P59",),
    ),
    Mutant(
        "a checkpoint says that all time is left",
        DEADLINES,
        "                due.left_ns.append((lease, left_ns))",
        "                due.left_ns.append((lease, live.ttl_ns))",
        OF_CHECKPOINTS,
        promises=("P59",),
    ),
    Mutant(
        "the first renewal after a checkpoint is not put into the log",
        NODE,
        "        elif self._leases.checkpointed(renewal.lease):",
        "        elif False:",
        OF_CHECKPOINTS,
        promises=("P59",),
    ),
    Mutant(
        "a checkpoint of an older term is carried out",
        MACHINE,
        "        if not own:\n            return Code.EXPIRE_STALE",
        "        if False:\n            return Code.EXPIRE_STALE",
        OF_MACHINE,
        promises=("P59",),
    ),
    Mutant(
        "an expiry of an older term is carried out",
        MACHINE,
        "self._end(lease) if proposed == term else Code.EXPIRE_STALE",
        "self._end(lease)",
        OF_MACHINE,
        promises=("P58",),
    ),
    Mutant(
        "anybody may expire a lease",
        NODE,
        "        if isinstance(command, LeaseExpire | LeaseCheckpoint | RaiseLevel):",
        "        if False:",
        OF_NODE,
        promises=("P58",),
    ),
    Mutant(
        "a lease is renewed while its expiry is in the log",
        NODE,
        "        elif self._leases.expiring(renewal.lease):",
        "        elif False:",
        OF_NODE,
        promises=("P58",),
    ),
    Mutant(
        "a lease is claimed while its expiry is in the log",
        NODE,
        "            elif read.lease != NO_LEASE and self._leases.expiring(read.lease):",
        "            elif False:",
        OF_NODE,
        promises=("P58",),
    ),
    Mutant(
        "an expiry in flight hits the lease that takes the id",
        DEADLINES,
        "        self._live.pop(lease, None)\n\n    def expired",
        "        self._live.pop(lease, None)\n        self._expiring.discard(lease)\n\n    def expired",
        OF_NODE,
        promises=("P58",),
    ),
    Mutant(
        "a lease expires while its renewal is being decided",
        DEADLINES,
        "            if live is None or lease in self._held or lease in self._expiring:",
        "            if live is None or lease in self._expiring:",
        (*WORLDS, *OF_NODE),
        promises=("P58",),
    ),
    Mutant(
        "a renewal is acknowledged without proof of leadership",
        NODE,
        "self._replica.step(ReadRequested(own), self._flight.rounds[own][-1].received_ns)",
        "self._flight.confirmed.append((Index(0), self._flight.rounds.pop(own)))",
        OF_NODE,
        promises=("P58",),
    ),
    Mutant(
        "a leader that is deposed renews leases",
        NODE,
        "        if not self._leadership.serving:\n            outcome: Outcome = self._not_leader()",
        "        if False:\n            outcome: Outcome = self._not_leader()",
        OF_CHECKPOINTS,
        promises=("P58",),
    ),
    Mutant(
        "a lease that expires leaves its keys",
        MACHINE,
        "        for key in sorted(held.keys):",
        "        for key in ():",
        (*WORLDS, *OF_MACHINE),
    ),
)
