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

NAMES: Final = "abc"
PORT: Final = 7000
DISK_MIB: Final = 192
FAULTS: Final = Path(__file__).parents[1] / "runtime" / "storage" / "faults.c"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Hosts:
    def __init__(self, directory: Path) -> None:
        number = os.getpid() % 10_000
        self._prefix = f"inc{number}"
        self._net = f"10.{200 + number % 50}.{number // 50 % 250}"
        self._directory = directory
        self._library = directory / "faults.so"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses = {name: (f"{self._net}.{10 + at}", PORT) for at, name in enumerate(NAMES)}

    # --- making and unmaking ---------------------------------------------------------------------------------------

    def make(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
        run(compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(FAULTS), "-ldl")
        bridge = f"{self._prefix}br"
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self._net}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for name, (address, _) in self.addresses.items():
            space, outer, inner = self._space(name), self._outer(name), f"{self._prefix}i{name}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
            run("ip", "link", "set", inner, "netns", space)
            run("ip", "link", "set", outer, "master", bridge)
            run("ip", "link", "set", outer, "up")
            for command in (
                ("addr", "add", f"{address}/24", "dev", inner),
                ("link", "set", inner, "up"),
                ("link", "set", "lo", "up"),
            ):
                run("ip", "-n", space, *command)
            disk = self.disk(name)
            disk.mkdir()
            run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(disk))
            self._clock(name).write_bytes(bytes(8))

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        for name in NAMES:
            subprocess.run(("ip", "netns", "del", self._space(name)), capture_output=True, check=False)
            subprocess.run(("ip", "link", "del", self._outer(name)), capture_output=True, check=False)
            subprocess.run(("umount", str(self.disk(name))), capture_output=True, check=False)
        subprocess.run(("ip", "link", "del", f"{self._prefix}br"), capture_output=True, check=False)

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
            "ip", "netns", "exec", self._space(name), sys.executable, "-m", "incumbent", "serve", "--insecure",
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
        run("ip", "link", "set", self._outer(name), "down" if cut else "up")

    def one_way(self, sender: str, receiver: str, *, cut: bool) -> None:
        """What `sender` sends to `receiver` is lost; the other direction works."""
        verb = "add" if cut else "del"
        run("ip", "-n", self._space(sender), "route", verb, "blackhole", f"{self.addresses[receiver][0]}/32")

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

    def _space(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _outer(self, name: str) -> str:
        return f"{self._prefix}o{name}"
