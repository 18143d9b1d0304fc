"""The demo's worker: a process with a voter and a candidate, whose leader keeps writing to the resource.

It is told what to do by lines on standard input, and says what happens by JSON lines on standard output:

    status      who is the Raft leader, who stands for election
    probe       make one linearizable read, and say when it was answered
    resign      give up the leadership
    hold        pass the check, then block with the write not yet sent until "go" comes (the demo stops the process
                meanwhile); then write, and check again
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from incumbent.cli.demo.child import die_with
from incumbent.cli.demo.recorder import CLOCK, Recorder, TermRecorder
from incumbent.cli.demo.resource import ELECTION
from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.errors import EngineUnavailable, IncumbentError, LeadershipLost, Overloaded
from incumbent.ids import name_of
from incumbent.leadership.connect import Cluster, connect
from incumbent.leadership.standing import candidate_of
from incumbent.leadership.term import Term

WRITE_EVERY_S: Final = 0.02
HOLD_S_MAX: Final = 60.0


def say(event: str, **facts: object) -> None:
    """Tell the demo; one write, so that a kill never leaves half a line."""
    os.write(1, json.dumps({"event": event, "time_ns": CLOCK.now_ns(), **facts}).encode() + b"\n")


class ResourceClient:
    """Blocking on purpose: between a check and its write this process does nothing else."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def write(self, token: int, note: str) -> Mapping[str, Any]:
        self._socket.sendall(json.dumps({"token": token, "note": note}).encode() + b"\n")
        answer: Mapping[str, Any] = json.loads(self._answers.readline())
        return answer


class Worker:
    def __init__(self, name: str, cluster: Cluster, resource: ResourceClient, recorder: TermRecorder) -> None:
        self._name = name
        self._cluster = cluster
        self._resource = resource
        self._recorder = recorder
        self._election = cluster.election(ELECTION, candidate=name, fenced=True, listener=recorder)
        self._term: Term | None = None

    async def work(self, term: Term) -> None:
        """The leader's body: check, write, again. Ends only by being cancelled, or when a check says that it is over."""
        self._term = term
        say("leading", token=term.token)
        while True:
            self._check(term)
            self._resource.write(term.token, self._name)
            await asyncio.sleep(WRITE_EVERY_S)

    def _check(self, term: Term) -> None:
        checked_ns = CLOCK.now_ns()
        term.check()
        self._recorder.acting(ELECTION, self._name, term.token, time_ns=checked_ns)

    def _write_late(self) -> None:
        """One write that is already past its check when the process is stopped. No await: the loop does not run here, so
        what the term says afterwards it says without any I/O."""
        term = self._term
        try:
            if term is None:
                raise LeadershipLost("never_elected")
            self._check(term)
        except LeadershipLost as lost:
            say("not_leading", reason=lost.reason)
            return
        say("past_check", token=term.token)
        if not select.select([sys.stdin], [], [], HOLD_S_MAX)[0]:
            raise TimeoutError("nobody said go")
        os.read(sys.stdin.fileno(), 64)
        valid = term.is_valid
        answer = self._resource.write(term.token, f"{self._name}, late")
        try:
            term.check()
        except LeadershipLost as lost:
            say("held", valid=valid, accepted=answer["accepted"], check=lost.reason)
        else:
            say("held", valid=valid, accepted=answer["accepted"], check="passed")

    async def obey(self, command: str) -> None:
        """Carry out one command."""
        match command:
            case "status":
                say("status", **await self._status())
            case "probe":
                await self._cluster.engine.read_cell(ELECTION, "probe")
                say("probed")
            case "resign":
                say("resigned", was_leader=await self._election.resign())
            case "hold":
                self._write_late()
            case _:
                raise ValueError(f"unknown command {command!r}")

    async def _status(self) -> dict[str, object]:
        engine = self._cluster.engine
        assert isinstance(engine, ClusterEngine)
        assert engine.voter is not None
        leader = engine.voter.driver.leadership.leader
        try:
            candidates = [candidate_of(entry) for entry in (await engine.roster(ELECTION)).members]
        except (EngineUnavailable, Overloaded):
            candidates = []  # no quorum at this moment: asked again
        return {"raft_leader": name_of(leader) if leader else None, "candidates": candidates}

    async def run(self) -> None:
        """Campaign for ever, obeying commands, until standard input ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        async with asyncio.TaskGroup() as tasks:
            candidacy = tasks.create_task(self._election.run(self.work))
            while line := await reader.readline():
                tasks.create_task(self._answer(line.decode().strip()))
            candidacy.cancel()

    async def _answer(self, command: str) -> None:
        try:
            await self.obey(command)
        except IncumbentError as error:
            say("failed", command=command, error=f"{type(error).__name__}: {error}")


async def main(demo_pid: str, name: str, url: str, ttl: str, resource_port: str, history: str) -> None:
    """Be one node of the demo."""
    die_with(int(demo_pid))
    recorder = TermRecorder(Recorder(Path(history)))
    async with connect(url, ttl=float(ttl)) as cluster:
        say("ready")
        await Worker(name, cluster, ResourceClient(int(resource_port)), recorder).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
