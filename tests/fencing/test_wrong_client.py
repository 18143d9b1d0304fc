"""A client that does the wrong thing on purpose corrupts nothing in any sink, and the judge agrees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from incumbent.check.history import parse
from incumbent.check.leadership import Judgement, Verdict, judge
from incumbent.cli.demo.recorder import Recorder, process_name
from tests.fencing.sinks import ELECTION, Places, lines, prepare
from tests.fencing.test_http_servers import worker
from tests.fencing.wrong_client import LATE_WRITES
from tests.servers.postgres import Postgres, postgres
from tests.servers.redis import Redis, redis

pytestmark = pytest.mark.slow
SINKS = {"sqlite", "files", "postgres", "redis", "http"}


class Client:
    """A process that says what it does; what it says is kept."""

    def __init__(self, mode: str, places: Places) -> None:
        self.said: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fencing.wrong_client", mode, places.as_text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, what: str) -> Any:
        """Read until it says that, and give its value."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))
            if what in self.said[-1]:
                return self.said[-1][what]
        raise AssertionError(f"it never said {what}: {self.said}")

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        for said in self.said:
            if "child" in said:
                with suppress(ProcessLookupError):
                    os.kill(said["child"], signal.SIGKILL)
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self.process.wait()


@contextmanager
def client(mode: str, places: Places) -> Iterator[Client]:
    made = Client(mode, places)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Redis]]:
    with (
        postgres(fsync="off") as database,
        redis(tmp_path_factory.mktemp("redis"), persistent=False) as store,
    ):
        yield database, store


@pytest.fixture
def places(tmp_path: Path, servers: tuple[Postgres, Redis]) -> Iterator[Places]:
    database, store = servers
    unserved = Places(str(tmp_path), database.url(), store.url(), 0)
    prepare(unserved)
    with worker("wsgi", unserved.behind_http, "exclusive") as at:
        yield Places(str(tmp_path), database.url(), store.url(), at.port)


@pytest.mark.parametrize("mode", ["sleeps", "blocks", "swallows", "stopped", "forks"])
def test_whatever_it_does_wrong_nothing_is_corrupted(mode: str, places: Places) -> None:
    """P14, P33, P34: in no sink a lower token comes after a higher one; each late write is refused."""
    with client(mode, places) as wrong:
        old = wrong.until("wrote")
        if mode in ("stopped", "swallows"):
            wrong.process.send_signal(signal.SIGSTOP)
        if mode == "forks":
            recorder = Recorder(Path(places.directory) / "test.history")
            recorder.record("killed", process=process_name(wrong.process.pid))
            recorder.close()
            wrong.process.send_signal(signal.SIGKILL)
        with client("right", places) as right:
            new = right.until("elected")
            assert new > old
            if (
                mode == "stopped"
            ):  # perhaps inside a lock, which the successor waits for: so the two race from here on
                wrong.process.send_signal(signal.SIGCONT)
            right.until("wrote")
            (Path(places.directory) / "go-on").touch()
            wrong.process.send_signal(signal.SIGCONT)
            wrong.until("done")
            right.go_on()
            right.until("done")
        late = [said for said in wrong.said if str(said.get("text")).startswith("late")]
        assert {said["sink"] for said in late} == SINKS
        assert len(late) == LATE_WRITES * len(SINKS)
        assert {said["highest"] for said in late} == {new}
        found = lines(places)
        assert set(found) == SINKS
        for kind, written in found.items():
            tokens = [int(line.split()[0]) for line in written]
            assert tokens == sorted(tokens), (kind, written)
            assert [line for line in written if line.startswith(f"{new} ")] == [
                f"{new} successor",
                f"{new} again",
            ]
            assert f"{old} first" in written
            judgement = judged(places, tokens, [said for said in late if said["sink"] == kind])
            assert (judgement.verdict, judgement.findings, judgement.gaps) == (Verdict.OK, (), ()), kind
            assert judgement.refused == LATE_WRITES


def judged(places: Places, accepted: Sequence[int], refused: Sequence[dict[str, Any]]) -> Judgement:
    """What the processes recorded of their terms, and what one sink took and refused, in the sink's own order."""
    recorded = [
        line
        for path in sorted(Path(places.directory).glob("*.history"))
        for line in path.read_text().splitlines()
    ]
    after_ns = max(event.time_ns for event in parse(recorded))
    of_sink = [{"event": "accepted", "token": str(token)} for token in accepted] + [
        {"event": "refused", "token": str(said["token"]), "highest": str(said["highest"])} for said in refused
    ]
    resource = [
        json.dumps({**event, "election": ELECTION, "time_ns": after_ns + number})
        for number, event in enumerate(of_sink)
    ]
    return judge(parse([*recorded, *resource]))


def test_the_judge_would_see_it(tmp_path: Path) -> None:
    """The checker can fail: a sink that took the late write after the successor's is found out."""
    places = Places(str(tmp_path), "", "", 0)
    for token, process in ((5, "a"), (8, "b")):
        begun = {
            "event": "elected", "election": ELECTION, "candidate": process, "process": process, "token": token,
            "time_ns": token * 100, "deadline_ns": token * 100 + 50,
        }  # fmt: skip
        (tmp_path / f"{process}.history").write_text(json.dumps(begun) + "\n")
    assert judged(places, [5, 8], []).verdict is Verdict.OK
    assert judged(places, [5, 8, 5], []).verdict is Verdict.VIOLATED
