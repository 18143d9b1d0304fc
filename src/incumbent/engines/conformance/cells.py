"""Cells: versions that only rise, compares that hold, all or nothing, and guards that a lost term does not pass."""

from __future__ import annotations

import asyncio

from incumbent.engines.api import CELL_BYTES_MIN, Cell, CellWrite, Claimed, Engine
from incumbent.engines.conformance.harness import (
    Inconclusive,
    Lab,
    expect,
    expect_raises,
    first,
    request_id,
    waiting,
)
from incumbent.errors import InvalidInput, MemberGone, NotFirst, VersionConflict


async def check_cell_versions_rise(lab: Lab) -> None:
    """Over every write, also of the same value, over deletion and re-creation."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("versions")
    expect(await bob.read_cell(group, "cell") == Cell(None, 0), "a cell that never was: no value, version 0")
    version = 0
    for value in (b"one", b"one", b"", None, b"again", None, b"last"):
        (cell,) = await alice.write_cells(group, [CellWrite("cell", value, None)], None)
        expect(cell.value == value, "a write answers with the cell as written")
        expect(cell.version > version, f"versions rise with every write, here of {value!r}")
        expect(await bob.read_cell(group, "cell") == cell, "a read shows what was acknowledged before it")
        version = cell.version


async def check_a_cell_is_written_under_its_version(lab: Lab) -> None:
    alice = await lab.client()
    group = lab.name("expected")

    async def write(value: bytes | None, expected: int | None) -> int:
        (cell,) = await alice.write_cells(group, [CellWrite("cell", value, expected)], None)
        return cell.version

    async def refuse(expected: int, why: str) -> None:
        before = await alice.read_cell(group, "cell")
        async with expect_raises(VersionConflict, f"a write that expects {why} is refused"):
            await write(b"bad", expected)
        expect(await alice.read_cell(group, "cell") == before, "a refused write changes nothing")

    await refuse(1, "a version of a cell that never was")
    one = await write(b"one", 0)
    await refuse(0, "absence where there is a cell")
    await refuse(one + 1, "a version not yet reached")
    two = await write(b"two", one)
    await refuse(one, "an older version")
    gone = await write(None, two)
    await refuse(0, "that a deleted cell never was")
    await refuse(two, "the version before the deletion")
    await write(b"again", gone)


async def check_cells_are_written_all_or_nothing(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("atomic")
    (b,) = await alice.write_cells(group, [CellWrite("b", b"0", 0)], None)
    async with expect_raises(VersionConflict, "one conflict refuses all"):
        await alice.write_cells(
            group,
            [CellWrite("a", b"1", None), CellWrite("b", b"1", b.version + 7), CellWrite("c", b"1", None)],
            None,
        )
    for name, cell in (("a", Cell(None, 0)), ("b", b), ("c", Cell(None, 0))):
        expect(await bob.read_cell(group, name) == cell, "after one conflict nothing is written")
    writes = [CellWrite("c", b"3", 0), CellWrite("b", None, b.version), CellWrite("a", b"1", None)]
    cells = await alice.write_cells(group, writes, None)
    expect([c.value for c in cells] == [b"3", None, b"1"], "cells come back in the order of the writes")
    for write, cell in zip(writes, cells, strict=True):
        expect(await bob.read_cell(group, write.name) == cell, "all of the writes are done")


async def check_concurrent_cell_writes_lose_nothing(lab: Lab) -> None:
    engines = [await lab.client() for _ in range(3)]
    group, turns = lab.name("counter"), 5

    async def count(engine: Engine) -> None:
        done = 0
        while done < turns:
            cell = await engine.read_cell(group, "n")
            value = b"%d" % (int(cell.value or b"0") + 1)
            try:
                await engine.write_cells(group, [CellWrite("n", value, cell.version)], None)
            except VersionConflict:
                continue
            done += 1

    await asyncio.gather(*map(count, engines))
    total = (await engines[0].read_cell(group, "n")).value
    expect(total == b"%d" % (len(engines) * turns), f"compare and set loses no write; counted {total!r}")


async def check_a_guard_passes_only_the_first(lab: Lab) -> None:
    """Alive is not enough: not first is refused, whatever the member claims of itself."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("guard")
    session = await lab.session(alice)
    one = await alice.join(session, group, request_id(), b"")
    two = await lab.join(bob, group)
    lead = await first(alice, one)
    (cell,) = await alice.write_cells(group, [CellWrite("cell", b"mine", None)], lead)
    await waiting(bob, two)
    await _expect_refused(bob, group, Claimed(two, lead.token + 1), cell, "alive but not first")
    await alice.leave(one)
    await _expect_refused(alice, group, lead, cell, "left")
    again = await alice.join(session, group, request_id(), b"")
    await _expect_refused(alice, group, lead, cell, "left and joined again")
    await _expect_refused(alice, group, Claimed(again, lead.token), cell, "joined again, behind")
    heir = await first(bob, two)
    (cell,) = await bob.write_cells(group, [CellWrite("cell", b"theirs", cell.version)], heir)
    await alice.end_session(session.ref)
    await _expect_refused(alice, group, lead, cell, "its session was ended")
    await bob.remove(group, two.id, two.revision)
    await _expect_refused(bob, group, heir, cell, "removed")


