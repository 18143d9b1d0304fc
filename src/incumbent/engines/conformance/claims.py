"""Claims: only the first live member's, never two at once, woken without a gap, with tokens that only rise."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from incumbent.engines.api import Cell, CellWrite, Claimed, Engine, Member, Waiting
from incumbent.engines.conformance.harness import (
    Inconclusive,
    Lab,
    NotApplicable,
    expect,
    expect_member_gone,
    expect_raises,
    first,
    request_id,
    waiting,
)
from incumbent.errors import InvalidInput, MemberGone, SessionGone

TOKEN_LIMIT = 1 << 63
CANDIDATES = 4
ROUNDS = 5


async def check_only_the_first_claims(lab: Lab) -> None:
    engines = [await lab.client() for _ in range(3)]
    group = lab.name("first")
    members = [await lab.join(engine, group) for engine in engines]
    claimed = await first(engines[0], members[0])
    expect(claimed.member == members[0], "a claim is the member's who asked")
    for n in (1, 2):
        answer = await waiting(engines[n], members[n])
        expect(answer.behind in [m.id for m in members[:n]], "who waits is told for whom")
    again = await first(engines[0], members[0])
    expect(again.token == claimed.token, "a claim can be repeated: the token stays")


async def check_a_claim_brings_a_cell(lab: Lab) -> None:
    """Whatever was written before the claim was made is in it: a pause that was acknowledged is obeyed (P42)."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("beside")
    member = await lab.join(alice, group)
    answer = await alice.claim(member, "c")
    expect(
        isinstance(answer, Claimed) and answer.cell == Cell(None, 0), "a cell that never was has version 0"
    )
    for n in range(ROUNDS):
        (written,) = await bob.write_cells(group, [CellWrite("c", b"%d" % n, None)], None)
        answer = await alice.claim(member, "c")
        expect(
            isinstance(answer, Claimed) and answer.cell == written,
            "a claim brings the cell as it is at that moment or later",
        )
    expect((await first(alice, member)).cell is None, "a claim brings no cell that nobody asked for")
    other = await lab.join(bob, group)
    await waiting(bob, other)
    async with expect_raises(InvalidInput, "a cell's name is checked"):
        await alice.claim(member, "")


