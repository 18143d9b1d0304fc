"""Watches: no gap, merged, bounded, and never silent at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from incumbent.errors import Compacted, Overloaded, WatchLost
from incumbent.ids import Revision
from incumbent.kv.api import Change, prefix_end
from incumbent.runtime import watches
from incumbent.runtime.watches import Watches


def change(revision: int, key: bytes) -> Change:
    return Change(Revision(revision), key, b"v", Revision(revision))


class Past:
    """A machine's history as the watches see it."""

    def __init__(self, *changes: Change, compacted: int = 0) -> None:
        self.all = list(changes)
        self.compacted = compacted

    def changes(self, key: bytes, end: bytes | None, after: Revision) -> Sequence[Change]:
        if after < self.compacted:
            raise Compacted("gone")
        return [
            c
            for c in self.all
            if c.revision > after and (c.key == key if end is None else key <= c.key < end)
        ]


async def test_what_happened_before_the_watch_wakes_it_once() -> None:
    hub = Watches(Past(change(3, b"k"), change(4, b"k")))
    watch = hub.watch(b"k", None, Revision(2))
    await anext(watch)
    task = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not task.done()
    hub.wake([change(5, b"k")])
    await task


@pytest.mark.parametrize(
    ("key", "end", "changed", "wakes"),
    [
        (b"k", None, b"k", True),
        (b"k", None, b"k1", False),
        (b"k", prefix_end(b"k"), b"k1", True),
        (b"k", prefix_end(b"k"), b"l", False),
        (b"k", prefix_end(b"k"), b"j", False),
    ],
)
async def test_only_its_range_wakes_a_watch(
    key: bytes, end: bytes | None, changed: bytes, *, wakes: bool
) -> None:
    hub = Watches(Past())
    task = asyncio.ensure_future(anext(hub.watch(key, end, Revision(0))))
    await asyncio.sleep(0)
    hub.wake([change(1, changed)])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task.done() is wakes
    task.cancel()


@pytest.mark.parametrize(
    ("deleted", "wakes"),
    [
        ([(b"k1", None)], True),
        ([(b"j", None), (b"k2", None)], True),
        ([(b"j", b"k1")], True),
        ([(b"j", b"k")], False),
        ([(b"l", b"m")], False),
        ([], False),
    ],
)
async def test_what_is_about_to_go_wakes_who_follows_it(
    deleted: list[tuple[bytes, bytes | None]], *, wakes: bool
) -> None:
    hub = Watches(Past())
    task = asyncio.ensure_future(anext(hub.watch(b"k", b"l", Revision(0))))
    await asyncio.sleep(0)
    assert hub.wake_early(deleted) is wakes
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task.done() is wakes
    task.cancel()


async def test_a_crowd_is_not_woken_early() -> None:
    hub = Watches(Past())
    tasks = [
        asyncio.ensure_future(anext(hub.watch(b"k", None, Revision(0))))
        for _ in range(watches.EARLY_WATCHES_MAX + 1)
    ]
    await asyncio.sleep(0)
    assert not hub.wake_early([(b"k", None)])
    assert not hub.wake_early([(b"k", None)] * (watches.EARLY_RANGES_MAX + 1))
    hub.wake([change(1, b"k")])
    await asyncio.gather(*tasks)


async def test_a_machine_that_lags_does_not_wake_for_what_the_caller_has_seen() -> None:
    hub = Watches(Past())
    task = asyncio.ensure_future(anext(hub.watch(b"k", None, Revision(10))))
    await asyncio.sleep(0)
    hub.wake([change(9, b"k"), change(10, b"k")])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    hub.wake([change(11, b"k")])
    await task


async def test_many_changes_are_one_wake_up() -> None:
    hub = Watches(Past())
    watch = hub.watch(b"k", None, Revision(0))
    first = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    for revision in range(1, 100):
        hub.wake([change(revision, b"k")])
    await first
    second = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not second.done()
    second.cancel()


async def test_compacted_history_is_a_lost_watch() -> None:
    with pytest.raises(WatchLost, match="after revision 2"):
        await anext(Watches(Past(compacted=5)).watch(b"k", None, Revision(2)))


async def test_watches_are_bounded_and_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "WATCHES_MAX", 1)
    hub = Watches(Past())
    task = asyncio.ensure_future(anext(hub.watch(b"k", None, Revision(0))))
    await asyncio.sleep(0)
    assert hub.count == 1
    with pytest.raises(Overloaded):
        await anext(hub.watch(b"k", None, Revision(0)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hub.count == 0


async def test_the_end_reaches_every_watch() -> None:
    hub = Watches(Past())
    task = asyncio.ensure_future(anext(hub.watch(b"k", None, Revision(0))))
    await asyncio.sleep(0)
    hub.end()
    with pytest.raises(WatchLost, match="stopped"):
        await task
    with pytest.raises(WatchLost, match="stopped"):
        await anext(hub.watch(b"k", None, Revision(0)))


async def test_a_watch_that_cannot_learn_of_changes_ends() -> None:
    """P38: a voter that hears no leader says so to whoever watches it, and takes new watches."""
    all_watches = Watches(Past())
    watch = aiter(all_watches.watch(b"a", None, Revision(1)))
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    all_watches.lose()
    with pytest.raises(WatchLost):
        await waiting
    assert all_watches.count == 0
    again = asyncio.ensure_future(anext(aiter(all_watches.watch(b"a", None, Revision(1)))))
    await asyncio.sleep(0)
    assert all_watches.count == 1
    again.cancel()
