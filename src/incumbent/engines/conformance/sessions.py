"""Sessions: opened once, alive exactly as long as promised, ended from anywhere, together with all they hold."""

from __future__ import annotations

import asyncio

from incumbent.engines.api import REF_BYTES_MAX, TTL_MAX_S, TTL_MIN_S, Engine, Session, Waiting
from incumbent.engines.conformance.harness import (
    Inconclusive,
    Lab,
    ended_between,
    expect,
    expect_member_gone,
    expect_raises,
    ids,
    is_in,
    request_id,
)
from incumbent.errors import EngineUnavailable, InvalidInput, SessionGone

CLOCKS = ("monotonic", "wall", "observer")
WRITES = ("one", "per election")


def _slack(seconds: float) -> float:
    """Two clocks may differ by the declared drift (0.1 % each) and a timer by a millisecond."""
    return 0.002 + 0.002 * seconds


async def check_guarantees_are_declared(lab: Lab) -> None:
    declared = (await lab.client()).guarantees
    expect(declared.server_clock in CLOCKS, f"server_clock is one of {CLOCKS}")
    expect(declared.renew_writes in WRITES, f"renew_writes is one of {WRITES}")
    expect(declared.token_source, "token_source says where tokens come from")
    expect(declared.cell_bytes_max >= 256 * 1024, "every engine takes cells of 256 KiB")


async def check_open_session_is_idempotent(lab: Lab) -> None:
    """P3: a retry after a lost reply finds the session of the first attempt."""
    alice, bob = await lab.client(), await lab.client()
    same = request_id()
    one = await alice.open_session(lab.service.ttl_long_s, same)
    again = await bob.open_session(lab.service.ttl_long_s, same)
    other = await lab.session(alice)
    expect(await alice.end_session(again.ref), "one request id opens one session; the retry found another")
    async with expect_raises(SessionGone, "one request id opens one session, so both are over"):
        await alice.renew(one)
    await alice.renew(other)


async def check_a_retried_open_renews(lab: Lab) -> None:
    """The caller counts from its retry, so the engine must too."""
    alice = await lab.client()
    same, group = request_id(), lab.name("retry")
    session = await alice.open_session(lab.ttl_s, same)
    opened_s = lab.now_s()
    member = await alice.join(session, group, request_id(), b"")
    await lab.pass_time(lab.ttl_s / 2)
    before_s = lab.now_s()
    again = await alice.open_session(lab.ttl_s, same)
    if lab.now_s() - opened_s >= lab.ttl_s:
        raise Inconclusive
    _, gone_s = await ended_between(lab, alice, member, lab.ttl_s + lab.late_s)
    sentence = "a retried open_session gives the full ttl from the retry on"
    expect(gone_s - before_s >= again.ttl - again.lag - _slack(again.ttl), sentence)


async def check_ttl_is_granted_exactly(lab: Lab) -> None:
    """P16: never rounded, never clamped in silence."""
    alice = await lab.client()
    for ttl in (lab.ttl_s, lab.ttl_s * 1.37, lab.service.ttl_long_s + 0.001):
        try:
            session = await lab.session(alice, ttl)
        except InvalidInput:
            expect(ttl != lab.ttl_s, "the harness names a ttl that the engine honours")
            continue
        expect(session.ttl == ttl, f"the session reports the ttl that was asked for, {ttl}, or is refused")
        expect(0 <= session.lag < ttl, "lag is shorter than the ttl")


async def check_a_ttl_out_of_range_is_refused(lab: Lab) -> None:
    """P16."""
    alice = await lab.client()
    for ttl in (0.0, -1.0, float("nan"), float("inf"), float("-inf"), TTL_MIN_S / 2, TTL_MAX_S * 1.001):
        async with expect_raises(InvalidInput, f"a ttl of {ttl} is refused"):
            await alice.open_session(ttl, request_id())


async def check_a_bad_release_delay_is_refused(lab: Lab) -> None:
    alice = await lab.client()
    for delay in (-0.001, float("nan"), float("inf")):
        async with expect_raises(InvalidInput, f"a release delay of {delay} is refused"):
            await alice.open_session(lab.ttl_s, request_id(), release_delay=delay)


async def check_a_renewed_session_lives(lab: Lab) -> None:
    alice = await lab.client()
    session, group = await lab.session(alice, lab.ttl_s), lab.name("renewed")
    renewed_s = lab.now_s()
    member = await alice.join(session, group, request_id(), b"")
    for _ in range(5):
        await lab.pass_time(lab.ttl_s * 0.4)
        before_s = lab.now_s()
        try:
            await alice.renew(session)
        except SessionGone:
            if before_s - renewed_s > lab.ttl_s * 0.9:
                raise Inconclusive from None
            raise
        renewed_s = before_s
    roster = await alice.roster(group)
    if lab.now_s() - renewed_s > lab.ttl_s * 0.9:
        raise Inconclusive
    expect(is_in(member, roster), "a session that is renewed in time lives on with its members")


