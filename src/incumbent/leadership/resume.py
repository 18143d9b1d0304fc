"""Lead again after a restart, without waiting for the TTL of the process that was here before.

A small file keeps the references of this process's live sessions, and beside it a lock says whether that process lives. Who
gets the lock has the kernel's proof that the former one is dead, or has closed; it ends the sessions that it finds in the file,
and then stands like anybody else: with a session, a member and a token of its own. Going on under the former session would be one
token for two processes, and no resource could tell the dead one's late write (docs/adr/0031-resume-by-a-proof-of-death.md).

Rules of the place: a session is in the file before anybody can lead by it. What is not proven is left to its TTL. Nothing about
the file keeps anybody from leading, but that another process holds it.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Annotated, Final

import msgspec

from incumbent.engines.api import TTL_MAX_S, TTL_MIN_S, Engine, Ref
from incumbent.errors import IncumbentError, InvalidInput
from incumbent.leadership.tenure import NS_PER_S
from incumbent.leadership.world import World, log, until_answered
from incumbent.ports import Clock
from incumbent.runtime.clock import boot_id
from incumbent.runtime.lifelock import LifeLock, holder_of
from incumbent.runtime.machine import machine_id
from incumbent.runtime.mounts import NETWORK_FILE_SYSTEMS, kind_of

VERSION: Final = 1
SESSIONS_MAX: Final = 64
"""In one file: those of this process, and those of its predecessors that are not ended yet."""
FILE_BYTES_MAX: Final = 1 << 19
"""SESSIONS_MAX references of 4 KiB, as text, fit."""
LOOK_EVERY_S: Final = 0.02
LOOKS_MAX: Final = 50
"""So often the lock is asked for: a second, for a predecessor that is just about to end."""


class Origin(msgspec.Struct, frozen=True):
    """Where a file was written, and under which lock."""

    boot: str
    machine: str  # "" = not known: nothing is ever proven by it
    lock: tuple[int, int]  # device and number

    def doubt(self, former: Origin) -> str:
        """Why the death of `former`'s process is not proven to whoever has the lock here and now; "" = it is.

        A locked file's number is nobody else's on this kernel. So the same number is the very file that the former locked, or
        one that was made after the former's was let go of.
        """
        if former.boot != self.boot:
            if self.machine and former.machine == self.machine:
                return ""  # this machine was started anew, and no process outlives that
            return "it was written on another host, or before a reboot that cannot be told from another host"
        if former.lock != self.lock:
            return "it belongs to another lock: the lock's file was deleted, or this is a copy"
        return ""


class Held(msgspec.Struct, frozen=True):
    """A session, as much of it as is needed to end it."""

    ref: Ref
    release_delay: Annotated[float, msgspec.Meta(ge=0, le=TTL_MAX_S)]
    ttl: Annotated[float, msgspec.Meta(ge=TTL_MIN_S, le=TTL_MAX_S)]

    def __repr__(self) -> str:  # the ref is a secret
        return f"Held(release_delay={self.release_delay}, ttl={self.ttl})"


class Page(msgspec.Struct, frozen=True):
    """The whole file."""

    origin: Origin
    sessions: Annotated[tuple[Held, ...], msgspec.Meta(max_length=SESSIONS_MAX)]
    version: int = VERSION


class _Version(msgspec.Struct, frozen=True):
    version: int


class Ledger:
    """Made by `open`; a `DeathWatch`. You owe a `close`, after all sessions ended or were left to their TTL."""

    def __init__(self, path: Path, lock: LifeLock, origin: Origin, *, ttl: float, proven_ns: int) -> None:
        self._path = path
        self._lock = lock
        self._origin = origin
        self._ttl = ttl
        self._proven_ns = proven_ns
        self._pid = os.getpid()
        self._former = {held.ref: held for held in _former(path, origin)}
        self._own: dict[Ref, Held] = {}

    @classmethod
    async def open(cls, path: Path, *, ttl: float, clock: Clock) -> Ledger:
        """Get the lock, and see what the former process left.

        Raises InvalidInput(field="resume") when a live process holds the file, or it cannot be used; Unsupported where death
        cannot be proven at all.
        """
        boot = boot_id()
        lock = await _locked(path)
        try:
            origin = Origin(boot, machine_id(), lock.inode)
            return cls(path, lock, origin, ttl=ttl, proven_ns=clock.now_ns())
        except BaseException:
            lock.release()
            raise

    async def watch(self, ref: Ref, release_delay: float) -> None:
        """This session is in the file when it returns. Where it cannot be, the log says so."""
        if len(self._own) + len(self._former) >= SESSIONS_MAX:
            log.warning("%s is full: this session is left to its TTL when this process dies", self._path)
            return
        self._own[ref] = Held(ref, release_delay, self._ttl)
        self._write()

    async def forget(self, ref: Ref) -> None:
        """The session is over, or left to its TTL."""
        if self._own.pop(ref, None) is not None or self._former.pop(ref, None) is not None:
            self._write()

    async def end_former(self, engine: Engine, world: World) -> None:
        """End what the former processes left, each session after its release delay, counted from the proof. Never raises."""
        await asyncio.gather(*(self._end(held, engine, world) for held in self._former.values()))

    def close(self) -> None:
        """Give the lock free. A session that is still in the file carries a body that still runs: it is left to its TTL."""
        if self._own:
            self._own.clear()
            if not self._write():
                return  # the file still names it, so the lock stays for as long as this process lives
        self._lock.release()

    async def _end(self, held: Held, engine: Engine, world: World) -> None:
        left_ns = self._proven_ns + round(held.release_delay * NS_PER_S) - world.clock.now_ns()
        await asyncio.sleep(max(0, left_ns) / NS_PER_S)
        try:
            # After so long it is over by itself.
            async with asyncio.timeout(held.ttl + held.release_delay):
                await until_answered(lambda: engine.end_session(held.ref), world.rng)
        except TimeoutError:
            log.warning("the engine did not answer; a former process's session is left to its TTL")
        except IncumbentError as error:
            log.warning("a former process's session is left to its TTL: %s", error)
        except Exception:
            log.exception("a former process's session was not ended; it is left to its TTL")
        else:
            log.info("a former process's session is over, by proof of its death")
        await self.forget(held.ref)

    def _write(self) -> bool:
        """Replace the file in one step. Not synced: it has to outlast this process, not this machine. False: it could not be."""
        if os.getpid() != self._pid:
            return False  # a forked child: the file is the parent's
        sessions = (*self._former.values(), *self._own.values())
        making = self._path.with_name(self._path.name + ".new")
        try:
            making.unlink(missing_ok=True)
            if not sessions:
                self._path.unlink(missing_ok=True)
                return True
            fd: int = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(msgspec.json.encode(Page(self._origin, sessions)))
            making.replace(self._path)
        except OSError as error:
            log.warning("sessions are left to their TTL when this process dies: %s", error)
            return False
        return True


def path_of(resume: str | os.PathLike[str]) -> Path:
    """Checked at the door. Absolute, since a process may change its directory. Raises InvalidInput."""
    path = Path(resume).absolute()
    if not os.fspath(resume) or not path.name or "\0" in path.name:
        raise InvalidInput("resume", f"{str(resume)[:80]!r} names no file", "give the path of a file")
    return path


async def _locked(path: Path) -> LifeLock:
    at = path.with_name(path.name + ".lock")
    try:
        _check_kind(path)
        for _ in range(LOOKS_MAX):
            lock = LifeLock.take(at)
            if lock is not None:
                return lock
            await asyncio.sleep(LOOK_EVERY_S)
    except OSError as error:
        raise InvalidInput(
            "resume", f"{at} cannot be locked: {error}", "name a file in a directory that is there and yours"
        ) from error
    pid = holder_of(at)
    raise InvalidInput(
        "resume",
        f"{path} is held by a process that lives" + (f" ({pid} by its own count)" if pid else ""),
        "give every process a file of its own, or end that one first",
    )


def _check_kind(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise InvalidInput("resume", f"{path} is no regular file", "name a file of this process alone")


def _former(path: Path, origin: Origin) -> tuple[Held, ...]:
    """The sessions of processes that are proven dead. What is in the file beyond that is said in the log."""
    kind = kind_of(path.parent.resolve())
    if kind in NETWORK_FILE_SYSTEMS:
        log.warning(
            "%s proves no death, it is on a network file system (%s): put it on a local one", path, kind
        )
        return ()
    try:
        page = _read(path)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be used, what it tells of is left to its TTL: %s", path, error)
        return ()
    doubt = origin.doubt(page.origin)
    if doubt:
        log.warning("%s proves no death, its sessions are left to their TTL: %s", path, doubt)
        return ()
    return page.sessions


def _read(path: Path) -> Page:
    """Raises OSError, and ValueError for what was not written by this release for this user."""
    fd: int = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            raise ValueError("others than this user can read or write it, or own it; it has to be 0600")
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise ValueError(f"it is longer than {FILE_BYTES_MAX} bytes")
    version = msgspec.json.decode(data, type=_Version).version
    if version != VERSION:
        raise ValueError(f"it has version {version}, and this release reads {VERSION}")
    return msgspec.json.decode(data, type=Page)
