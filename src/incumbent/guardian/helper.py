"""One helper process as the guarded process sees it: start it, talk to it, see it die."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from incumbent.errors import ProtocolViolation, Unsupported
from incumbent.guardian.wire import (
    Command,
    Hello,
    Quit,
    Ready,
    Reply,
    Unable,
    decode_reply,
    encode,
    take_body,
)

logger = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 10.0
QUIT_TIMEOUT_S: Final = 2.0
READ_BYTES: Final = 65536
UNREAD_BYTES_MAX: Final = 1 << 20
"""Commands that a helper which does not read them may leave waiting."""


class Helper:
    """Made by `start`; over once `hear` returned None or `kill` was called."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self._process = process
        self._reader = asyncio.StreamReader()
        self._transports: list[asyncio.BaseTransport] = []
        self._writer: asyncio.WriteTransport | None = None
        self._buffer = bytearray()

    @classmethod
    async def start(cls, hello: Hello) -> Helper:
        """Start one and wait until it holds a pidfd on this process. Raises Unsupported."""
        try:
            helper = cls(spawn_module("incumbent.guardian"))
        except OSError as error:
            raise Unsupported(
                f"no guardian process could be started: {error}; the TTL alone protects"
            ) from error
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await helper._connect()
                helper.send(hello)
                await helper._until_ready()
        except TimeoutError as error:
            helper.kill()
            raise Unsupported(
                f"the guardian process said nothing for {START_TIMEOUT_S} s; the TTL alone protects"
            ) from error
        except BaseException:
            helper.kill()
            raise
        return helper

    def send(self, command: Command) -> None:
        """Never waits. A dead or stopped helper hears nothing; what is to be heard is said again to the next."""
        writer = self._writer
        if (
            writer is not None
            and not writer.is_closing()
            and writer.get_write_buffer_size() < UNREAD_BYTES_MAX
        ):
            writer.write(encode(command))

    async def hear(self) -> Reply | None:
        """The next reply; None once it is dead. Raises ProtocolViolation."""
        while (body := take_body(self._buffer)) is None:
            data = await self._reader.read(READ_BYTES)
            if not data:
                return None
            self._buffer += data
        return decode_reply(body)

    async def quit(self) -> None:
        """Let it go, with nothing ended."""
        self.send(Quit())
        try:
            async with asyncio.timeout(QUIT_TIMEOUT_S):
                while await self.hear() is not None:
                    pass
        except (TimeoutError, ProtocolViolation) as error:
            logger.warning("guardian process %d did not go by itself (%s): killed", self.pid, error)
        finally:
            self.kill()  # which ends nothing either

    def kill(self) -> None:
        """The process is ours and not reaped yet, so its pid is nobody else's."""
        self._process.kill()
        self._process.wait()
        if self._writer is not None and not self._writer.is_closing():
            self._writer.abort()
        for transport in self._transports:
            transport.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not self._transports:
                pipe.close()  # else its transport closes it

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        reading, _ = await loop.connect_read_pipe(lambda: protocol, self._process.stdout)
        self._transports.append(reading)
        self._writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self._process.stdin)

    async def _until_ready(self) -> None:
        reply = await self.hear()
        match reply:
            case Ready():
                return
            case Unable(why):
                raise Unsupported(f"the guardian cannot guard: {why}; the TTL alone protects")
            case None:
                raise Unsupported("the guardian process died at once; the TTL alone protects")
            case _:
                raise ProtocolViolation(f"a guardian begins with {reply!r}")


def spawn_module(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a module of ours in a process of its own, talked to by pipes. Raises OSError, Unsupported."""
    if not sys.executable or getattr(sys, "frozen", False):
        raise Unsupported("there is no Python to run another process with; the TTL alone protects")
    # Nothing of the guarded process stays behind with it: no descriptor, no directory, no terminal, no process group.
    # It finds its modules where this process found them, also when it was not installed.
    paths = [str(Path(path).absolute()) for path in sys.path if path]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        close_fds=True,
        start_new_session=True,
    )
