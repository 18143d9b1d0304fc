"""Members: one per session and group, in join order, named so that nothing is mistaken for anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress

from incumbent.engines.api import MEMBER_VALUE_BYTES_MAX, NAME_BYTES_MAX, CellWrite
from incumbent.engines.conformance.harness import (
    Lab,
    expect,
    expect_member_gone,
    expect_raises,
    first,
    ids,
    is_in,
    request_id,
    waiting,
)
from incumbent.errors import InvalidInput


async def check_join_is_idempotent(lab: Lab) -> None:
    """P3, P6: one member per session and group, whatever is retried."""
    alice = await lab.client()
    session, group, same = await lab.session(alice), lab.name("join"), request_id()
    member = await alice.join(session, group, same, b"first")
    expect(member.group == group, "a member names its group")
    for again in (same, request_id()):
        found = await alice.join(session, group, again, b"second")
        expect(found == member, "a session that is a member gets its membership back")
    (entry,) = (await alice.roster(group)).members
    expect(entry.value == b"first", "joining again leaves the value as it was")


async def check_concurrent_joins_of_a_session_are_one(lab: Lab) -> None:
    """P3."""
    alice = await lab.client()
    session, group = await lab.session(alice), lab.name("join")
    joins = [alice.join(session, group, request_id(), b"") for _ in range(4)]
    expect(len(set(await asyncio.gather(*joins))) == 1, "one member per session and group")
    expect(len((await alice.roster(group)).members) == 1, "one member per session and group")


async def check_members_are_ordered_by_revision(lab: Lab) -> None:
    engines = [await lab.client() for _ in range(3)]
    group = lab.name("order")
    members = [await lab.join(engine, group, f"{n}".encode()) for n, engine in enumerate(engines)]
    revisions = [m.revision for m in members]
    expect(revisions == sorted(set(revisions)), "a later join has a higher revision")
    for engine in engines:
        roster = await engine.roster(group)
        expect(ids(roster) == [m.id for m in members], "a roster lists members in join order")
        expect([e.order for e in roster.members] == revisions, "an entry's order is its join revision")
        expect([e.value for e in roster.members] == [b"0", b"1", b"2"], "an entry has its member's value")
        expect(all(e.ours for e in roster.members), "members that joined through us are ours")


async def check_an_empty_group(lab: Lab) -> None:
    roster = await (await lab.client()).roster(lab.name("empty"))
    expect(roster.members == () and roster.token is None, "an empty group has no members and no token")


async def check_rosters_are_fresh(lab: Lab) -> None:
    """At least as new as every change acknowledged before the call, through any client."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("fresh")
    for _ in range(5):
        member = await lab.join(alice, group)
        expect(is_in(member, await bob.roster(group)), "a roster shows what was acknowledged before it")
        await alice.leave(member)
        expect(not is_in(member, await bob.roster(group)), "a roster shows what was acknowledged before it")


