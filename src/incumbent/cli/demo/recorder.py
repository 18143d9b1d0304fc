"""Writes a process's history, one JSON line per event, as `incumbent check` reads it (docs/reference/history.md)."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Final

from incumbent.leadership.events import EventKind, TermEvent
from incumbent.runtime.clock import BoottimeClock
from incumbent.runtime.process import process_start_ticks

CLOCK = BoottimeClock()
BEGIN_S_MAX: Final = 1.0
"""So long a beginning may take to be recorded."""


def process_name(pid: int) -> str:
    """Names one start of one process, also when its pid is used again."""
    return f"{pid}@{process_start_ticks(pid)}"


class Recorder:
    """Appends to one file. Each event is one write, so a kill loses whole lines or nothing."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def record(self, event: str, *, time_ns: int | None = None, **fields: object) -> None:
        """Write one event; it happened at `time_ns`, or now."""
        line = {"event": event, "time_ns": CLOCK.now_ns() if time_ns is None else time_ns, **fields}
        os.write(self._fd, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        os.close(self._fd)


class TermRecorder:
    """A listener of an election that records every change of its terms. Listeners are called by a thread of their own."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._process = process_name(os.getpid())
        self._begun: dict[str, int] = {}  # the newest token whose beginning is recorded, by election
        self._began = threading.Condition()

    def __call__(self, event: TermEvent) -> None:
        fields: dict[str, object] = {
            "election": event.election,
            "candidate": event.candidate,
            "process": self._process,
            "token": event.token,
        }
        match event.kind:
            case EventKind.ELECTED | EventKind.EXTENDED:
                fields["deadline_ns"] = event.deadline_ns
            case EventKind.LOST | EventKind.RELEASED:
                fields["reason"] = str(event.reason)
            case EventKind.JEOPARDY:
                pass
        ended = event.kind in (EventKind.LOST, EventKind.RELEASED)
        self._recorder.record("ended" if ended else event.kind.value, time_ns=event.time_ns, **fields)
        if event.kind is EventKind.ELECTED:
            with self._began:
                self._begun[event.election] = event.token
                self._began.notify_all()

    def acting(self, election: str, candidate: str, token: int, *, time_ns: int) -> None:
        """The process passed its own check, which it made at or after `time_ns`. Recorded after the beginning of its term: a kill
        between the two must not make a history of somebody who acted and was never elected."""
        with self._began:
            self._began.wait_for(lambda: self._begun.get(election, 0) >= token, BEGIN_S_MAX)
        self._recorder.record(
            "acting",
            time_ns=time_ns,
            election=election,
            candidate=candidate,
            process=self._process,
            token=token,
        )
