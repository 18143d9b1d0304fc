"""Who led, kept within bounds; and what is made of it when somebody asks why."""

from __future__ import annotations

import pytest

from incumbent.engines.api import Cell
from incumbent.errors import EngineError
from incumbent.leadership.control import Control, Paused, Successor
from incumbent.leadership.history import (
    HISTORY_BYTES_MAX,
    HISTORY_CELL,
    NOT_KNOWN,
    RECORDS_MAX,
    Record,
    encode,
    is_open,
    read,
    with_end,
    with_start,
)
from incumbent.leadership.preference import Queued
from incumbent.leadership.roll import leads
from incumbent.leadership.standing import UNSAID, Standing
from incumbent.leadership.why import Finding, why

NOTHING = Control()


def queued(order: int, name: str, standing: Standing | None = UNSAID) -> Queued:
    return Queued(f"m{order}", order, name, standing, b"")


# --- the records ------------------------------------------------------------------------------------------------------


def test_a_clean_succession_is_recorded_with_its_gap() -> None:
    records = with_start((), 5, "a", 1000)
    assert is_open(records, 5)
    records = with_end(records, 5, "resigned", 3000)
    records = with_start(records, 9, "b", 3004)
    assert records == (
        Record(5, "a", 1000, ended_ms=3000, reason="resigned"),
        Record(9, "b", 3004, gap_ms=4),
    )
    assert not is_open(records, 5)
    assert is_open(records, 9)
    assert not is_open(records, 7)


def test_what_a_dead_leader_could_not_say_is_closed_by_its_successor() -> None:
    records = with_start(with_start((), 5, "a", 1000), 9, "b", 7000)
    assert records == (
        Record(5, "a", 1000, ended_ms=7000, reason=NOT_KNOWN),
        Record(9, "b", 7000),
    )
    # It was not dead, and its own word comes late: it counts, and so the gap is known.
    assert with_end(records, 5, "renew_timeout", 6990) == (
        Record(5, "a", 1000, ended_ms=6990, reason="renew_timeout"),
        Record(9, "b", 7000, gap_ms=10),
    )


def test_what_is_said_again_changes_nothing() -> None:
    """P3: requests whose answers were lost are made again."""
    records = with_start(with_start((), 5, "a", 1000), 9, "b", 7000)
    assert with_start(records, 9, "b", 7500) == records
    assert with_start(records, 5, "a", 7500) == records
    ended = with_end(records, 9, "resigned", 8000)
    assert with_end(ended, 9, "resigned", 9000) == ended
    assert with_end(records, 4, "resigned", 9000) == records


def test_what_is_written_late_stands_where_it_belongs() -> None:
    """A short term's record may come after its successor's."""
    records = with_end(with_start((), 5, "a", 1000), 5, "resigned", 2000)
    records = with_start(records, 9, "c", 4000)
    records = with_start(records, 7, "b", 2500)
    assert records == (
        Record(5, "a", 1000, 2000, "resigned"),
        Record(7, "b", 2500, 4000, NOT_KNOWN, gap_ms=500),
        Record(9, "c", 4000),
    )
    assert with_end(records, 7, "body_ended", 3999)[1:] == (
        Record(7, "b", 2500, 3999, "body_ended", gap_ms=500),
        Record(9, "c", 4000, gap_ms=1),
    )


def test_what_is_older_than_a_full_history_is_left_out() -> None:
    records: tuple[Record, ...] = ()
    for number in range(RECORDS_MAX):
        records = with_start(records, 10 + number, "a", 1000 + number)
    assert with_start(records, 9, "late", 5000) == records
    assert with_start(records, 1000, "new", 5000)[-1].token == 1000


def test_clocks_of_two_hosts_never_make_a_gap_negative() -> None:
    records = with_end(with_start((), 5, "a", 1000), 5, "resigned", 3000)
    assert with_start(records, 9, "b", 2500)[-1].gap_ms == 0


