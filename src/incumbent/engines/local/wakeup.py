"""Wake-ups between processes: each binds a datagram socket in the directory, who changes something pokes them all.

A datagram means "look again at everything you watch". That is why a full queue loses nothing: the datagram that is still unread in
it will make its reader look after our change. It also says which groups changed, so that who watches one of those need not look first.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import struct
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_REVISION: Final = struct.Struct(">Q")
_GROUP: Final = struct.Struct(">I")
GROUPS_MAX: Final = 64
"""Named in one datagram. Who watches another one looks."""
POKES_READ_MAX: Final = 1024
"""Datagrams taken per look, so that a flood cannot hold the loop."""
_DEAD = (errno.ECONNREFUSED,)  # nobody has this socket open any more
_GONE = (errno.ENOENT,)  # its owner closed it between our listing and our poke
_FULL = (errno.EAGAIN, errno.ENOBUFS)  # see above


_POKE_BYTES_MAX: Final = _REVISION.size + GROUPS_MAX * _GROUP.size


class Postbox:
    """The directory of wake-up sockets. Addresses go through /proc/self/fd, since a socket's path has 107 bytes."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def bind(self) -> Mailbox:
        """A mailbox of our own. What is poked after this returns will be seen."""
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        box.setblocking(False)
        box.bind(self._address(name))
        return Mailbox(box, name, self._directory_fd)

    def poke_all(self, revision: int, groups: Collection[str]) -> None:
        """These groups changed at that revision: wake every process that has a mailbox here, and remove those whose owner is
        dead."""
        named = (_GROUP.pack(mark_of(group)) for group, _ in zip(groups, range(GROUPS_MAX), strict=False))
        poke = _REVISION.pack(revision) + b"".join(named)
        for name in os.listdir(self._directory_fd):  # noqa: PTH208  - a path has no descriptor
            try:
                self._sender.sendto(poke, self._address(name))
            except OSError as error:
                if error.errno in _DEAD:
                    self._remove(name)
                elif error.errno not in (*_GONE, *_FULL):
                    logger.warning("cannot wake %s: %s; it will look by itself in time", name, error)

    def close(self) -> None:
        self._sender.close()
        os.close(self._directory_fd)

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._directory_fd}/{name}"

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):  # another process was first
            os.unlink(name, dir_fd=self._directory_fd)


def mark_of(group: str) -> int:
    """Short, and the same in each process. Two groups that share one wake each other for nothing."""
    return zlib.crc32(group.encode(errors="surrogatepass"))


class Mailbox:
    """Our own socket in a Postbox."""

    def __init__(self, box: socket.socket, name: str, directory_fd: int) -> None:
        self._box = box
        self._name = name
        self._directory_fd = os.dup(directory_fd)

    def fileno(self) -> int:
        return self._box.fileno()

    def drain(self) -> Mapping[int, int]:
        """Take what has come: the newest revision at which a group changed, by the group's mark, as far as they were named."""
        found: dict[int, int] = {}
        for _ in range(POKES_READ_MAX):
            try:
                poke = self._box.recv(_POKE_BYTES_MAX)
            except BlockingIOError:
                break
            if len(poke) % _GROUP.size or len(poke) < _REVISION.size:
                continue  # none of ours: it wakes, and says nothing
            (revision,) = _REVISION.unpack_from(poke)
            for (mark,) in _GROUP.iter_unpack(poke[_REVISION.size :]):
                found[mark] = max(found.get(mark, 0), revision)
        return found

    def close(self) -> None:
        self._box.close()
        with suppress(FileNotFoundError):  # the directory was deleted under us
            os.unlink(self._name, dir_fd=self._directory_fd)
        os.close(self._directory_fd)