async def check_a_session_never_ends_early(lab: Lab) -> None:
    """P10: counted from the last acknowledged renewal, no sooner than the moment of the call."""
    await _check_end_of_silence(lab, release_delay=0.0, early=True)


async def check_a_silent_session_ends(lab: Lab) -> None:
    await _check_end_of_silence(lab, release_delay=0.0, early=False)


async def check_release_delay_is_waited_after_silence(lab: Lab) -> None:
    """P44: the next holder starts no sooner than the delay after a loss without goodbye."""
    await _check_end_of_silence(lab, release_delay=lab.ttl_s, early=True)


async def _check_end_of_silence(lab: Lab, *, release_delay: float, early: bool) -> None:
    alice, bob = await lab.client(), await lab.client()
    session = await lab.session(alice, lab.ttl_s, release_delay=release_delay)
    opened_s = lab.now_s()
    member = await alice.join(session, lab.name("silent"), request_id(), b"")
    await lab.pass_time(lab.ttl_s / 3)
    if lab.now_s() - opened_s >= lab.ttl_s:
        raise Inconclusive
    renewed_s = lab.now_s()
    await alice.renew(session)
    lasts_s = session.ttl + release_delay
    _, gone_s = await ended_between(lab, bob, member, lasts_s + lab.late_s)
    if early:
        least_s = lasts_s - session.lag - _slack(lasts_s)
        sentence = f"a session never ends sooner than {lasts_s} s (ttl + release_delay) after a renewal"
        expect(gone_s - renewed_s >= least_s, f"{sentence}; it was over after {gone_s - renewed_s:.3f} s")


async def check_the_holders_ttl_decides(lab: Lab) -> None:
    """P15: a challenger with a short TTL replaces nobody sooner, one with a long TTL nobody later."""
    alice, bob = await lab.client(), await lab.client()
    group = lab.name("patient")
    await lab.join(alice, group)
    session = await lab.session(bob, lab.ttl_s)
    hasty = await bob.join(session, group, request_id(), b"")
    renewed_s = lab.now_s()
    for _ in range(5):
        renewed_s = await _renew_half_way(lab, bob, session, renewed_s)
        sentence = "a silent holder is replaced after its own ttl, not after the challenger's shorter one"
        expect(isinstance(await bob.claim(hasty), Waiting), sentence)
    brief = await lab.join(alice, lab.name("brief"), ttl=lab.ttl_s)
    await lab.join(bob, brief.group)
    await ended_between(lab, bob, brief, lab.ttl_s + lab.late_s)


async def check_a_newcomer_ends_nobody_early(lab: Lab) -> None:
    """P17: a client that sees a record for the first time gives it all of its ttl, however old the record looks."""
    alice = await lab.client()
    session, group = await lab.session(alice, lab.ttl_s), lab.name("old")
    renewed_s = lab.now_s()
    member = await alice.join(session, group, request_id(), b"")
    for _ in range(5):
        renewed_s = await _renew_half_way(lab, alice, session, renewed_s)
    bob = await lab.client()
    await lab.join(bob, group)
    _, gone_s = await ended_between(lab, bob, member, lab.ttl_s + lab.late_s)
    least_s = session.ttl - session.lag - _slack(session.ttl)
    sentence = f"a newcomer ends a session no sooner than {session.ttl} s after its last renewal"
    expect(gone_s - renewed_s >= least_s, f"{sentence}; it was over after {gone_s - renewed_s:.3f} s")


async def _renew_half_way(lab: Lab, engine: Engine, session: Session, renewed_s: float) -> float:
    """Let half a TTL pass since `renewed_s`, and renew. Returns the time from which that counts."""
    await lab.pass_time(lab.ttl_s * 0.5)
    before_s = lab.now_s()
    if before_s - renewed_s > lab.ttl_s * 0.9:
        raise Inconclusive
    await engine.renew(session)
    return before_s


async def check_a_session_that_is_over_stays_over(lab: Lab) -> None:
    """P12: a renewal after the end does not bring it back."""
    alice = await lab.client()
    ended, silent = await lab.session(alice), await lab.session(alice, lab.ttl_s)
    await alice.end_session(ended.ref)
    await lab.pass_time(lab.ttl_s + lab.late_s)
    for session, why in ((ended, "end_session"), (silent, "expiry")):
        for _ in range(2):
            async with expect_raises(SessionGone, f"renew raises SessionGone after {why}"):
                await alice.renew(session)
        async with expect_raises(SessionGone, f"join raises SessionGone after {why}"):
            await alice.join(session, lab.name("over"), request_id(), b"")
        expect(not await alice.end_session(session.ref), f"end_session answers False after {why}")


