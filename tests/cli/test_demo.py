"""The demo's parts, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest

from incumbent.check import history
from incumbent.check.history import Kind as EventName
from incumbent.cli.demo.children import Kin
from incumbent.cli.demo.faults import SHOWN, Failover, Kind, Scoreboard
from incumbent.cli.demo.nodes import Child, DemoFailed, Nodes, free_ports
from incumbent.cli.demo.recorder import Recorder, TermRecorder, process_name
from incumbent.cli.demo.view import TITLES, Lines
from incumbent.cli.demo.worker import ResourceClient, Worker
from incumbent.leadership.connect import connect
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.preference import Preference
from incumbent.leadership.tenure import Reason

PATIENCE_S = 30.0


def processes_of(directory: Path) -> dict[int, str]:
    """Living processes whose command line names this directory, and the guardians of those."""
    found: dict[int, str] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z":
            continue
        parents[int(entry.name)] = int(fields[1])
        if str(directory) in line and "incumbent.cli.demo" in line:
            found[int(entry.name)] = line
    for pid, parent in parents.items():
        if parent in found:
            found[pid] = f"child of {parent}"
    return found


def wait_until(what: str, holds: object) -> None:
    assert callable(holds)
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "guardians_too"),
    [(signal.SIGINT, 130, True), (signal.SIGKILL, -signal.SIGKILL, False)],
)
def test_a_demo_that_is_ended_leaves_no_process(
    tmp_path: Path, number: signal.Signals, code: int, *, guardians_too: bool
) -> None:
    """Ctrl-C cleans up. After SIGKILL the kernel ends the nodes; the guardians go by themselves, once their time to end
    sessions is over."""
    kept = tmp_path / "kept"
    demo = subprocess.Popen(
        [sys.executable, "-m", "incumbent", "demo", "--rounds", "50", "--keep", str(kept)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    guardians: set[int] = set()
    try:
        assert demo.stdout
        while "leads with token" not in demo.stdout.readline():
            assert demo.poll() is None, demo.communicate()
        seen = processes_of(kept)
        nodes = {pid for pid, line in seen.items() if "incumbent.cli.demo" in line}
        guardians = set(seen) - nodes
        assert len(nodes) >= 3
        assert guardians
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=PATIENCE_S)
        assert demo.returncode == code
        assert "Traceback" not in errors
        wait_until("all nodes are dead", lambda: not any(is_alive(pid) for pid in nodes))
        if guardians_too:
            wait_until("all guardians are dead", lambda: not any(is_alive(pid) for pid in guardians))
    finally:
        demo.kill()
        demo.communicate()
        for pid in guardians:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_kin_are_killed_after_their_parent() -> None:
    script = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        with Kin([parent.pid]) as kin:
            parent.kill()
            parent.wait()
            assert is_alive(child)
            kin.kill()
            wait_until("the orphan is dead", lambda: not is_alive(child))
            kin.kill()  # harmless


# --- failures are clear -----------------------------------------------------------------------------------------


async def test_a_node_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = Child("b", "tests.cli.no_such_module", [], tmp_path / "b.log", lambda _name, _message: None)
    await child.start()
    with pytest.raises(DemoFailed, match=r"(?s)node b ended while waiting for: hello.*b\| .*no_such_module"):
        await child.wait_for("hello", lambda _message: True)
    await child.end()


async def test_a_wait_is_bounded_and_shows_every_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incumbent.cli.demo.faults.WAIT_S_MAX", 0.01)
    nodes = Nodes(tmp_path, ttl=1.0, on_line=lambda _name, _message: None)
    for name in ("a", "b", "c", "resource"):
        (tmp_path / f"{name}.log").write_text(f"last words of {name}\n")
    with pytest.raises(
        DemoFailed, match=r"(?s)token above 7 in .*a\| last words of a.*resource\| last words"
    ):
        await Scoreboard().above(7, nodes)
    await nodes.end()


def test_a_kept_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "incumbent", "demo", "--keep", str(tmp_path / "file")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("incumbent: --keep: ")
    assert done.stderr.count("\n") == 1


# --- the scoreboard ---------------------------------------------------------------------------------------------


async def test_a_failover_is_over_with_the_first_accepted_write(tmp_path: Path) -> None:
    """Being elected is not enough: the new leader has acted with effect."""
    board = Scoreboard()
    nodes = Nodes(tmp_path, ttl=1.0, on_line=board.on_line)
    board.on_line("a", {"event": "leading", "token": 5})
    board.on_line("resource", {"first_accepted": 5, "time_ns": 100})
    waiting = asyncio.ensure_future(board.above(5, nodes))
    board.on_line("b", {"event": "leading", "token": 8})
    await asyncio.sleep(0)
    assert (board.leader, board.token, waiting.done()) == ("a", 5, False)
    board.on_line("resource", {"first_accepted": 8, "time_ns": 200})
    assert await waiting == 200
    assert (board.leader, board.token) == ("b", 8)
    await nodes.end()


# --- the recorder -----------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_node_knows_candidates_by_their_names_whatever_else_they_say(tmp_path: Path) -> None:
    """As after a hand-over, for which an operator may ask while the demo runs."""
    (port,) = free_ports(1)
    url = f"cluster://{tmp_path}/a?cluster=demo&node=a&peers=a@127.0.0.1:{port}"
    async with connect(url, ttl=1.0, guardian=False) as cluster:
        recorder = TermRecorder(Recorder(tmp_path / "history.jsonl"))
        worker = Worker("a", cluster, cast(ResourceClient, None), recorder)
        election = cluster.election("scheduler", candidate="b", preference=Preference(priority=1))
        async with election.campaign():
            assert (await worker._status())["candidates"] == ["b"]


def test_what_is_recorded_is_what_the_judge_reads(tmp_path: Path) -> None:
    """They share no code, so that this could come apart."""
    path = tmp_path / "history.jsonl"
    recorder = Recorder(path)
    record_term = TermRecorder(recorder)
    for number, kind in enumerate(EventKind):
        over = kind in (EventKind.LOST, EventKind.RELEASED)
        record_term(
            TermEvent(
                kind=kind, election="e", candidate="a", token=5, time_ns=number, pid=os.getpid(), deadline_ns=99,
                reason=Reason.EXPIRED if over else None,
            )
        )  # fmt: skip
    record_term.acting("e", "a", 5, time_ns=10)
    recorder.record("refused", time_ns=11, election="e", token=4, highest=5)
    recorder.close()
    events = history.parse(path.read_text().splitlines())
    assert [event.kind for event in events] == [
        EventName.ELECTED, EventName.EXTENDED, EventName.JEOPARDY, EventName.ENDED, EventName.ENDED, EventName.ACTING,
        EventName.REFUSED,
    ]  # fmt: skip
    assert {event.process for event in events[:-1]} == {process_name(os.getpid())}
    assert [event.deadline_ns for event in events[:2]] == [99, 99]
    assert events[3].reason == "expired"


def test_several_writers_of_one_file_never_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    recorders = [Recorder(path) for _ in range(3)]
    for number in range(30):
        recorders[number % 3].record("killed", time_ns=number, process="p" * 500)
    assert [json.loads(line)["time_ns"] for line in path.read_text().splitlines()] == list(range(30))
    for recorder in recorders:
        recorder.close()


# --- the view ---------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(text: str) -> list[str]:
    """What stands on a terminal that understands just the two sequences used here."""
    screen: list[str] = [""]
    for part in text.replace("\x1b[J", "\x1b[J\0").split("\0"):
        body, clears = part.removesuffix("\x1b[J"), part.endswith("\x1b[J")
        body, _, up = body.rpartition("\x1b[") if clears else (body, "", "")
        for index, piece in enumerate(body.split("\n")):
            if index:
                screen.append("")
            screen[-1] += piece
        if clears:
            screen = [*screen[: len(screen) - 1 - int(up.removesuffix("F"))], ""]
    return screen[:-1]


def failover(board: Scoreboard) -> Failover:
    return Failover(Kind.HOLDER_KILLED, 12.34, "a", both_roles=True, token=board.token)


async def test_on_a_terminal_one_table_is_kept_up_to_date(tmp_path: Path) -> None:
    out = Terminal()
    view, board = Lines(out), Scoreboard(leader="b", token=8)
    nodes = Nodes(tmp_path, ttl=1.0, on_line=lambda _name, _message: None)
    view.started(board)
    view.update(board, nodes)
    view.update(board, nodes)
    view.failed_over(1, failover(board), board)
    lines = shown(out.getvalue())
    assert [line.split() for line in lines[-3:]] == [["a", "dead"], ["b", "dead"], ["c", "dead"]]
    assert sum("dead" in line for line in lines) == 3, "one table, not one per change"
    assert "SIGKILL of the leader (a, which led both)" in lines[-5]
    assert "12.3 ms" in lines[-5]
    view.ended()
    assert not any("dead" in line for line in shown(out.getvalue()))
    await nodes.end()


async def test_elsewhere_it_prints_plain_lines(tmp_path: Path) -> None:
    out = io.StringIO()
    view, board = Lines(out), Scoreboard(leader="b", token=8)
    nodes = Nodes(tmp_path, ttl=1.0, on_line=lambda _name, _message: None)
    view.started(board)
    view.update(board, nodes)
    view.failed_over(1, failover(board), board)
    view.ended()
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().endswith("b leads with token 8\n")
    await nodes.end()


def test_every_fault_has_a_title_and_is_documented() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "reference" / "cli.md").read_text()
    assert set(TITLES) == {kind.value for kind in Kind}
    assert [kind for kind in SHOWN if f"`{kind}`" not in page] == []


def test_free_ports_differ() -> None:
    assert len(set(free_ports(3))) == 3
