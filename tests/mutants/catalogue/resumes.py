"""Faults of what a restarted process takes for the death of the one before, and of what it does then."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

RESUME: Final = "leadership/resume.py"
KEEPER: Final = "leadership/keeper.py"
LIFELOCK: Final = "runtime/lifelock.py"
MACHINE: Final = "runtime/machine.py"
OF_RESUME: Final = "tests/leadership/test_resume.py"
OF_LIFELOCK: Final = "tests/runtime/test_lifelock.py"

RESUMES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a lock ends with its descriptor",
        LIFELOCK,
        "_MAP_PRIVATE: Final = 2",
        "_MAP_PRIVATE: Final = 2 | 0x20",  # and anonymous: of no file
        (suite(OF_LIFELOCK),),
    ),
    Mutant(
        "a forked child keeps its parent's lock",
        LIFELOCK,
        "if libc.madvise(address, _LENGTH_BYTES, _MADV_DONTFORK) != 0:",
        "if False:",
        (suite(OF_LIFELOCK),),
        promises=("P75",),
    ),
    Mutant(
        "a forked child gives its parent's lock free",
        LIFELOCK,
        "if self._address and os.getpid() == self._pid:",
        "if self._address:",
        (suite(OF_LIFELOCK),),
        promises=("P75",),
    ),
    Mutant(
        "a lock in a deleted file counts",
        LIFELOCK,
        "if not _is_at(path, here):",
        "if False:",
        (suite(OF_LIFELOCK),),
    ),
    Mutant(
        "a container's machine id names the machine",
        MACHINE,
        "if str(namespace.readlink()) != FIRST_PID_NAMESPACE:",
        "if not str(namespace.readlink()):",
        (suite(OF_LIFELOCK),),
    ),
    Mutant(
        "any lock proves the death of whoever wrote the file",
        RESUME,
        "if former.lock != self.lock:",
        "if False:",
        (suite(OF_RESUME),),
        promises=("P50",),
    ),
    Mutant(
        "a lock is known by its number alone",
        RESUME,
        "if former.lock != self.lock:",
        "if former.lock[1] != self.lock[1]:",
        (suite(OF_RESUME),),
        promises=("P50",),
    ),
    Mutant(
        "any other boot is a reboot of this machine",
        RESUME,
        "if self.machine and former.machine == self.machine:",
        "if True:",
        (suite(OF_RESUME),),
        promises=("P50",),
    ),
    Mutant(
        "two machines that are not known are one",
        RESUME,
        "if self.machine and former.machine == self.machine:",
        "if former.machine == self.machine:",
        (suite(OF_RESUME),),
        promises=("P50",),
    ),
    Mutant(
        "a network file system proves deaths",
        RESUME,
        "    if kind in NETWORK_FILE_SYSTEMS:\n",
        "    if False:\n",
        (suite(OF_RESUME),),
        promises=("P50",),
    ),
    Mutant(
        "what a dead process sent is not waited out when it is resumed",
        RESUME,
        "        await asyncio.sleep(max(0, left_ns) / NS_PER_S)\n",
        "        await asyncio.sleep(left_ns * 0)\n",
        (suite(OF_RESUME),),
        promises=("P44",),
    ),
    Mutant(
        "the delay is counted from before the proof",
        RESUME,
        "proven_ns=clock.now_ns())",
        "proven_ns=0)",
        (suite(OF_RESUME),),
        promises=("P44",),
    ),
    Mutant(
        "a session leads before it is written down",
        KEEPER,
        "            await watch.watch(session.ref, release_delay)\n",
        "            asyncio.get_running_loop().call_later(\n"
        "                1, lambda: self._tasks.spawn(watch.watch(session.ref, release_delay), 'late')\n"
        "            )\n",
        (suite(OF_RESUME),),
    ),
    Mutant(
        "a session is written down when the next one is",
        RESUME,
        "        self._own[ref] = Held(ref, release_delay, self._ttl)\n        self._write()\n",
        "        self._own[ref] = Held(ref, release_delay, self._ttl)\n",
        (suite(OF_RESUME),),
    ),
    Mutant(
        "what was not ended yet is forgotten",
        RESUME,
        "sessions = (*self._former.values(), *self._own.values())",
        "sessions = (*self._own.values(),)",
        (suite(OF_RESUME),),
    ),
    Mutant(
        "a session is left in the file with the body that runs on it",
        RESUME,
        "            self._own.clear()\n            if not self._write():\n",
        "            if not self._write():\n",
        (suite(OF_RESUME),),
        promises=("P25",),
    ),
    Mutant(
        "the lock is given free over a file that could not be changed",
        RESUME,
        "            if not self._write():\n                return",
        "            if not self._write():\n                pass",
        (suite(OF_RESUME),),
        promises=("P25",),
    ),
    Mutant(
        "a forked child writes its parent's file",
        RESUME,
        "if os.getpid() != self._pid:",
        "if False:",
        (suite(OF_RESUME),),
        promises=("P75",),
    ),
    Mutant(
        "what others can write is believed",
        RESUME,
        " or about.st_mode & 0o077:",
        ":",
        (suite(OF_RESUME),),
    ),
    Mutant(
        "an engine that does not answer is asked for ever",
        RESUME,
        "async with asyncio.timeout(held.ttl + held.release_delay):",
        "async with asyncio.timeout(None):",
        (suite(OF_RESUME),),
    ),
)