async def check_end_session_from_another_process(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    session, group = await lab.session(alice), lab.name("ended")
    member = await alice.join(session, group, request_id(), b"")
    expect(await bob.end_session(session.ref) is True, "end_session ends another process's session at once")
    expect(not (await bob.roster(group)).members, "an ended session's members are gone when it returns")
    await expect_member_gone(alice, member, "end_session")
    async with expect_raises(SessionGone, "renew raises SessionGone after end_session"):
        await alice.renew(session)
    for engine in (bob, alice):
        expect(await engine.end_session(session.ref) is False, "end_session is idempotent: then it is False")


async def check_a_garbage_ref_is_refused(lab: Lab) -> None:
    """P77: and nothing is ended by it."""
    alice = await lab.client()
    session = await lab.session(alice)
    for garbage in (b"", b"\0", b"garbage", b"\xff" * 64, b"x" * (REF_BYTES_MAX + 1)):
        async with expect_raises(InvalidInput, f"the reference {garbage[:10]!r} is refused"):
            await alice.end_session(garbage)
    await alice.renew(session)


async def check_a_ref_is_small_and_secret(lab: Lab) -> None:
    session = await lab.session(await lab.client())
    expect(type(session.ref) is bytes, "a reference is plain bytes")
    expect(0 < len(session.ref) <= REF_BYTES_MAX, f"a reference has at most {REF_BYTES_MAX} bytes")
    for text in (repr(session), str(session), f"{session}"):
        expect(repr(session.ref)[2:-1] not in text, "a reference is a secret: repr does not show it")
        expect(session.ref.hex() not in text, "a reference is a secret: repr does not show it")


async def check_all_groups_of_a_session_end_together(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    for _ in range(5):
        session = await lab.session(alice)
        groups = [lab.name(f"together-{n}") for n in range(4)]
        for group in groups:
            await alice.join(session, group, request_id(), b"")
        reading = asyncio.create_task(_read_until_gone(bob, groups))
        await asyncio.sleep(0)
        await alice.end_session(session.ref)
        await reading
        for group in groups:
            expect(not ids(await bob.roster(group)), "all groups of an ended session are left")


async def _read_until_gone(engine: Engine, groups: list[str]) -> None:
    """Once one group is seen empty, every group read after it must be."""
    gone = False
    while not gone:
        for group in groups:
            empty = not (await engine.roster(group)).members
            expect(empty or not gone, "all members of a session leave in one step")
            gone = gone or empty


async def check_close_ends_no_session(lab: Lab) -> None:
    alice, bob = await lab.client(), await lab.client()
    member = await lab.join(alice, lab.name("closed"))
    await alice.close()
    expect(is_in(member, await bob.roster(member.group)), "close does not end sessions")
    async with expect_raises(EngineUnavailable, "a closed client does nothing and says so"):
        await alice.roster(member.group)


async def check_a_killed_clients_session_ends(lab: Lab) -> None:
    """With proof of death it may end sooner, without it at its TTL; others are not disturbed."""
    alice, bob = await lab.client(), await lab.client()
    session: Session = await lab.session(alice, lab.ttl_s)
    group = lab.name("killed")
    await alice.join(session, group, request_id(), b"")
    heir = await lab.join(bob, group)
    await lab.kill(alice)
    await lab.pass_time(lab.ttl_s + lab.late_s)
    await lab.until_first(bob, heir)
    expect(not await bob.end_session(session.ref), "a killed client's session ends by its TTL at the latest")


CHECKS = (
    check_guarantees_are_declared,
    check_open_session_is_idempotent,
    check_a_retried_open_renews,
    check_ttl_is_granted_exactly,
    check_a_ttl_out_of_range_is_refused,
    check_a_bad_release_delay_is_refused,
    check_a_renewed_session_lives,
    check_a_session_never_ends_early,
    check_a_silent_session_ends,
    check_release_delay_is_waited_after_silence,
    check_the_holders_ttl_decides,
    check_a_newcomer_ends_nobody_early,
    check_a_session_that_is_over_stays_over,
    check_end_session_from_another_process,
    check_a_garbage_ref_is_refused,
    check_a_ref_is_small_and_secret,
    check_all_groups_of_a_session_end_together,
    check_close_ends_no_session,
    check_a_killed_clients_session_ends,
)