async def check_a_stand_is_join_and_claim(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    group, session = lab.name("stand"), await lab.session(alice)
    (written,) = await bob.write_cells(group, [CellWrite("c", b"v", None)], None)
    mine, answer = await alice.stand(session, group, request_id(), b"1", "c")
    expect(isinstance(answer, Claimed) and answer.member == mine, "who stands alone is first at once")
    expect(
        isinstance(answer, Claimed) and answer.cell == written, "a stand brings the cell that was asked for"
    )
    expect(await first(alice, mine) == answer, "a stand's claim is a claim: the token is the same")
    theirs, behind = await bob.stand(await lab.session(bob), group, request_id(), b"2")
    expect(isinstance(behind, Waiting) and behind.behind == mine.id, "who stands behind another waits for it")
    again, answer = await alice.stand(session, group, request_id(), b"3")
    expect(again == mine and isinstance(answer, Claimed), "who stands again gets its place back")
    entries = [(entry.id, entry.value) for entry in (await bob.roster(group)).members]
    expect(entries == [(mine.id, b"1"), (theirs.id, b"2")], "who stands is a member like any other")
    await alice.leave(mine)
    expect((await lab.until_first(bob, theirs)).token > 0, "who waited is first in the end")
    await alice.end_session(session.ref)
    async with expect_raises(SessionGone, "stand raises SessionGone after the session's end"):
        await alice.stand(session, group, request_id(), b"")


async def check_those_who_stand_at_once(lab: Lab) -> None:
    """Many stand in the same moment: one of them is first, and it is the first of the roster."""
    engines = [await lab.client() for _ in range(CANDIDATES)]
    for _ in range(ROUNDS):
        group = lab.name("crowd")
        sessions = [await lab.session(engine) for engine in engines]
        stood = await asyncio.gather(
            *(e.stand(s, group, request_id(), b"") for e, s in zip(engines, sessions, strict=True))
        )
        roster = await engines[0].roster(group)
        for member, answer in stood:
            is_first = member.id == roster.members[0].id
            expect(
                is_first or isinstance(answer, Waiting), "of those who stand at once only the first claims"
            )


async def check_fifo(lab: Lab) -> None:
    engine = await lab.client()
    if not engine.guarantees.fifo:
        raise NotApplicable("the engine does not declare fifo")
    group = lab.name("fifo")
    members = [await lab.join(engine, group) for _ in range(5)]
    for n, member in enumerate(members):
        for later in members[n + 1 :]:
            await waiting(engine, later)
        await first(engine, member)
        await engine.leave(member)


@dataclass
class _Arena:
    """What the candidates of one race see of each other. All of it is read and written between awaits."""

    group: str
    inside: list[int] = field(default_factory=list)  # tokens of those who lead now; two are the fault
    tokens: list[int] = field(default_factory=list)

    def enter(self, claimed: Claimed) -> None:
        expect(not self.inside, f"never two first: {claimed.token} claimed while {self.inside} led")
        highest = max(self.tokens, default=0)
        expect(claimed.token > highest, f"tokens rise: {claimed.token} came after {highest}")
        self.tokens.append(claimed.token)


async def check_never_two_first(lab: Lab) -> None:
    """Candidates join, claim, write, and go in every way there is, all at once."""
    seed = random.randrange(1 << 32)
    arena = _Arena(lab.name("race"))
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(CANDIDATES):
                tasks.create_task(_race(lab, arena, random.Random(seed + number), number))
    except ExceptionGroup as group:
        group.add_note(f"the race ran with random.Random({seed} + number)")
        raise group.exceptions[0] from group
    expect(len(arena.tokens) >= CANDIDATES, "every candidate has led")


async def _race(lab: Lab, arena: _Arena, rng: random.Random, number: int) -> None:
    engine = await lab.client()
    for turn in range(ROUNDS):
        exit_by = (number + turn) % 4
        if exit_by == 3:
            await _claim_and_fall_silent(lab, arena, engine)
            continue
        session = await lab.session(engine)
        member = await engine.join(session, arena.group, request_id(), b"")
        claimed = await lab.until_first(engine, member)
        arena.enter(claimed)
        arena.inside.append(claimed.token)
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        await engine.write_cells(arena.group, [CellWrite("last", b"%d" % claimed.token, None)], claimed)
        arena.inside.remove(claimed.token)
        match exit_by:
            case 0:
                await engine.leave(member)
            case 1:
                await engine.end_session(session.ref)
            case _:
                await engine.remove(arena.group, member.id, member.revision)


async def _claim_and_fall_silent(lab: Lab, arena: _Arena, engine: Engine) -> None:
    """May expire while it queues, while it claims, or after it: all of them are fine, two first are not."""
    opened_s = lab.now_s()
    try:
        member = await lab.join(engine, arena.group, ttl=lab.ttl_s)
        claimed = await lab.until_first(engine, member)
    except (SessionGone, MemberGone):
        return
    if lab.now_s() - opened_s < lab.ttl_s * 0.9:
        arena.enter(claimed)
    await lab.pass_time(lab.ttl_s + lab.late_s)


async def check_waiting_leaves_no_gap(lab: Lab) -> None:
    """What happens between the answer and the watch wakes the watch."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("gap")
    for _ in range(4):
        one, two = await lab.join(alice, group), await lab.join(bob, group)
        answer = await waiting(bob, two)
        await alice.leave(one)
        await asyncio.sleep(0)
        async with lab.watching(bob, group, answer.cursor) as pump:
            await pump.woken_since(0, "what happened before it began but after its cursor")
        await first(bob, two)
        await bob.leave(two)


async def check_expiry_reaches_who_waits(lab: Lab) -> None:
    """By a wake-up, or by claiming again after retry_after."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("heir")
    session = await lab.session(alice, lab.ttl_s)
    await alice.join(session, group, request_id(), b"")
    heir = await lab.join(bob, group)
    answer = await waiting(bob, heir)
    passing = asyncio.create_task(lab.pass_time(lab.ttl_s + lab.late_s))
    try:
        await lab.wake(bob, group, answer)
        await passing
        async with asyncio.timeout(lab.service.patience_s + lab.ttl_s + lab.late_s):
            await lab.until_first(bob, heir)
    finally:
        passing.cancel()


async def check_a_claim_after_expiry_finds_nothing(lab: Lab) -> None:
    """P1, P48: the session may have ended while the candidate queued."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("late")
    ahead = await lab.join(alice, group)
    late = await lab.join(bob, group, ttl=lab.ttl_s)
    await lab.pass_time(lab.ttl_s + lab.late_s)
    await alice.leave(ahead)
    await expect_member_gone(bob, late, "expiry")


async def check_tokens_rise(lab: Lab) -> None:
    """P7, P30, P32: over every way in which a term can end, also when nothing of the group is left."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("tokens")
    tokens: list[int] = []

    async def lead(engine: Engine, ttl: float | None = None) -> tuple[Member, bytes]:
        session = await lab.session(engine, ttl)
        opened_s = lab.now_s()
        member = await engine.join(session, group, request_id(), b"")
        try:
            token = (await first(engine, member)).token
        except MemberGone:
            if ttl is not None and lab.now_s() - opened_s > ttl * 0.9:
                raise Inconclusive from None
            raise
        expect(0 < token < TOKEN_LIMIT, "0 < token < 2**63")
        expect(token > max(tokens, default=0), f"tokens rise: {token} came after {tokens}")
        tokens.append(token)
        return member, session.ref

    for engine in (alice, bob, alice):
        member, _ = await lead(engine)
        await engine.leave(member)
    _, ref = await lead(bob)
    await alice.end_session(ref)
    member, _ = await lead(alice)
    await bob.remove(group, member.id, member.revision)
    await lead(alice, lab.ttl_s)
    await lab.pass_time(lab.ttl_s + lab.late_s)
    await lead(bob)


async def check_a_roster_shows_the_leaders_token(lab: Lab) -> None:
    """P36, P37."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("shown")
    one, two = await lab.join(alice, group), await lab.join(bob, group)
    for engine, member in ((alice, one), (bob, two)):
        token = (await first(engine, member)).token
        for observer in (alice, bob):
            roster = await observer.roster(group)
            expect(roster.token == token, "a roster shows the token of the first member")
        await engine.leave(member)


async def check_tokens_rise_over_a_restart(lab: Lab) -> None:
    """P30: and so do the versions of cells; what was acknowledged is kept."""
    alice = await lab.client()
    group = lab.name("restart")
    session = await lab.session(alice)
    old = await first(alice, await alice.join(session, group, request_id(), b""))
    (cell,) = await alice.write_cells(group, [CellWrite("cell", b"kept", 0)], old)
    await lab.restart()
    bob = await lab.client()
    await bob.end_session(session.ref)
    new = await lab.until_first(bob, await lab.join(bob, group))
    if bob.guarantees.fenced:
        expect(new.token > old.token, f"tokens rise over a restart: {new.token} came after {old.token}")
    if bob.guarantees.linearizable:
        found = await bob.read_cell(group, "cell")
        expect(found == cell, "an acknowledged cell survives a restart, with its version")


CHECKS = (
    check_only_the_first_claims,
    check_a_claim_brings_a_cell,
    check_a_stand_is_join_and_claim,
    check_those_who_stand_at_once,
    check_fifo,
    check_never_two_first,
    check_waiting_leaves_no_gap,
    check_expiry_reaches_who_waits,
    check_a_claim_after_expiry_finds_nothing,
    check_tokens_rise,
    check_a_roster_shows_the_leaders_token,
    check_tokens_rise_over_a_restart,
)
