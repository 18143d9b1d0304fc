"""Who may take part in which election, and who may operate the cluster. Decisions only: `calls` and `transport` ask.

Without rules everyone may do everything who gets a connection. With rules, a client may touch an election (read, watch, join,
write its cells) when no rule is about it, or when one that is admits him: by a name in his certificate, or by a secret that he
showed in his hello. Operators need a rule of their own as soon as there is any. Nodes of the cluster, by certificate, may do
everything: each holds all of it anyway.

Leases are not asked about: whoever knows a lease's id, 63 random bits that stand in the election's own keys, may renew and end it,
as the guardian must.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, assert_never

from incumbent.errors import InvalidInput
from incumbent.kv.api import (
    GROUP_PREFIX,
    Command,
    DeleteRange,
    LeaseCheckpoint,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Once,
    Put,
    Query,
    RaiseLevel,
    Range,
    ReportDigest,
    Txn,
)
from incumbent.runtime.tls import DOMAIN

SECRET_CHARACTERS_MIN: Final = 16
SECRET_CHARACTERS_MAX: Final = 1024
SECRETS_MAX: Final = 8
"""So many of a hello are looked at."""
RULES_MAX: Final = 1024
EVERYTHING: Final = None
"""Instead of an election's name: the keys are not those of one election."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Admits these to the elections that match `election`, a pattern with ``*`` and ``?``; None: to operating the cluster."""

    election: str | None
    names: frozenset[str] = frozenset()
    """In the client's certificate, lower case."""
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Rule(election={self.election!r}, names={sorted(self.names)}, secret={'***' if self.secret else None})"


@dataclass(frozen=True, slots=True)
class Who:
    """What is known of a client: the names in its certificate, and hashes of the secrets it showed."""

    names: frozenset[str]
    secrets: tuple[bytes, ...]

    @classmethod
    def of(cls, names: frozenset[str] | None, secrets: Sequence[str]) -> Who:
        return cls(names or frozenset(), tuple(map(_hash, secrets[:SECRETS_MAX])))


class Access:
    """The rules of one node. Give every node the same."""

    def __init__(self, cluster: str, rules: Sequence[Rule]) -> None:
        self._rules = [(rule, None if rule.secret is None else _hash(rule.secret)) for rule in rules]
        self._nodes = f".{cluster}.{DOMAIN}".lower()

    def may_operate(self, who: Who) -> bool:
        return not self._rules or self._is_node(who) or self._admitted(who, None)

    def may_ask(self, who: Who, asked: Command | Query) -> bool:
        """Whether it may submit this command, or ask this query."""
        return not self._rules or all(
            self._may_touch(who, key, end, writes=writes) for key, end, writes in _touched(asked)
        )

    def may_look(self, who: Who, key: bytes, end: bytes | None) -> bool:
        """Whether it may see these keys."""
        return not self._rules or self._may_touch(who, key, end, writes=False)

    def _may_touch(self, who: Who, key: bytes, end: bytes | None, *, writes: bool) -> bool:
        if self._is_node(who) or self._admitted(who, None):
            return True
        if not key.startswith(GROUP_PREFIX) and end is None:
            return not writes  # the cluster's own records: they are nobody's secret, and nobody's to change
        election = _election_of(key, end)
        if election is None:
            return False  # keys of several elections at once
        about = [rule for rule, _ in self._rules if rule.election and fnmatchcase(election, rule.election)]
        return not about or self._admitted(who, election)

    def _is_node(self, who: Who) -> bool:
        return any(name.endswith(self._nodes) for name in who.names)

    def _admitted(self, who: Who, election: str | None) -> bool:
        for rule, secret in self._rules:
            if (rule.election is None) is not (election is None):
                continue
            if election is not None and not fnmatchcase(election, rule.election or ""):
                continue
            if rule.names & who.names:
                return True
            if secret is not None and any(hmac.compare_digest(secret, shown) for shown in who.secrets):
                return True
        return False


def parse_rules(tables: object) -> tuple[Rule, ...]:
    """The ``[[allow]]`` tables of a configuration file. Raises InvalidInput."""
    if (
        not isinstance(tables, list)
        or len(tables) > RULES_MAX
        or not all(isinstance(t, dict) for t in tables)
    ):
        raise InvalidInput("allow", "is no list of tables", f"write up to {RULES_MAX} tables [[allow]]")
    return tuple(_rule(table) for table in tables)


def read_secret(file: str | Path) -> str:
    """What a secret's file holds, without the line's end. Raises InvalidInput."""
    try:
        secret = Path(file).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "secret_file", f"{file} cannot be read: {error}", "give a file of one line"
        ) from error
    if not SECRET_CHARACTERS_MIN <= len(secret) <= SECRET_CHARACTERS_MAX:
        raise InvalidInput(
            "secret_file",
            f"{file} holds {len(secret)} characters",
            f"use {SECRET_CHARACTERS_MIN} to {SECRET_CHARACTERS_MAX} random ones",
        )
    return secret


def _rule(table: dict[str, object]) -> Rule:
    unknown = table.keys() - {"election", "operator", "names", "secret_file"}
    if unknown:
        raise InvalidInput(
            "allow", f"{min(unknown)[:80]!r} means nothing", "say election or operator, names, secret_file"
        )
    election, operator, names = table.get("election"), table.get("operator", False), table.get("names", [])
    if not isinstance(operator, bool) or operator is (election is not None):
        raise InvalidInput(
            "allow", "one is about nothing, or about two things", 'say election = "…" or operator = true'
        )
    if election is not None and not (isinstance(election, str) and election):
        raise InvalidInput("allow", "an election is no text", 'write a pattern, as in election = "orders/*"')
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InvalidInput("allow", "the names are no list of texts", 'write names = ["app-1"]')
    file = table.get("secret_file")
    if not names and not file:
        raise InvalidInput("allow", "one admits nobody", "give it names or a secret_file")
    secret = None if file is None else read_secret(str(file))
    return Rule(election, frozenset(name.lower() for name in names), secret)


def _touched(asked: Command | Query) -> Iterator[tuple[bytes, bytes | None, bool]]:
    """Every range of keys, and whether it may be changed."""
    match asked:
        case Once():
            yield from _touched(asked.command)
        case Txn():
            yield from ((c.key, c.end, False) for c in asked.conditions)
            yield from _of_operations((*asked.then, *asked.orelse))
        case Put() | DeleteRange() | Range():
            yield from _of_operations((asked,))
        case LeaseGrant() | LeaseRevoke() | LeaseExpire() | LeaseCheckpoint() | ReportDigest() | RaiseLevel():
            pass  # who may report: `calls` looks at the certificate. Expiries, checkpoints and levels are a leader's own: no node takes them from anybody else
        case _:
            assert_never(asked)


def _of_operations(
    operations: Iterable[Put | DeleteRange | Range],
) -> Iterator[tuple[bytes, bytes | None, bool]]:
    for operation in operations:
        end = None if isinstance(operation, Put) else operation.end
        yield operation.key, end, not isinstance(operation, Range)


def _election_of(key: bytes, end: bytes | None) -> str | None:
    """The one election to which all these keys belong; None when there is no such."""
    name, ends, _ = key.removeprefix(GROUP_PREFIX).partition(b"\0")
    if not key.startswith(GROUP_PREFIX) or not ends:
        return EVERYTHING
    prefix = GROUP_PREFIX + name
    if end is not None and not key <= end <= prefix + b"\1":
        return EVERYTHING
    return name.decode(errors="surrogateescape")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