def test_the_history_is_bounded() -> None:
    records: tuple[Record, ...] = ()
    for number in range(1, 200):
        records = read(Cell(encode(with_start(records, number, "a", number)), 1))
    assert len(records) == RECORDS_MAX
    assert records[-1].token == 199
    for number in range(200, 230):
        records = read(Cell(encode(with_start(records, number, "n" * 1000, number)), 1))
    assert len(encode(records)) <= HISTORY_BYTES_MAX
    assert 10 < len(records) < RECORDS_MAX
    assert records[-1].token == 229
    assert read(Cell(None, 0)) == ()


def test_a_damaged_history_is_said() -> None:
    with pytest.raises(EngineError, match=HISTORY_CELL):
        read(Cell(b"[", 3))


# --- why --------------------------------------------------------------------------------------------------------------


def codes(queue: tuple[Queued, ...], token: int | None, control: Control, *records: Record) -> list[Finding]:
    return [statement.code for statement in why(queue, token, control, records)]


def test_why_says_who_leads_who_follows_and_what_was_before() -> None:
    a, b = queue = (queued(5, "a"), queued(6, "b"))
    former = Record(3, "z", 1, ended_ms=2, reason="expired")
    assert codes(queue, 5, NOTHING, former, Record(5, "a", 3)) == [Finding.LEADS, Finding.LAST, Finding.NEXT]
    assert codes(queue, 5, NOTHING, former) == [Finding.STARTING, Finding.LAST, Finding.NEXT]
    unended = why(queue, 5, NOTHING, (Record(3, "z", 1),))[1]
    assert unended.text == "the leader before it was z (token 3), which has not written down its end"
    assert codes((a,), 5, NOTHING) == [Finding.LEADS]
    named = Control(successor=Successor(b.id, b.order, "b", ""))
    assert Finding.NAMED in codes(queue, 5, named)
    drained = Control(drained=("b",))
    assert codes(queue, 5, drained) == [Finding.LEADS, Finding.DRAINED]


def test_why_says_why_nobody_leads() -> None:
    unfit = queued(5, "a", Standing(eligible=False))
    former = Record(3, "z", 1, ended_ms=2, reason=NOT_KNOWN)
    assert codes((), None, NOTHING, former) == [Finding.NO_CANDIDATES, Finding.LAST]
    assert codes((unfit,), 5, NOTHING) == [Finding.NOBODY_MAY, Finding.INELIGIBLE]
    assert codes((queued(5, "a"),), None, NOTHING) == [Finding.NO_PROOF]
    paused = Control(paused=Paused(by="ops", why="disks"))
    assert codes((queued(5, "a"),), 5, paused) == [Finding.PAUSED]
    (said,) = why((queued(5, "a"),), 5, paused, ())
    assert said.text.startswith("nobody leads: the election is paused by ops: disks; nobody begins")
    assert [one.text.partition(":")[0] for one in why((), None, paused, ())] == [
        "nobody leads",
        "the election is paused by ops",
    ]
    assert codes((queued(5, "f", None),), 5, NOTHING) == [Finding.LEADS, Finding.FOREIGN]
    assert why((), None, NOTHING, (former,))[1].text.endswith(
        "z (token 3), which was gone before it could say why"
    )


def test_who_must_not_begin_leads_only_when_it_had_begun_before() -> None:
    """P36: observers are not shown a first member that waits."""
    a = queued(5, "a")
    open_record, ended = Record(5, "a", 1), Record(5, "a", 1, ended_ms=2, reason="resigned")
    for control in (Control(paused=Paused()), Control(drained=("a",))):
        assert leads((a,), 5, control, ()) is None
        assert leads((a,), 5, control, (open_record,)) == a
        assert leads((a,), 5, control, (ended,)) is None
    assert leads((a,), 5, NOTHING, ()) == a
    assert leads((a,), None, NOTHING, (open_record,)) is None
