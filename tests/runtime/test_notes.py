"""Notes: kept in a bounded ring, logged at a bounded rate, and the log says what it leaves out."""

from __future__ import annotations

import logging

import pytest

from incumbent.consensus.api import Note
from incumbent.runtime.notes import NOTES_KEPT_MAX, NOTES_LOGGED_PER_SECOND_MAX, Notes

SECOND_NS = 1_000_000_000


class StillClock:
    def __init__(self) -> None:
        self.ns = 5 * SECOND_NS

    def now_ns(self) -> int:
        return self.ns


def test_a_note_is_one_line_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "incumbent")
    Notes("a", StillClock()).add([Note("vote_granted", {"term": 3, "to": "b"})])
    assert caplog.messages == ["node=a note=vote_granted term=3 to='b'"]


def test_a_flood_is_counted_cut_and_owned_up_to(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "incumbent")
    clock = StillClock()
    notes = Notes("a", clock)
    notes.add(Note("n", {"number": number}) for number in range(1000))
    assert len(caplog.messages) == NOTES_LOGGED_PER_SECOND_MAX
    assert notes.counts["n"] == 1000
    assert [note.facts["number"] for note in notes.recent()] == list(range(1000 - NOTES_KEPT_MAX, 1000))
    clock.ns += SECOND_NS
    notes.add([Note("m", {})])
    left_out = 1000 - NOTES_LOGGED_PER_SECOND_MAX
    assert caplog.messages[-2:] == [f"node=a notes_left_out={left_out}", "node=a note=m"]
