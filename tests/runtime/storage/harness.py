"""``python -m tests.runtime.storage.harness DIRECTORY SEED``, under LD_PRELOAD: a fault at EVERY call that changes the disk.

Each trial is a forked process that loads a log, persists the same records and says which were acknowledged, with one fault
armed below Python. The log is then opened again without it and judged. Prints the trials as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from random import Random
from typing import Final

from tests.runtime.storage.suite import effect, same, some_records

from incumbent.consensus.api import Record, Saved
from incumbent.errors import StorageFailed
from incumbent.ids import DiskId
from incumbent.runtime.storage import files, segments
from incumbent.runtime.storage.log import RaftLog

DISK: Final = DiskId("0123456789ab")
BATCHES: Final = 24
REFUSED: Final = b"R"
REPORTED_AFTERWARDS: Final = b"!"


class Kind(IntEnum):
    KILL_BEFORE = 1
    KILL_AFTER = 2
    KILL_HALFWAY = 3
    FAIL = 4
    SHORT = 5


@dataclass(frozen=True)
class Fault:
    kind: Kind
    error: int = 0

    def __str__(self) -> str:
        return self.kind.name.lower() + (f" {errno.errorcode[self.error]}" if self.error else "")


FAULTS: Final = (
    Fault(Kind.KILL_BEFORE),
    Fault(Kind.KILL_AFTER),
    Fault(Kind.KILL_HALFWAY),
    Fault(Kind.FAIL, errno.EIO),
    Fault(Kind.FAIL, errno.ENOSPC),
    Fault(Kind.FAIL, errno.EROFS),
    Fault(Kind.SHORT),
)


def workload(seed: int) -> tuple[list[list[Record]], list[Saved]]:
    """Batches, and what a load gives after each; the first is before all of them."""
    random, saved = Random(seed), Saved()
    batches, states = [], [saved]
    for _ in range(BATCHES):
        after = 0 if saved.snapshot is None else saved.snapshot.index
        batch = some_records(random, after)
        saved = effect(saved, batch)
        batches.append(batch)
        states.append(saved)
    return batches, states


def live(directory: Path, batches: list[list[Record]], report: int, *, believe_errors: bool) -> None:
    """One life. Every acknowledged batch is a byte on `report`; a refusal another, and then nothing may succeed."""
    log = RaftLog(directory, DISK)
    try:
        log.load()
        for batch in batches:
            log.persist(batch)
            os.write(report, b".")
    except StorageFailed:
        os.write(report, REFUSED)
    if not believe_errors:  # the planted fault of the harness's own test: a log that writes on
        log._refusal = None
    try:
        log.persist([Record(b"after the error")])
    except StorageFailed:
        return
    os.write(report, REPORTED_AFTERWARDS)


def trial(
    library: ctypes.CDLL, directory: Path, seed: int, at: int, fault: Fault, *, believe_errors: bool
) -> str | None:
    """Give what is wrong, "done" when the fault came too late to matter, or None."""
    batches, states = workload(seed)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        library.faults_arm(ctypes.c_long(at), int(fault.kind), fault.error)
        live(directory, batches, writer, believe_errors=believe_errors)
        os._exit(0 if library.faults_calls() >= at else 9)
    os.close(writer)
    reported = b""
    while part := os.read(reader, 4096):
        reported += part
    os.close(reader)
    _, status = os.waitpid(child, 0)
    acknowledged = reported.count(b".")
    where = f"{fault} at call {at}, {acknowledged} acknowledged"
    if REFUSED in reported and REPORTED_AFTERWARDS in reported:
        return f"{where}: a write succeeded after the error"
    if fault.kind is Kind.FAIL and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        if REFUSED not in reported and acknowledged == BATCHES and REPORTED_AFTERWARDS not in reported:
            return None  # it hit the record after the last
        if REFUSED not in reported and acknowledged < BATCHES:
            return f"{where}: the error was swallowed"
    try:
        with closing(RaftLog(directory, DISK)) as log:
            found = log.load()
            allowed = states[acknowledged : acknowledged + 2]
            if REPORTED_AFTERWARDS in reported or acknowledged == BATCHES:
                last = states[-1]
                allowed = [last, Saved(b"after the error", last.entries, last.snapshot)]
            if not any(same(found, state) for state in allowed):
                return f"{where}: what was acknowledged is not what is there"
    except Exception as error:
        return f"{where}: {error!r}"
    return "done" if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 9 else None


def run(directory: Path, seed: int, *, believe_errors: bool = True) -> dict[str, object]:
    files.ZEROS_BYTES = 512  # type: ignore[misc]
    segments.SEGMENT_BYTES = 1024  # type: ignore[misc]
    logging.disable()
    library = ctypes.CDLL(None)
    wrong: list[str] = []
    trials = 0
    for fault in FAULTS:
        for at in range(1, 1000):
            place = directory / f"{fault.kind}-{fault.error}-{at}"
            place.mkdir(parents=True)
            said = trial(library, place, seed, at, fault, believe_errors=believe_errors)
            trials += 1
            if said == "done":
                break
            if said is not None:
                wrong.append(said)
    return {"trials": trials, "wrong": wrong}


if __name__ == "__main__":
    careless = len(sys.argv) > 3
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), believe_errors=not careless)))
