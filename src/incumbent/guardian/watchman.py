"""The helper process: holds a pidfd on the guarded process and ends its sessions once the kernel says that it is dead.

Only the kernel's word counts. The end of stdin proves nothing: the guarded process may have closed it, may be replacing its
own image, or a forked child may hold it open for ever. "Quit" means that nothing is to be ended, however the process dies
after it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from incumbent.engines.api import Ender
from incumbent.engines.registry import ender
from incumbent.errors import InvalidInput, ProtocolViolation, Unsupported
from incumbent.guardian.wire import (
    Command,
    Forget,
    Hello,
    Quit,
    Ready,
    Refused,
    Reply,
    Said,
    Unable,
    Watch,
    Watching,
    decode_command,
    encode,
    take_body,
)
from incumbent.runtime.process import open_pidfd

HELLO_TIMEOUT_S: Final = 10.0
READ_BYTES: Final = 65536
RETRY_MIN_S: Final = 0.05
RETRY_MAX_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 1.0


class Inbox:
    """Commands from a pipe, taken without waiting, so that what was said before a death is heard before it is acted on."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.ended = False
        self._buffer = bytearray()

    def take(self) -> list[Command]:
        """All whole commands that are there. Raises ProtocolViolation."""
        while not self.ended:
            try:
                data = os.read(self.fd, READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.ended = not data
            self._buffer += data
        commands = []
        while (body := take_body(self._buffer)) is not None:
            commands.append(decode_command(body))
        return commands


class Outbox:
    """Replies into a pipe. The guarded process may be stopped or dead: what does not fit is not said."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    def say(self, reply: Reply) -> None:
        with suppress(OSError):
            os.write(self._fd, encode(reply))


@dataclass(slots=True, eq=False)
class _Watched:
    watch: Watch
    ender: Ender
    preparing: asyncio.Task[None]

    async def drop(self) -> None:
        """Release what it holds; its session is left alone."""
        self.preparing.cancel()
        await asyncio.gather(self.preparing, return_exceptions=True)
        with suppress(Exception):  # nothing that could go wrong here matters to anybody
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.ender.close()


class Watchman:
    def __init__(self, outbox: Outbox, end_timeout_s: float) -> None:
        self._outbox = outbox
        self._end_timeout_s = end_timeout_s
        self._watched: dict[bytes, _Watched] = {}
        self._dropping: set[asyncio.Task[None]] = set()
        self.quit = False

    def obey(self, commands: list[Command]) -> None:
        """Raises ProtocolViolation on a command that has no place here."""
        for command in commands:
            match command:
                case Watch():
                    self._forget(command.ref)
                    self._watch(command)
                case Forget(ref):
                    self._forget(ref)
                case Quit():
                    self.quit = True
                case Hello():
                    raise ProtocolViolation("a second hello")

    async def end_all(self) -> bool:
        """The guarded process is dead: end every session, each after its release delay. Whether all are over."""
        return all(await asyncio.gather(*map(self._end, self._watched.values())))

    def _watch(self, watch: Watch) -> None:
        try:
            one = ender(watch.scheme)
        except InvalidInput as error:
            self._outbox.say(Refused(watch.id, error.field, error.problem, error.fix))
            return
        except Exception as error:  # a stranger's module may raise anything when it is imported
            self._outbox.say(
                Refused(watch.id, "scheme", f"{watch.scheme} has no ender: {error!r}", "repair it")
            )
            return
        preparing = asyncio.create_task(self._prepare(watch, one))
        self._watched[watch.ref] = _Watched(watch, one, preparing)
        self._outbox.say(Watching(watch.id))

    def _forget(self, ref: bytes) -> None:
        watched = self._watched.pop(ref, None)
        if watched is not None:
            task = asyncio.create_task(watched.drop())
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)

    async def _prepare(self, watch: Watch, one: Ender) -> None:
        """Connected and warm before it is needed. Where that fails, `end` connects by itself, only later."""
        try:
            await one.prepare(watch.ref)
        except Exception as error:
            text = f"not prepared to end a session of {watch.scheme}://: {type(error).__name__}: {error}"
            self._outbox.say(Said(logging.WARNING, text))

    async def _end(self, watched: _Watched) -> bool:
        await asyncio.sleep(watched.watch.release_delay_s)
        watched.preparing.cancel()
        await asyncio.gather(watched.preparing, return_exceptions=True)
        pause_s = RETRY_MIN_S
        try:
            async with asyncio.timeout(self._end_timeout_s):
                while True:
                    try:
                        await watched.ender.end(watched.watch.ref)
                        return True
                    except (InvalidInput, Unsupported):
                        return False
                    except (
                        Exception
                    ):  # of anybody's client library: there is time to try again, and nobody to tell
                        await asyncio.sleep(pause_s)
                        pause_s = min(2 * pause_s, RETRY_MAX_S)
        except TimeoutError:
            return False
        finally:
            await watched.drop()


async def guard(commands_fd: int, replies_fd: int) -> int:
    """What the helper process does with its life. Returns its exit code: 0 when nothing was left undone.

    Raises ProtocolViolation when somebody else than a `Guardian` talks to it.
    """
    inbox, outbox = Inbox(commands_fd), Outbox(replies_fd)
    hello, rest = await _first_command(inbox)
    try:
        pidfd = open_pidfd(hello.pid, hello.start_ticks)
    except Unsupported as error:
        outbox.say(Unable(str(error)))
        return 1
    if pidfd is None:
        outbox.say(Unable(f"process {hello.pid} is gone, and it is not known whose its sessions were"))
        return 1
    watchman = Watchman(outbox, hello.end_timeout_s)
    outbox.say(Ready())
    watchman.obey(rest)
    if await _until_quit_or_death(inbox, watchman, pidfd):
        return 0
    return 0 if await watchman.end_all() else 1


async def _first_command(inbox: Inbox) -> tuple[Hello, list[Command]]:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(inbox.fd, readable.set)
    commands: list[Command] = []
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            while not (commands := inbox.take()) and not inbox.ended:
                readable.clear()
                await readable.wait()
    except TimeoutError as error:
        raise ProtocolViolation(f"nobody said hello in {HELLO_TIMEOUT_S} s") from error
    finally:
        loop.remove_reader(inbox.fd)
    match commands:
        case [Hello() as hello, *rest]:
            return hello, rest
        case _:
            raise ProtocolViolation("the first command is no hello: this is started by incumbent itself")


async def _until_quit_or_death(inbox: Inbox, watchman: Watchman, pidfd: int) -> bool:
    """Obey until told to quit (True) or until the guarded process is dead (False)."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[bool] = loop.create_future()

    def on_command() -> None:
        try:
            watchman.obey(inbox.take())
        except ProtocolViolation as error:
            if not over.done():
                over.set_exception(error)
            return
        if inbox.ended:
            loop.remove_reader(inbox.fd)  # proves nothing; the pidfd remains
        if watchman.quit and not over.done():
            over.set_result(True)

    def on_death() -> None:
        on_command()  # what it said before it died comes first
        if not over.done():
            over.set_result(False)

    loop.add_reader(inbox.fd, on_command)
    loop.add_reader(pidfd, on_death)
    try:
        on_command()
        return await over
    finally:
        loop.remove_reader(inbox.fd)
        loop.remove_reader(pidfd)
        os.close(pidfd)
