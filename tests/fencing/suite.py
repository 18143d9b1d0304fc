"""What every fence does, whatever the resource: one suite, run over each on the real thing.

A kind of fence makes a `Sink` and gives it as the fixture `sink` to a class that inherits from here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any, ClassVar

import pytest

from incumbent.check.history import Kind, parse
from incumbent.errors import EngineUnavailable, InvalidInput, StaleToken
from incumbent.fencing import refusals
from incumbent.fencing.api import Fence
from incumbent.fencing.refusals import OnRefused, Refusal
from incumbent.fencing.rule import TOKEN_MAX

ELECTION = "scheduler"
EXACT = 1 << 53  # the last integer below which a double knows every one
NAMES = ("a", "a/b", "a/", "A", "ä{}%s:?$1'\"", "sha256:", "x" * 1024, "x" * 1025, "x" * 100_000, "1", "01")


class Sink:
    """A resource, and how a test writes to it."""

    def fence(
        self, name: str = ELECTION, *, on_refused: OnRefused | None = None, wait_s: float = 10.0
    ) -> Fence:
        """A fence as another worker has it: nothing is shared but the resource. It waits so long for another's lock."""
        raise NotImplementedError

    def put(self, block: Any, note: str) -> None:
        """Write a note with what `fence.write` gave to its block."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """Every note that was written, in order."""
        raise NotImplementedError

    def elsewhere(self) -> str:
        """The source by which another process makes its `fence`."""
        raise NotImplementedError

    def write(self, fence: Fence, token: int, note: str, holder: str = "") -> None:
        with fence.write(token, holder) as block:
            self.put(block, note)


class FenceSuite:
    """What holds for all of them."""

    def test_a_lower_token_is_refused_and_writes_nothing(self, sink: Sink) -> None:
        """P33, P34: the former leader's late write."""
        fence = sink.fence()
        sink.write(fence, 5, "old leader")
        sink.write(fence, 8, "new leader")
        with pytest.raises(StaleToken) as refusal:
            sink.write(fence, 5, "late")
        assert (refusal.value.name, refusal.value.token, refusal.value.highest) == (ELECTION, 5, 8)
        assert sink.notes() == ["old leader", "new leader"]

    def test_an_equal_token_is_accepted(self, sink: Sink) -> None:
        fence = sink.fence()
        sink.write(fence, 5, "one")
        sink.write(fence, 5, "two")
        assert sink.notes() == ["one", "two"]

    def test_an_equal_token_of_another_holder_is_refused(self, sink: Sink) -> None:
        """P33: two leaders with one token, as an engine that was restored without its incarnation would make them."""
        fence = sink.fence()
        sink.write(fence, 5, "one", "a")
        with pytest.raises(StaleToken, match="has seen 5 from 'a'") as refusal:
            sink.write(fence, 5, "two", "b")
        assert (refusal.value.holder, refusal.value.highest_holder) == ("b", "a")
        sink.write(fence, 5, "three", "a")
        sink.write(fence, 6, "four", "b")
        with pytest.raises(StaleToken):
            sink.write(fence, 6, "five", "a")
        assert sink.notes() == ["one", "three", "four"]

    def test_a_holder_that_is_not_known_is_learnt(self, sink: Sink) -> None:
        fence = sink.fence()
        sink.write(fence, 5, "one")
        sink.write(fence, 5, "two", "a")
        sink.write(fence, 5, "three")
        with pytest.raises(StaleToken):
            sink.write(fence, 5, "four", "b")
        sink.write(fence, 6, "five")
        sink.write(fence, 6, "the holder of 5 is forgotten", "b")
        assert sink.notes()[2:] == ["three", "five", "the holder of 5 is forgotten"]

    def test_neighbours_beyond_the_doubles_are_told_apart(self, sink: Sink) -> None:
        """P35: 2**53 and 2**53 + 1 are one number to JavaScript, Lua and a sorted set."""
        fence = sink.fence()
        sink.write(fence, EXACT, "one")
        sink.write(fence, EXACT + 1, "two")
        with pytest.raises(StaleToken) as refusal:
            sink.write(fence, EXACT, "late")
        assert (refusal.value.token, refusal.value.highest) == (EXACT, EXACT + 1)
        assert fence.highest() == EXACT + 1

    def test_tokens_are_compared_as_numbers(self, sink: Sink) -> None:
        """P35: in the order of texts 9 comes after 10."""
        fence = sink.fence()
        sink.write(fence, 9, "one")
        sink.write(fence, 10, "two")
        with pytest.raises(StaleToken):
            sink.write(fence, 9, "late")

    def test_the_largest_token_fits(self, sink: Sink) -> None:
        """P35: no overflow to a negative one."""
        fence = sink.fence()
        sink.write(fence, TOKEN_MAX - 1, "last but one")
        sink.write(fence, TOKEN_MAX, "last")
        assert fence.highest() == TOKEN_MAX == 2**63 - 1
        with pytest.raises(StaleToken):
            sink.write(fence, TOKEN_MAX - 1, "late")

    def test_what_failed_leaves_nothing_and_does_not_raise_the_fence(self, sink: Sink) -> None:
        fence = sink.fence()
        with pytest.raises(ZeroDivisionError), fence.write(9) as block:
            self.half(sink, block)
            raise ZeroDivisionError
        assert sink.notes() == []
        assert fence.highest() == 0
        sink.write(fence, 3, "the fence was not raised by a write that failed")

    def half(self, sink: Sink, block: Any) -> None:
        sink.put(block, "half")

    def test_priming_raises_the_fence_without_a_write(self, sink: Sink) -> None:
        """P34: a new leader closes the door before its first write."""
        fence = sink.fence()
        fence.prime(8)
        assert (fence.highest(), sink.notes()) == (8, [])
        with pytest.raises(StaleToken):
            sink.write(fence, 7, "late")
        with pytest.raises(StaleToken):
            fence.prime(7)
        fence.prime(8)
        sink.write(fence, 8, "first")
        assert sink.notes() == ["first"]

    def test_refusals_are_counted_and_told(self, sink: Sink) -> None:
        told: list[Refusal] = []
        fence = sink.fence(on_refused=told.append)
        assert (fence.highest(), fence.refused()) == (0, 0)
        fence.prime(8, "a")
        assert fence.refused() == 0
        for token in (5, 7):
            with pytest.raises(StaleToken):
                sink.write(fence, token, "late", "b")
        assert fence.refused() == fence.refusals.count == 2
        assert [(r.name, r.token, r.highest, r.holder, r.highest_holder) for r in told] == [
            (ELECTION, 5, 8, "b", "a"),
            (ELECTION, 7, 8, "b", "a"),
        ]
        assert tuple(told) == fence.refusals.latest
        (event,) = parse([json.dumps(told[0].event())])  # a line of a history
        assert (event.kind, event.election, event.token, event.highest) == (Kind.REFUSED, ELECTION, 5, 8)

    def test_only_the_last_refusals_are_kept(self, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(refusals, "REFUSALS_KEPT_MAX", 2)
        fence = sink.fence()
        fence.prime(4)
        for token in (1, 2, 3):
            with pytest.raises(StaleToken):
                fence.prime(token)
        assert [refusal.token for refusal in fence.refusals.latest] == [2, 3]
        assert fence.refusals.count == fence.refused() == 3

    def test_a_listener_that_fails_changes_nothing(
        self, sink: Sink, caplog: pytest.LogCaptureFixture
    ) -> None:
        fence = sink.fence(on_refused=lambda _: 1 / 0)  # type: ignore[arg-type]
        fence.prime(2)
        with pytest.raises(StaleToken):
            fence.prime(1)
        assert "on_refused of the fence 'scheduler' failed" in caplog.text

    def test_elections_have_fences_of_their_own(self, sink: Sink) -> None:
        """P5: also those whose names are alike, or longer than any index takes."""
        for native, name in enumerate(NAMES):
            sink.write(sink.fence(name), 100 - native, str(native))
        assert [sink.fence(name).highest() for name in NAMES] == [100 - n for n in range(len(NAMES))]
        assert sink.notes() == [str(native) for native in range(len(NAMES))]

    @pytest.mark.parametrize("token", [0, -1, 2**63, 1.0, True, "5", None])
    def test_what_is_no_token_is_refused(self, sink: Sink, token: Any) -> None:
        fence = sink.fence()
        with pytest.raises(InvalidInput, match="^token: "):
            sink.write(fence, token, "never")
        with pytest.raises(InvalidInput, match="^token: "):
            fence.prime(token)
        assert sink.notes() == []

    @pytest.mark.parametrize("name", ["", "\ud800", "a\0b"])
    def test_a_bad_name_is_refused(self, sink: Sink, name: str) -> None:
        with pytest.raises(InvalidInput, match="^name: "):
            sink.fence(name)

    @pytest.mark.parametrize("holder", ["x" * 1025, "\ud800", "a\0b"])
    def test_a_bad_holder_is_refused(self, sink: Sink, holder: str) -> None:
        fence = sink.fence()
        with pytest.raises(InvalidInput, match="^holder: "):
            sink.write(fence, 1, "never", holder)
        assert sink.notes() == []

    def test_racing_writers_never_write_below_the_highest(self, sink: Sink) -> None:
        """P33: check and write are one step, so what is written never falls."""
        sink.fence()

        def writer(tokens: range) -> None:
            fence = sink.fence()
            for token in tokens:
                try:
                    sink.write(fence, token, str(token))
                except StaleToken:
                    continue

        threads = [threading.Thread(target=writer, args=(range(start, 40, 2),)) for start in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen = [int(note) for note in sink.notes()]
        assert seen == sorted(seen)
        assert seen[-1] == 39


class LastingSuite(FenceSuite):
    """What holds where the resource outlives the process."""

    def test_two_workers_see_one_fence(self, sink: Sink) -> None:
        """P33: the highest token stands where the data is, not in a worker."""
        first, second = sink.fence(), sink.fence()
        sink.write(first, 8, "one")
        with pytest.raises(StaleToken):
            sink.write(second, 7, "late")
        assert first.refused() == second.refused() == 1
        assert (first.refusals.count, second.refusals.count) == (0, 1)

    @pytest.mark.slow
    def test_the_fence_outlives_its_processes(self, sink: Sink) -> None:
        """P33, P34: another process raises it and is gone; a third one and this one are refused."""
        assert self.primed_elsewhere(sink, 8) == "8"
        assert self.primed_elsewhere(sink, 7) == "stale: 8"
        fence = sink.fence()
        with pytest.raises(StaleToken):
            sink.write(fence, 6, "late")
        assert (fence.highest(), fence.refused()) == (8, 2)

    def primed_elsewhere(self, sink: Sink, token: int) -> str:
        script = (
            "import sys\n"
            "from incumbent.errors import StaleToken\n"
            f"{sink.elsewhere()}\n"
            "try:\n"
            "    fence.prime(int(sys.argv[1]))\n"
            "    print(fence.highest())\n"
            "except StaleToken as error:\n"
            "    print('stale:', error.highest)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(token)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class LockingSuite(LastingSuite):
    """What holds where the block of a write runs under the resource's lock."""

    blocked: ClassVar = ""
    """What the error says to who waited in vain."""

    @pytest.mark.slow
    def test_a_writer_stopped_inside_is_waited_for_and_then_reported(self, sink: Sink) -> None:
        """A bounded wait, a clear error, and nothing written; and the stopped one's write is whole when it goes on."""
        fence = sink.fence(wait_s=0.3)
        script = (
            "import os, signal, sys\n"
            f"{sink.elsewhere()}\n"
            "with fence.write(5):\n"
            "    print('inside', flush=True)\n"
            "    sys.stdin.readline()\n"
            "print('done', flush=True)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as stopped:
            assert stopped.stdin is not None
            assert stopped.stdout is not None
            assert stopped.stdout.readline() == "inside\n"
            stopped.send_signal(19)
            with pytest.raises(EngineUnavailable, match=self.blocked.replace("PID", str(stopped.pid))):
                sink.write(fence, 8, "blocked")
            stopped.send_signal(18)
            stopped.stdin.write("\n")
            stopped.stdin.flush()
            assert stopped.stdout.readline() == "done\n"
        assert (fence.highest(), sink.notes()) == (5, [])
        sink.write(fence, 8, "free again")
        assert sink.notes() == ["free again"]

    @pytest.mark.slow
    def test_a_writer_killed_inside_leaves_nothing(self, sink: Sink) -> None:
        fence = sink.fence()
        script = f"import os\n{sink.elsewhere()}\nwith fence.write(5):\n    os._exit(7)\n"
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 7
        assert (fence.highest(), sink.notes()) == (0, [])
        sink.write(fence, 3, "free again")

    @pytest.mark.slow
    def test_a_write_inside_a_write_is_reported(self, sink: Sink) -> None:
        """It would wait for itself."""
        fence = sink.fence(wait_s=0.1)
        with (
            pytest.raises(EngineUnavailable, match="is one inside the other"),
            fence.write(1),
            fence.write(1),
        ):
            pass
        sink.write(fence, 1, "free again")
