"""Faults of who may do what, of the digests that tell states apart, and of two releases in one cluster."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

TLS: Final = "runtime/tls.py"
ACCESS: Final = "runtime/access.py"
DIGEST: Final = "kv/digest.py"
DIGESTS: Final = "node/digests.py"
MACHINE: Final = "kv/machine.py"
OF_TLS: Final = (suite("tests/runtime/test_tls.py"),)
OF_ACCESS: Final = (suite("tests/runtime/test_access.py"),)
OF_DIGEST: Final = (suite("tests/kv/test_digest.py"),)
OF_DIGESTS: Final = (suite("tests/node/test_digests.py"),)
OF_LEVELS: Final = (suite("tests/node/test_levels.py", "tests/runtime/test_levels.py"),)

GATES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "any certificate of the authority speaks as a voter",
        TLS,
        "    if names is None or hello.kind is not Kind.PEER or wanted.lower() in names:",
        "    if True:",
        OF_TLS,
    ),
    Mutant(
        "a certificate of this node does for the cluster of another name",
        TLS,
        '    return f"{node}.{cluster}.{DOMAIN}"',
        '    return f"{node}.{DOMAIN}"',
        OF_TLS,
    ),
    Mutant(
        "nobody who dials has to show a certificate",
        TLS,
        "        context.verify_mode = ssl.CERT_REQUIRED",
        "        context.verify_mode = ssl.CERT_NONE",
        OF_TLS,
    ),
    Mutant(
        "a renewed certificate waits for a restart",
        TLS,
        "            if _stamps(self.files) != self._stamps:",
        "            if False:",
        OF_TLS,
    ),
    Mutant(
        "whoever shows no certificate speaks for no names and so for all",
        TLS,
        '    if transport.get_extra_info("ssl_object") is None:',
        "    if True:",
        OF_TLS,
    ),
    Mutant(
        "a rule for one election admits to all",
        ACCESS,
        '            if election is not None and not fnmatchcase(election, rule.election or ""):',
        "            if False:",
        OF_ACCESS,
    ),
    Mutant(
        "keys of several elections are nobody's",
        ACCESS,
        "            return False  # keys of several elections at once",
        "            return True",
        OF_ACCESS,
    ),
    Mutant(
        "everybody may write the cluster's own records",
        ACCESS,
        "            return not writes  # the",
        "            return True  # the",
        OF_ACCESS,
    ),
    Mutant(
        "a client whose name ends like a node's is a node",
        ACCESS,
        '        self._nodes = f".{cluster}.{DOMAIN}".lower()',
        '        self._nodes = f".{DOMAIN}".lower()',
        OF_ACCESS,
    ),
    Mutant(
        "as many secrets are tried as are shown",
        ACCESS,
        "tuple(map(_hash, secrets[:SECRETS_MAX]))",
        "tuple(map(_hash, secrets))",
        OF_ACCESS,
    ),
    Mutant(
        "whoever may lead an election may operate the cluster",
        ACCESS,
        "            if (rule.election is None) is not (election is None):\n                continue\n",
        "",
        OF_ACCESS,
    ),
    Mutant(
        "a command that is done once asks nobody",
        ACCESS,
        "            yield from _touched(asked.command)",
        "            yield from ()",
        OF_ACCESS,
    ),
    Mutant(
        "what is deleted stays in the digest",
        DIGEST,
        "            self._sum -= self._hashes.pop(item, 0)",
        "            self._hashes.pop(item, 0)",
        OF_DIGEST,
    ),
    Mutant(
        "the digest forgets what is left of a lease",
        DIGEST,
        "    return lease, ttl_ns, left_ns, settled",
        "    return lease, ttl_ns, settled",
        OF_DIGEST,
    ),
    Mutant(
        "two versions of the digest look alike",
        DIGEST,
        "_encoder.encode((FORMAT, revision, level,",
        "_encoder.encode((revision, level,",
        OF_DIGEST,
    ),
    Mutant(
        "what waits to be hashed grows without end",
        DIGEST,
        "        if len(self.touched) > TOUCHED_MAX or self._bytes > TOUCHED_BYTES_MAX:",
        "        if False:",
        OF_DIGEST,
    ),
    Mutant(
        "after a restore the digest begins with nothing",
        DIGEST,
        "        self._sum = sum(hashes.values()) % _MODULUS",
        "        self._sum = 0",
        OF_DIGEST,
    ),
    Mutant(
        "one voter's digest is a majority",
        DIGESTS,
        "        majority = len(voters) // 2 + 1",
        "        majority = 1",
        OF_DIGESTS,
    ),
    Mutant(
        "who differs from the majority goes on",
        DIGESTS,
        "            if mine != most:",
        "            if False:",
        OF_DIGESTS,
    ),
    Mutant(
        "without a majority for a state everything is acknowledged",
        DIGESTS,
        "            self.split = index",
        "            pass",
        OF_DIGESTS,
    ),
    Mutant(
        "who reports twice counts as it said last",
        DIGESTS,
        "        self._told.setdefault(index, {}).setdefault(voter, digest)",
        "        self._told.setdefault(index, {})[voter] = digest",
        OF_DIGESTS,
    ),
    Mutant(
        "witnesses are asked for a state that they do not have",
        DIGESTS,
        "membership.voters - membership.witnesses)",
        "membership.voters)",
        OF_DIGESTS,
    ),
    Mutant(
        "states are judged while the members change",
        DIGESTS,
        "        if index in self._told and not membership.outgoing:",
        "        if index in self._told:",
        OF_DIGESTS,
    ),
    Mutant(
        "digests are remembered for ever",
        DIGESTS,
        "    while len(by_index) > INDEXES_MAX:",
        "    while False:",
        OF_DIGESTS,
    ),
    Mutant(
        "a command goes into the log that not every member can read",
        "node/node.py",
        "        if level_of(command) > self.machine.level:",
        "        if False:",
        OF_LEVELS,
    ),
    Mutant(
        "a command that is done once has no level",
        "kv/api.py",
        "type(command.command if isinstance(command, Once) else command)",
        "type(command)",
        OF_LEVELS,
    ),
    Mutant(
        "a member that is down reads everything",
        "runtime/levels.py",
        "            return FIRST_LEVEL",
        "            continue",
        OF_LEVELS,
    ),
    Mutant(
        "a release reads on past what it cannot read",
        MACHINE,
        "        if level > LEVEL:",
        "        if False:",
        OF_LEVELS,
    ),
    Mutant(
        "a snapshot forgets the level",
        MACHINE,
        "            self._raise_level(loaded.level)",
        "            pass",
        OF_LEVELS,
    ),
)
