"""A real process under a guardian, for tests.

    python -m tests.guardian.guarded_process

Obeys one JSON command per line of stdin and answers each with one JSON line: see `Guarded`. Dies only when killed or told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from incumbent.errors import IncumbentError
from incumbent.guardian.supervisor import Guardian
from incumbent.guardian.wire import Quit


class Guarded:
    def __init__(self) -> None:
        self.guardian: Guardian | None = None
        self.said: list[str] = []

    async def obey(self, verb: str, arguments: list[Any]) -> object:
        act = getattr(self, f"do_{verb}")
        try:
            return {"done": await act(*arguments)}
        except IncumbentError as error:
            return {"raised": type(error).__name__, "text": str(error)}

    async def do_start(self, end_timeout: float) -> int | None:
        self.guardian = await Guardian.start(end_timeout=end_timeout)
        return self.guardian.helper_pid

    async def do_watch(self, scheme: str, ref: str, release_delay: float) -> None:
        assert self.guardian
        await self.guardian.watch(scheme, bytes.fromhex(ref), release_delay)

    async def do_forget(self, ref: str) -> None:
        assert self.guardian
        await self.guardian.forget(bytes.fromhex(ref))

    async def do_close(self) -> None:
        assert self.guardian
        await self.guardian.close()

    async def do_helper(self) -> int | None:
        assert self.guardian
        return self.guardian.helper_pid

    async def do_said(self) -> list[str]:
        return self.said

    async def do_close_pipe(self) -> None:
        """What the helper hears its commands from ends, and this process lives on."""
        assert self.guardian
        assert self.guardian._helper
        assert self.guardian._helper._writer
        self.guardian._helper._writer.close()

    async def do_quit_and_die(self) -> None:
        assert self.guardian
        assert self.guardian._helper
        self.guardian._helper.send(Quit())
        os.kill(os.getpid(), signal.SIGKILL)

    async def do_fork(self) -> int:
        """A child that holds everything of ours open, and tries to use our guardian."""
        pid = os.fork()
        if pid == 0:
            assert self.guardian
            with contextlib.suppress(StopIteration):
                self.guardian.close().send(None)
            while True:
                signal.pause()
        return pid

    async def do_open(self, path: str) -> int:
        """A descriptor that a child started carelessly would inherit."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.set_inheritable(fd, True)
        return fd


async def run() -> None:
    guarded = Guarded()
    handler = logging.Handler()
    handler.emit = lambda record: guarded.said.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    logging.getLogger("incumbent").addHandler(handler)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        verb, *arguments = json.loads(line)
        print(json.dumps(await guarded.obey(verb, arguments)), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(str(os.getpid()))
    asyncio.run(run())