async def check_a_guard_refuses_after_expiry(lab: Lab) -> None:
    alice = await lab.client()
    group = lab.name("guard")
    opened_s = lab.now_s()
    member = await lab.join(alice, group, ttl=lab.ttl_s)
    try:
        lead = await first(alice, member)
    except MemberGone:
        if lab.now_s() - opened_s > lab.ttl_s * 0.9:
            raise Inconclusive from None
        raise
    await lab.pass_time(lab.ttl_s + lab.late_s)
    await _expect_refused(alice, group, lead, Cell(None, 0), "its session expired")


async def check_a_guard_is_atomic_with_the_write(lab: Lab) -> None:
    """P33: while the lead changes hands, no write of a former leader lands after one of a later one."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("guard")
    for _ in range(6):
        one, two = await lab.join(alice, group), await lab.join(bob, group)
        lead = await first(alice, one)

        async def keep_writing(lead: Claimed = lead) -> None:
            while True:
                await alice.write_cells(group, [CellWrite("cell", b"%d" % lead.token, None)], lead)

        writing = asyncio.create_task(keep_writing())
        for _ in range(4):
            await asyncio.sleep(0)
        await bob.remove(group, one.id, one.revision)
        heir = await lab.until_first(bob, two)
        (cell,) = await bob.write_cells(group, [CellWrite("cell", b"%d" % heir.token, None)], heir)
        async with expect_raises(NotFirst, "a guarded write is refused once the lead is lost"):
            await writing
        expect(await bob.read_cell(group, "cell") == cell, "a former leader's write never lands late")
        await bob.leave(two)


async def _expect_refused(engine: Engine, group: str, claimed: Claimed, cell: Cell, why: str) -> None:
    """NotFirst, although the version would fit, and nothing is written."""
    async with expect_raises(NotFirst, f"a guarded write is refused when the member is {why}"):
        await engine.write_cells(group, [CellWrite("cell", b"bad", cell.version)], claimed)
    expect(await engine.read_cell(group, "cell") == cell, f"nothing is written when the member is {why}")


async def check_cells_outlive_members(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    session, group = await lab.session(alice), lab.name("outlive")
    lead = await first(alice, await alice.join(session, group, request_id(), b""))
    (cell,) = await alice.write_cells(group, [CellWrite("cell", b"kept", None)], lead)
    await alice.end_session(session.ref)
    expect(await bob.read_cell(group, "cell") == cell, "a cell outlives the member that wrote it")


async def check_cell_sizes(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("size")
    largest = alice.guarantees.cell_bytes_max
    expect(largest >= CELL_BYTES_MIN, "every engine takes cells of 256 KiB")
    for size in (0, CELL_BYTES_MIN, largest):
        value = (bytes(range(256)) * (size // 256 + 1))[:size]
        await alice.write_cells(group, [CellWrite("cell", value, None)], None)
        expect(
            (await bob.read_cell(group, "cell")).value == value, f"a cell of {size} bytes comes back whole"
        )
    async with expect_raises(InvalidInput, "a cell above cell_bytes_max is refused"):
        await alice.write_cells(group, [CellWrite("cell", bytes(largest + 1), None)], None)
    expect(
        len((await bob.read_cell(group, "cell")).value or b"") == largest, "a refused write changes nothing"
    )


async def check_a_cell_named_twice_is_refused(lab: Lab) -> None:
    alice = await lab.client()
    group = lab.name("twice")
    async with expect_raises(InvalidInput, "the same name twice in one step is refused"):
        await alice.write_cells(group, [CellWrite("x", b"1", None), CellWrite("x", b"2", None)], None)
    expect(await alice.read_cell(group, "x") == Cell(None, 0), "a refused write changes nothing")


CHECKS = (
    check_cell_versions_rise,
    check_a_cell_is_written_under_its_version,
    check_cells_are_written_all_or_nothing,
    check_concurrent_cell_writes_lose_nothing,
    check_a_guard_passes_only_the_first,
    check_a_guard_refuses_after_expiry,
    check_a_guard_is_atomic_with_the_write,
    check_cells_outlive_members,
    check_cell_sizes,
    check_a_cell_named_twice_is_refused,
)
