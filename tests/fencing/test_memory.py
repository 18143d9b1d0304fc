"""The fence in memory: one process, many threads."""

from __future__ import annotations

import threading

import pytest

from incumbent.errors import EngineUnavailable, InvalidInput
from incumbent.fencing.memory import Fence
from incumbent.fencing.refusals import OnRefused
from tests.fencing.forking import in_a_child
from tests.fencing.suite import ELECTION, FenceSuite, Sink


class Memory(Sink):
    """A list. A fence in memory is shared by sharing the object."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._fences: dict[str, Fence] = {}

    def fence(
        self, name: str = ELECTION, *, on_refused: OnRefused | None = None, wait_s: float = 10.0
    ) -> Fence:
        return self._fences.setdefault(name, Fence(name, wait_s=wait_s, on_refused=on_refused))

    def put(self, block: None, note: str) -> None:
        self._notes.append(note)

    def notes(self) -> list[str]:
        return self._notes


class TestMemory(FenceSuite):
    @pytest.fixture
    def sink(self) -> Sink:
        return Memory()

    def half(self, sink: Sink, block: None) -> None:
        """What a block did to a list before it raised is the caller's to take back."""


def test_a_block_that_does_not_end_is_waited_for_and_then_reported() -> None:
    fence, inside, leave = Fence("scheduler", wait_s=0.01), threading.Event(), threading.Event()

    def stay() -> None:
        with fence.write(5):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    with pytest.raises(EngineUnavailable, match=r"is not over after 0\.01 s"):
        fence.prime(8)
    leave.set()
    thread.join()
    fence.prime(8)


@pytest.mark.parametrize("wait_s", [-1.0, float("nan"), 1e9])
def test_what_cannot_be_waited_is_refused(wait_s: float) -> None:
    with pytest.raises(InvalidInput, match="^wait_s: "):
        Fence("scheduler", wait_s=wait_s)


def test_a_forked_child_is_refused() -> None:
    """P75: its copy of the fence would protect nothing."""
    fence = Fence("scheduler")
    assert in_a_child(lambda: fence.prime(1)) is InvalidInput
