"""Three nodes as if on hosts of their own: each in a network namespace, on a file system of its own, with its own wall clock.

Needs root. Everything is made here and goes with `close`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.servers.spaces import Spaces, run

NAMES: Final = "abc"
PORT: Final = 7000
DISK_MIB: Final = 192
FAULTS: Final = Path(__file__).parents[1] / "runtime" / "storage" / "faults.c"


class Hosts:
    def __init__(self, directory: Path) -> None:
        self._spaces = Spaces(NAMES)
        self._directory = directory
        self._library = directory / "faults.so"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses = {name: (host, PORT) for name, host in self._spaces.addresses.items()}

    # --- making and unmaking ---------------------------------------------------------------------------------------

    def make(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
        run(compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(FAULTS), "-ldl")
        self._spaces.make()
        for name in NAMES:
            disk = self.disk(name)
            disk.mkdir()
            run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(disk))
            self._clock(name).write_bytes(bytes(8))

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        self._spaces.close()
        for name in NAMES:
            subprocess.run(("umount", str(self.disk(name))), capture_output=True, check=False)

    # --- processes -------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        peers = ",".join(f"{n}={host}:{port}" for n, (host, port) in self.addresses.items())
        environment = {
            **os.environ,
            "LD_PRELOAD": str(self._library),
            "FAULTS_ON_SIGUSR2": "1",
            "FAULTS_CLOCK_STEP": str(self._clock(name)),
        }
        command = [
            *self._spaces.inside(name), sys.executable, "-m", "incumbent", "serve", "--insecure",
            "--cluster", "torture", "--node", name, "--data-dir", str(self.disk(name) / "data"),
            "--peers", peers, "--snapshot-entries", "2000",
        ]  # fmt: skip
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> int:
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(30)

    def ended(self) -> list[str]:
        """Whose process is over, by a fault of its own; it is started again by whoever asks."""
        over = [name for name, process in self.processes.items() if process.poll() is not None]
        for name in over:
            del self.processes[name]
        return over

    # --- faults ----------------------------------------------------------------------------------------------------

    def isolate(self, name: str, *, cut: bool) -> None:
        self._spaces.isolate(name, cut=cut)

    def one_way(self, sender: str, receiver: str, *, cut: bool) -> None:
        self._spaces.one_way(sender, receiver, cut=cut)

    def fill(self, name: str) -> None:
        ballast = self.disk(name) / "ballast"
        with ballast.open("ab") as file:
            free = shutil.disk_usage(self.disk(name)).free
            if free > 0:
                os.posix_fallocate(file.fileno(), 0, free)

    def make_room(self, name: str) -> None:
        (self.disk(name) / "ballast").unlink(missing_ok=True)

    def break_disk(self, name: str) -> None:
        """The next write or sync fails with EIO."""
        self.signal(name, signal.SIGUSR2)

    def step_clock(self, name: str, seconds: int) -> None:
        """The wall clock's; the suspend-aware one never steps."""
        with self._clock(name).open("r+b") as file:  # it is mapped there, so it must stay the same file
            file.write(seconds.to_bytes(8, "little", signed=True))

    def disk(self, name: str) -> Path:
        return self._directory / f"disk-{name}"

    def _clock(self, name: str) -> Path:
        return self._directory / f"clock-{name}"
