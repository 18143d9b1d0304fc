"""The middlewares on real servers: two workers, restarts, and handlers that stand in the way."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from incumbent.fencing import files
from incumbent.fencing.http import HIGHEST_HEADER

KINDS = ("wsgi", "asgi")
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("kind", KINDS)]
LARGE = (1 << 53) + 1


class Reply(NamedTuple):
    status: int
    highest: str | None
    body: dict[str, str]


class Worker:
    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def post(self, note: str, *headers: tuple[str, str], path: str = "/") -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest("POST", path)
            for header in (*headers, ("Content-Length", str(len(note)))):
                connection.putheader(*header)
            connection.endheaders(note.encode())
            response = connection.getresponse()
            return Reply(response.status, response.getheader(HIGHEST_HEADER), json.loads(response.read()))
        finally:
            connection.close()

    def write(self, token: int, note: str, path: str = "/") -> Reply:
        return self.post(note, ("Fencing-Token", str(token)), path=path)


@contextmanager
def worker(kind: str, path: Path, *options: str) -> Iterator[Worker]:
    command = [sys.executable, "-m", "tests.fencing.http_server", kind, str(path), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            at = Worker(process, int(process.stdout.readline()))
            _until(lambda: _answers(at))
            yield at
        finally:
            process.kill()


def _answers(at: Worker) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=20)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(5000):
        if holds():
            return
        time.sleep(0.002)
    raise AssertionError("it never came to be")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def notes(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_two_workers_and_a_restart_share_one_fence(kind: str, path: Path) -> None:
    """P33, P34: what one worker admitted the other one knows, and a new one too. P35: beyond the doubles."""
    with worker(kind, path) as first, worker(kind, path) as second:
        assert first.write(LARGE - 1, "one") == (200, None, {"token": str(LARGE - 1), "holder": ""})
        assert second.write(LARGE, "two").status == 200
        late = first.write(LARGE - 1, "late")
        assert (late.status, late.highest) == (412, str(LARGE))
        assert (late.body["token"], late.body["highest"]) == (str(LARGE - 1), str(LARGE))
    with worker(kind, path) as third:
        assert third.write(LARGE - 1, "late").status == 412
        assert third.write(LARGE, "three").status == 200
    assert notes(path) == [f"{LARGE - 1} one", f"{LARGE} two", f"{LARGE} three"]
    assert files.Fence(f"{path}.store", "scheduler").refused() == 2


def test_what_the_headers_say_is_taken_strictly(kind: str, path: Path) -> None:
    with worker(kind, path) as at:
        assert at.post("none").status == 428
        for bad in ("", "0", "-5", "+5", "05", "5.0", "5;a=1", "5, 6", '"5"', "5 6", str(2**63), "9" * 400):
            assert at.post("bad", ("Fencing-Token", bad)).status == 400, bad
        assert at.post("twice", ("Fencing-Token", "5"), ("Fencing-Token", "6")).status == 400
        assert at.post("x", ("Fencing-Token", "5"), ("Fencing-Holder", "n" * 1025)).status == 400
        assert at.post("a", ("Fencing-Token", " 5 "), ("fencing-holder", "node-a")).body["holder"] == "node-a"
        assert at.post("b", ("Fencing-Token", "5"), ("Fencing-Holder", "node-b")).status == 412
    assert notes(path) == ["5 a"]


def test_an_exclusive_handler_is_alone(kind: str, path: Path) -> None:
    """P33: the fence's lock is held while the handler runs, in every worker; a newer leader waits, or is told to come again."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(worker(kind, path, "exclusive")) for _ in range(2))
        replies: list[Reply] = []
        slow = threading.Thread(target=lambda: replies.append(first.write(5, "slow", "/slow")))
        slow.start()
        _until(path.with_name("inside").exists)
        busy = [second.write(8, "newer"), first.write(8, "newer")]
        assert [(reply.status, reply.body["error"]) for reply in busy] == [(503, "fence_unavailable")] * 2
        path.with_name("go-on").touch()
        slow.join()
        assert [reply.status for reply in replies] == [200]
        assert second.write(8, "newer").status == 200
        assert first.write(5, "late").status == 412
    assert notes(path) == ["5 slow", "8 newer"]


def test_a_worker_killed_in_an_exclusive_handler_leaves_the_fence_raised(kind: str, path: Path) -> None:
    """P33: who knows what its handler had done; so nobody older comes after it."""
    with worker(kind, path, "exclusive") as first, worker(kind, path, "exclusive") as second:
        slow = threading.Thread(target=_ignoring_the_end, args=(first,))
        slow.start()
        _until(path.with_name("inside").exists)
        first.process.send_signal(signal.SIGKILL)
        slow.join()
        assert second.write(4, "older").status == 412
        assert second.write(5, "again").status == 200
    assert notes(path) == ["5 again"]


def _ignoring_the_end(at: Worker) -> None:
    try:
        at.write(5, "slow", "/slow")
    except (OSError, http.client.HTTPException):
        return