async def check_update_keeps_the_place(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("update")
    one, two = await lab.join(alice, group, b"1"), await lab.join(bob, group, b"2")
    await alice.update(one, b"new")
    roster = await bob.roster(group)
    expect([e.value for e in roster.members] == [b"new", b"2"], "update changes the value")
    expect(
        [e.order for e in roster.members] == [one.revision, two.revision], "update keeps place and revision"
    )
    await first(alice, one)


async def check_an_updated_member_leaves_with_its_session(lab: Lab) -> None:
    """An update changes the value and nothing else: the member stays bound to its session."""
    alice, bob = await lab.client(), await lab.client()
    session, group = await lab.session(alice), lab.name("bound")
    member = await alice.join(session, group, request_id(), b"old")
    await alice.update(member, b"new")
    expect(await bob.end_session(session.ref), "the session lives until it is ended")
    expect(not is_in(member, await bob.roster(group)), "a member that was updated leaves with its session")


async def check_leave_compares_the_revision(lab: Lab) -> None:
    """P3: a leave that arrives late, after a re-join, removes nothing."""
    alice = await lab.client()
    session, group = await lab.session(alice), lab.name("leave")
    old = await alice.join(session, group, request_id(), b"")
    await alice.leave(old)
    await expect_member_gone(alice, old, "leave")
    await alice.leave(old)  # gone already is fine
    new = await alice.join(session, group, request_id(), b"")
    expect(new.revision > old.revision, "a re-join is a new member with a higher revision")
    await alice.leave(old)
    expect(is_in(new, await alice.roster(group)), "a late leave never removes a re-join")
    await expect_member_gone(alice, old, "a re-join")
    await first(alice, new)
    await alice.renew(session)


async def check_remove(lab: Lab) -> None:
    alice, operator = await lab.client(), await lab.client()
    session, group = await lab.session(alice), lab.name("remove")
    member = await alice.join(session, group, request_id(), b"")
    wrong = await operator.remove(group, member.id, member.revision + 1)
    expect(wrong is False and is_in(member, await alice.roster(group)), "remove compares the revision")
    gone = await operator.remove(group, member.id, member.revision)
    expect(gone is True and not is_in(member, await alice.roster(group)), "remove removes at once")
    expect(await operator.remove(group, member.id, member.revision) is False, "removed already is False")
    expect(await operator.remove(group, "nobody", 1) is False, "a stranger's id is False")
    await expect_member_gone(alice, member, "remove")
    await alice.renew(session)  # the session itself lives on


async def check_a_rejoin_goes_behind(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    session, group = await lab.session(alice), lab.name("yield")
    mine = await alice.join(session, group, request_id(), b"")
    theirs = await lab.join(bob, group)
    await alice.leave(mine)
    mine = await alice.join(session, group, request_id(), b"")
    await first(bob, theirs)
    await waiting(alice, mine)


async def check_member_values(lab: Lab) -> None:
    alice = await lab.client()
    session, group = await lab.session(alice), lab.name("value")
    big = bytes(range(256)) * (MEMBER_VALUE_BYTES_MAX // 256)
    member = await alice.join(session, group, request_id(), big)
    for value in (big, b"", big):
        await alice.update(member, value)
        (entry,) = (await alice.roster(group)).members
        expect(entry.value == value, "a value comes back byte by byte")
    async with expect_raises(InvalidInput, f"a value above {MEMBER_VALUE_BYTES_MAX} bytes is refused"):
        await alice.update(member, big + b"x")
    async with expect_raises(InvalidInput, f"a value above {MEMBER_VALUE_BYTES_MAX} bytes is refused"):
        await alice.join(session, lab.name("value"), request_id(), big + b"x")


def _names(base: str) -> list[str]:
    """Names that a careless key layout would mix up."""
    special = [
        "",
        "/",
        "//",
        "/m",
        "/../x",
        "a",
        "%",
        "%2F",
        " ",
        "\t\n",
        "\x01",
        "\x7f",
        "ü",
        "u\u0308",
        "😀",
    ]
    special += ["_", ":", ".", "*", "'", '"', "\\", "{x}", "-1", "\ue000", "\uffff", "\U0010ffff"]
    names = [base + s for s in special]
    names += [base.ljust(NAME_BYTES_MAX, "x"), base + "ü" * ((NAME_BYTES_MAX - len(base)) // 2)]
    return names


async def check_names_never_interact(lab: Lab) -> None:
    """P5: prefixes of each other, slashes, unicode, 1 KiB: each name is its own group and its own cell."""
    alice = await lab.client()
    names = _names(lab.name("names"))
    session = await lab.session(alice)
    members = [await alice.join(session, name, request_id(), name.encode()) for name in names]
    cells_in = lab.name("cells")
    for name in names:
        await alice.write_cells(cells_in, [CellWrite(name, name.encode(), 0)], None)
        await alice.write_cells(name, [CellWrite("cell", name.encode(), 0)], None)
    for name, member in zip(names, members, strict=True):
        roster = await alice.roster(name)
        values = [e.value for e in roster.members]
        expect(values == [name.encode()], f"the group {name[:60]!r} has its own members only")
        await first(alice, member)
        for cell in (await alice.read_cell(cells_in, name), await alice.read_cell(name, "cell")):
            expect(cell.value == name.encode(), f"the cell {name[:60]!r} has its own value")
    await alice.leave(members[0])
    for member in members[1:]:
        expect(is_in(member, await alice.roster(member.group)), "leaving a group leaves no other")


async def check_bad_names_are_refused(lab: Lab) -> None:
    """P5: 0 bytes, too many bytes, NUL, what is no text: before anything is done."""
    alice = await lab.client()
    session = await lab.session(alice)
    for bad in ("", "x" * (NAME_BYTES_MAX + 1), "ü" * (NAME_BYTES_MAX // 2 + 1), "a\0b", "\ud800"):
        sentence = f"the name {bad[:8]!r} is refused"
        async with expect_raises(InvalidInput, sentence):
            await alice.join(session, bad, request_id(), b"")
        async with expect_raises(InvalidInput, sentence):
            await alice.roster(bad)
        async with expect_raises(InvalidInput, sentence):
            await alice.read_cell(bad, "cell")
        async with expect_raises(InvalidInput, sentence):
            await alice.read_cell(lab.name("ok"), bad)
        async with expect_raises(InvalidInput, sentence):
            await alice.write_cells(lab.name("ok"), [CellWrite(bad, b"", None)], None)
        async with expect_raises(InvalidInput, sentence):
            await alice.remove(bad, "id", 1)


async def check_calls_can_be_cancelled(lab: Lab) -> None:
    """P4: wherever a call is cancelled, nothing is half done and the client goes on working."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("cancel")
    for steps in range(8):
        session = await lab.session(alice)
        await _cancel_after(steps, alice.join(session, group, request_id(), b""))
        member = await alice.join(session, group, request_id(), b"")
        expect(ids(await bob.roster(group)) == [member.id], "a cancelled join leaves one member or none")
        await _cancel_after(steps, alice.leave(member))
        await alice.leave(member)
        expect(not (await bob.roster(group)).members, "a cancelled leave can be repeated")


async def _cancel_after(steps: int, call: Coroutine[object, object, object]) -> None:
    """Start a call, let the loop turn `steps` times, cancel it."""
    task = asyncio.ensure_future(call)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


CHECKS = (
    check_join_is_idempotent,
    check_concurrent_joins_of_a_session_are_one,
    check_members_are_ordered_by_revision,
    check_an_empty_group,
    check_rosters_are_fresh,
    check_update_keeps_the_place,
    check_an_updated_member_leaves_with_its_session,
    check_leave_compares_the_revision,
    check_remove,
    check_a_rejoin_goes_behind,
    check_member_values,
    check_names_never_interact,
    check_bad_names_are_refused,
    check_calls_can_be_cancelled,
)
