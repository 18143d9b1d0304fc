"""A machine that numbers its log by itself and checks itself after every command."""

from __future__ import annotations

from collections.abc import Sequence

from incumbent.ids import Index, Term
from incumbent.kv.api import (
    Command,
    KeyValue,
    Range,
    Result,
)
from incumbent.kv.machine import Machine

TERM = Term(1)
ALL = (b"", b"\xff")


class Driven:
    """A machine that numbers its log by itself."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()

    def do(self, command: Command, term: Term = TERM) -> Result:
        result, self.changes = self.machine.apply(Index(self.machine.applied + 1), term, command)
        self.machine.invariants()
        return result

    def get(self, key: bytes) -> KeyValue | None:
        found = self.machine.query(Range(key)).results[0].kvs
        return found[0] if found else None

    def keys(self, start: bytes = b"\0", end: bytes = b"\xff") -> list[bytes]:
        return [kv.key for kv in self.machine.query(Range(start, end)).results[0].kvs]

    def all(self) -> Sequence[KeyValue]:
        return self.machine.query(Range(*ALL)).results[0].kvs
