"""Servers that refuse to run as root: they get another user, and a directory that is theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

NOBODY: Final = 65534
"""The user and the group without rights, on every Linux."""


class Home:
    """A directory outside of pytest's, which only root may enter when root runs the tests."""

    def __init__(self, name: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"incumbent-{name}-"))
        self._user: int | None = None
        if os.geteuid() == 0:
            self._user = NOBODY
            os.chown(self.path, NOBODY, NOBODY)

    def write(self, name: str, text: str) -> Path:
        """A file that the server may read, and others may not."""
        path = self.path / name
        path.write_text(text)
        path.chmod(0o600)
        if self._user is not None:
            os.chown(path, NOBODY, NOBODY)
        return path

    def run(self, command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> None:
        """To its end. Raises CalledProcessError with what it said."""
        done = subprocess.run(
            command, cwd=self.path, env=self._environment(environment), timeout=timeout_s, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, user=self._user, group=self._user,
            extra_groups=None if self._user is None else [],
        )  # fmt: skip
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout)
            error.add_note(done.stdout.decode(errors="replace")[-2000:])
            raise error

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: str
    ) -> subprocess.Popen[bytes]:
        with (self.path / log).open("ab") as file:
            return subprocess.Popen(
                command, cwd=self.path, env=self._environment(environment), stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, user=self._user, group=self._user,
                extra_groups=None if self._user is None else [],
            )  # fmt: skip

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _environment(self, added: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.path), "LC_ALL": "C", **added}
