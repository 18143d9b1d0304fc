"""Wake-ups between processes: each binds a datagram socket in the directory, who changes something pokes them all.

A datagram carries nothing and means "look again at everything you watch". That is why a full queue loses nothing: the
datagram that is still unread in it will make its reader look after our change.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

POKE: Final = b"\x01"
POKES_READ_MAX: Final = 1024
"""Datagrams taken per look, so that a flood cannot hold the loop."""
_DEAD = (errno.ECONNREFUSED,)  # nobody has this socket open any more
_GONE = (errno.ENOENT,)  # its owner closed it between our listing and our poke
_FULL = (errno.EAGAIN, errno.ENOBUFS)  # see above


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

    def poke_all(self) -> None:
        """Wake every process that has a mailbox here, and remove those whose owner is dead."""
        for name in os.listdir(self._directory_fd):  # noqa: PTH208  - a path has no descriptor
            try:
                self._sender.sendto(POKE, self._address(name))
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


class Mailbox:
    """Our own socket in a Postbox."""

    def __init__(self, box: socket.socket, name: str, directory_fd: int) -> None:
        self._box = box
        self._name = name
        self._directory_fd = os.dup(directory_fd)

    def fileno(self) -> int:
        return self._box.fileno()

    def drain(self) -> None:
        """Take what has come. All of it means the same."""
        for _ in range(POKES_READ_MAX):
            try:
                self._box.recv(16)
            except BlockingIOError:
                return

    def close(self) -> None:
        self._box.close()
        with suppress(FileNotFoundError):  # the directory was deleted under us
            os.unlink(self._name, dir_fd=self._directory_fd)
        os.close(self._directory_fd)
