"""The digest stands for the whole state, whichever way it came about, and costs what has changed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.ids import Index, LeaseId, NodeId, Term
from incumbent.kv import digest
from incumbent.kv.api import (
    Command,
    DeleteRange,
    KeyValue,
    LeaseCheckpoint,
    LeaseGrant,
    LeaseRevoke,
    Once,
    Put,
    ReportDigest,
)
from incumbent.kv.machine import Machine
from tests.kv.driven import Driven
from tests.kv.test_model import COMMANDS, TERMS

LOGS = st.lists(st.tuples(COMMANDS, TERMS, st.booleans()), max_size=25)
SEVEN = LeaseId(7)


def restored(machine: Machine) -> Machine:
    made = Machine()
    made.restore(machine.applied, machine.snapshot())
    return made


@settings(max_examples=150, deadline=None)
@given(LOGS)
def test_it_is_the_same_however_one_got_there(log: list[tuple[Command, Term, bool]]) -> None:
    """Taken now and then or never, and by a machine that began with a snapshot."""
    one, other = Driven(), Driven()
    for command, term, take in log:
        one.do(command, term)
        other.do(command, term)
        if take:
            assert one.machine.digest() == restored(one.machine).digest()
    assert one.machine.digest() == other.machine.digest() == restored(other.machine).digest()


@settings(max_examples=150, deadline=None)
@given(LOGS, LOGS)
def test_two_states_have_one_digest_only_when_they_are_the_same(
    first: list[tuple[Command, Term, bool]], second: list[tuple[Command, Term, bool]]
) -> None:
    one, other = Driven(), Driven()
    for driven, log in ((one, first), (other, second)):
        for command, term, _ in log:
            driven.do(command, term)
    canonical = [sorted_leases(driven.machine) for driven in (one, other)]
    assert (one.machine.digest() == other.machine.digest()) is (canonical[0] == canonical[1])


def sorted_leases(machine: Machine) -> object:
    """What counts: the order in which leases were granted follows from the log and says nothing more."""
    frozen = machine.freeze()
    return frozen.revision, sorted(frozen.leases, key=lambda lease: lease.id), list(frozen.values)


@pytest.mark.parametrize(
    "command",
    [
        Put(b"a", b"other"),
        Put(b"a", b"x"),  # the same value: another revision and version
        Put(b"b", b"x"),
        Put(b"a", b"x", SEVEN),
        DeleteRange(b"a"),
        LeaseGrant(LeaseId(8), 5),
        LeaseRevoke(SEVEN),
        LeaseCheckpoint(((SEVEN, 3),), Term(1)),
        Once(SEVEN, 2, 0, Put(b"c", b"")),
        Once(SEVEN, 2, 1, Put(b"c", b"")),
    ],
)
def test_every_part_of_the_state_counts(command: Command) -> None:
    kv = Driven()
    for first in (LeaseGrant(SEVEN, 5), Put(b"a", b"x"), Once(SEVEN, 1, 0, Put(b"o", b""))):
        kv.do(first)
    before = kv.machine.digest()
    kv.do(command)
    assert kv.machine.digest() != before
    assert kv.machine.digest() == restored(kv.machine).digest()


def test_a_report_changes_nothing() -> None:
    kv = Driven()
    kv.do(Put(b"a", b"x"))
    before = kv.machine.digest()
    kv.do(ReportDigest(NodeId("a"), Index(1), b"d"))
    assert kv.machine.digest() == before


def test_it_costs_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    kv = Driven()
    for n in range(1000):
        kv.machine.apply(Index(n + 1), Term(1), Put(b"%d" % n, b""))
    kv.machine.digest()
    hashed: list[object] = []
    hash_of = digest.hash_of

    def counted(content: KeyValue) -> int:
        hashed.append(content)
        return hash_of(content)

    monkeypatch.setattr(digest, "hash_of", counted)
    for n in range(5):
        kv.machine.apply(Index(1001 + n), Term(1), Put(b"7", b"%d" % n))
    kv.machine.digest()
    assert len(hashed) == 1


def test_what_waits_to_be_hashed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "TOUCHED_MAX", 10)
    kv = Driven()
    for n in range(100):
        kv.do(Put(b"%d" % n, b""))
        assert len(kv.machine._digest.touched) <= 10
    assert kv.machine.digest() == restored(kv.machine).digest()


def test_the_canonical_form_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    before = machine.digest()
    monkeypatch.setattr(digest, "FORMAT", digest.FORMAT + 1)
    assert machine.digest() != before
