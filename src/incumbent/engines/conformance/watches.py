"""Watches: a wake-up for every change after the cursor, and an honest end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from incumbent.engines.api import CellWrite
from incumbent.engines.conformance.harness import Lab, expect, request_id


async def check_a_watch_wakes_for_members(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    session, group = await lab.session(alice), lab.name("watched")
    roster = await bob.roster(group)

    async with lab.watching(bob, group, roster.cursor) as pump:
        member = await lab.join(alice, group)
        await pump.woken_since(0, "a join")
        seen = pump.wakes
        mine = await alice.join(session, group, request_id(), b"")
        await pump.woken_since(seen, "a second join")
        changes: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("an update", lambda: alice.update(mine, b"new")),
            ("a leave", lambda: alice.leave(mine)),
            ("a remove", lambda: bob.remove(group, member.id, member.revision)),
            ("a join after others left", lambda: alice.join(session, group, request_id(), b"")),
            ("an ended session", lambda: alice.end_session(session.ref)),
        ]
        for what, change in changes:
            seen = pump.wakes
            await change()
            await pump.woken_since(seen, what)


async def check_a_watch_wakes_for_cells(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("watched")
    async with lab.watching(bob, group, (await bob.roster(group)).cursor) as pump:
        for value in (b"one", b"two", None, b"again"):
            seen = pump.wakes
            await alice.write_cells(group, [CellWrite("cell", value, None)], None)
            await pump.woken_since(seen, f"a cell written as {value!r}")


async def check_a_rosters_cursor_leaves_no_gap(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("gap")
    for what in ("member", "cell"):
        roster = await bob.roster(group)
        if what == "member":
            await lab.join(alice, group)
        else:
            await alice.write_cells(group, [CellWrite("cell", b"", None)], None)
        async with lab.watching(bob, group, roster.cursor) as pump:
            await pump.woken_since(0, f"a {what} that changed before it began but after its cursor")


async def check_a_closed_client_ends_its_watches(lab: Lab) -> None:
    """P38: never a watch that hangs with nobody behind it."""
    alice = await lab.client()
    group = lab.name("closed")
    async with lab.watching(alice, group, (await alice.roster(group)).cursor) as pump:
        seen = pump.wakes
        await lab.join(alice, group)
        await pump.woken_since(seen, "a join")
        await alice.close()
        await pump.lost()


async def check_many_watches_wake(lab: Lab) -> None:
    alice = await lab.client()
    group, woken = lab.name("many"), 0
    watchers = [await lab.client() for _ in range(3)]
    cursor = (await alice.roster(group)).cursor
    async with (
        lab.watching(watchers[0], group, cursor) as one,
        lab.watching(watchers[1], group, (await watchers[1].roster(group)).cursor) as two,
        lab.watching(watchers[1], group, (await watchers[1].roster(group)).cursor) as three,
        lab.watching(watchers[2], group, (await watchers[2].roster(group)).cursor) as four,
    ):
        for _ in range(2):
            seen = [pump.wakes for pump in (one, two, three, four)]
            await lab.join(alice, group)
            for pump, before in zip((one, two, three, four), seen, strict=True):
                await pump.woken_since(before, "a join, in every process and every watch of it")
                woken += 1
    expect(woken == 8, "every watch wakes")


CHECKS = (
    check_a_watch_wakes_for_members,
    check_a_watch_wakes_for_cells,
    check_a_rosters_cursor_leaves_no_gap,
    check_a_closed_client_ends_its_watches,
    check_many_watches_wake,
)
