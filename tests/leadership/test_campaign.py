"""Standing, leading and leaving, on a strange engine and in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from incumbent.errors import (
    EngineUnavailable,
    InvalidInput,
    LeadershipLost,
    MemberGone,
    OutcomeUnknown,
    Overloaded,
)
from incumbent.leadership.connect import Cluster
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.tenure import Reason, State
from incumbent.leadership.term import Term
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut, lead_until_lost, mend, until

STEPS = 40
"""More loop iterations than any story here takes to get where it goes; the stories check that."""


def test_a_candidate_alone_leads_and_leaves() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            election = cluster.election("e", candidate="a", listener=lab.events.append)
            async with election.campaign() as term:
                assert (term.election, term.candidate, term.state) == ("e", "a", State.HELD)
                assert term.is_valid
                assert 0 < term.remaining() <= TTL_S
                term.check()
                await asyncio.sleep(100 * TTL_S)
                assert term.is_valid
            assert (term.is_valid, term.remaining()) == (False, 0)
            assert (term.state, term.reason) == (State.OUT, Reason.BODY_ENDED)
            with pytest.raises(LeadershipLost) as lost:
                term.check()
            assert lost.value.reason == Reason.BODY_ENDED
            assert lab.members() == []
        assert lab.store.sessions == {}
        kinds = lab.kinds()
        assert (kinds[0], kinds[-1]) == (EventKind.ELECTED, EventKind.RELEASED)
        assert set(kinds[1:-1]) == {EventKind.EXTENDED}

    simulate(story)


def test_the_next_leads_only_after_the_body_has_ended() -> None:
    """P24, P25, P39: the member leaves only after the body has ended, however long its clean-up takes, and the session is
    renewed all the while."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        order: list[str] = []

        async def first(cluster: Cluster) -> None:
            async with cluster.election("e", candidate="a").campaign():
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(3 * TTL_S)
                    order.append("the first body ended")

        async def second(cluster: Cluster) -> None:
            async with cluster.election("e", candidate="b").campaign():
                order.append("the second was elected")

        async with lab.connect() as one, lab.connect() as two, asyncio.TaskGroup() as group:
            leading = group.create_task(first(one))
            await until(lambda: lab.members() == ["a"])
            group.create_task(second(two))
            await until(lambda: lab.members() == ["a", "b"])
            leading.cancel()
        assert order == ["the first body ended", "the second was elected"]

    simulate(story)


@pytest.mark.parametrize("announces_expiry", [True, False])
def test_a_silent_leader_is_followed(*, announces_expiry: bool) -> None:
    """Also on engines where nobody announces an expiry: the claim says when to ask again."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim, announces_expiry=announces_expiry)
        engine = lab.engine()
        terms: list[Term] = []
        async with lab.connect(engine) as one, lab.connect() as two:
            first = asyncio.create_task(lead_until_lost(one.election("e", fenced=True).campaign(), terms))
            await until(lambda: terms)
            second = asyncio.create_task(lead_until_lost(two.election("e", fenced=True).campaign(), terms))
            await until(lambda: len(lab.members()) == 2)
            cut(engine)
            await until(lambda: len(terms) == 2, within_s=2 * TTL_S)
            assert not terms[0].is_valid
            assert terms[1].token > terms[0].token
            with pytest.raises(LeadershipLost, match="renew_timeout"):
                await first
            second.cancel()
            mend(engine)

    simulate(story)


def test_the_distance_between_leaders_is_kept_by_the_engine() -> None:
    """DESIGN §4.5: after silence an unfenced election's successor comes a second later than a fenced one's."""

    async def gap_s(sim: Simulation, *, fenced: bool) -> float:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []
        async with lab.connect(engine) as one, lab.connect() as two:
            first = asyncio.create_task(lead_until_lost(one.election("e", fenced=fenced).campaign(), terms))
            await until(lambda: terms)
            cut(engine)
            second = asyncio.create_task(lead_until_lost(two.election("e", fenced=fenced).campaign(), terms))
            with pytest.raises(LeadershipLost):
                await first
            lost_s = lab.now_s
            await until(lambda: len(terms) == 2)
            second.cancel()
            mend(engine)
            return lab.now_s - lost_s

    fenced_s = simulate(lambda sim: gap_s(sim, fenced=True))
    assert 0 < fenced_s < 0.1
    assert 1.0 < simulate(lambda sim: gap_s(sim, fenced=False)) < 1.1


# --- what is lost on the way, and what is asked twice -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["open_session", "stand", "claim"])
@pytest.mark.parametrize("error", [EngineUnavailable("no route"), Overloaded("full"), OutcomeUnknown("lost")])
@pytest.mark.parametrize("after_effect", [False, True])
def test_a_lost_request_or_reply_is_asked_for_again(
    method: str, error: Exception, *, after_effect: bool
) -> None:
    """P3: and what the lost one did is found and reused: one session, one member."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster, lab.connect() as other:
            async with other.election("e", candidate="b").campaign() as former:
                engine.fail_next(method, error, after_effect=after_effect, times=3)
                campaign = cluster.election("e", candidate="a").campaign()
                waiting = asyncio.create_task(campaign.__aenter__())
                await asyncio.sleep(TTL_S / 4)
            term = await waiting
            assert term.is_valid
            assert term.token > former.token
            assert lab.members() == ["a"]
            assert len(lab.store.sessions) == 2
            assert engine.calls.count(method) >= 4
            await campaign.__aexit__(None, None, None)

    simulate(story)


def test_a_call_that_never_returns_is_given_up_and_made_again() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        hangs = iter([True])

        async def hang_once(method: str) -> None:
            if method == "stand" and next(hangs, False):
                await asyncio.Event().wait()

        engine.on_request = hang_once
        async with lab.connect(engine) as cluster, cluster.election("e").campaign() as term:
            assert term.is_valid

    simulate(story)


def test_a_queued_candidate_whose_session_ended_never_leads_on_it() -> None:
    """P1: the wait on the dead session ends within one renewal interval of its end, and the candidate stands again,
    with a new session, behind the others."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        terms: list[Term] = []
        async with lab.connect() as one, lab.connect() as two:
            first = asyncio.create_task(lead_until_lost(one.election("e", candidate="a").campaign(), terms))
            await until(lambda: terms)
            queued = asyncio.create_task(lead_until_lost(two.election("e", candidate="b").campaign(), terms))
            await until(lambda: lab.members() == ["a", "b"])
            stale = lab.store.groups["e"].members[1]
            lab.store.end_session(stale.session)
            await asyncio.sleep(0)
            assert lab.members() == ["a"]
            await until(lambda: lab.members() == ["a", "b"], within_s=TTL_S / 3 + 0.2)
            assert lab.store.groups["e"].members[1].session != stale.session
            first.cancel()
            await until(lambda: len(terms) == 2)
            assert terms[1].token > stale.revision
            queued.cancel()

    simulate(story)


def test_a_claim_that_waited_for_a_fresh_lease_is_made_again() -> None:
    """P48's rule for every engine: what was true before the wait is asked again after it. Here the claim's reply takes
    so long that the lease is not fresh any more, and the member is removed meanwhile."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        slow = iter([True])

        async def slow_once(method: str) -> None:
            if method == "stand" and next(slow, False):
                (member,) = lab.store.groups["e"].members
                await asyncio.sleep(TTL_S / 2)
                lab.store.remove("e", member.id, member.revision)
                removed.append(member.revision)
                engine.fail_next("renew", EngineUnavailable("cut off"), times=1)

        removed: list[int] = []
        engine.on_reply = slow_once
        async with lab.connect(engine) as cluster, cluster.election("e").campaign() as term:
            assert removed
            assert term.token > removed[0]

    simulate(story)


def test_a_candidate_that_is_too_slow_to_begin_stands_back() -> None:
    """Its renewals always take longer than TTL/3, so it may never lead; first as it is, it lets the others pass."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        slow = lab.engine()
        terms: list[Term] = []

        async def late(method: str) -> None:
            if method == "renew":
                await asyncio.sleep(0.4 * TTL_S)

        slow.on_reply = late
        async with lab.connect(slow) as one, lab.connect() as two:
            # Until the stand is answered, the opening that counts as a renewal is not fresh any more.
            slow.fail_next("stand", OutcomeUnknown("slow"), after_effect=True, times=12)
            hindered = asyncio.create_task(lead_until_lost(one.election("e", candidate="a").campaign(), []))
            await until(lambda: lab.members() == ["a"])
            other = asyncio.create_task(lead_until_lost(two.election("e", candidate="b").campaign(), terms))
            await until(lambda: lab.members() == ["a", "b"])
            await until(lambda: terms, within_s=4 * TTL_S)
            assert lab.members()[0] == "b"
            assert terms[0].is_valid
            for task in (hindered, other):
                task.cancel()
            await asyncio.wait({hindered, other})
            slow.on_reply = None

    simulate(story)


# --- P4: cancelled anywhere -------------------------------------------------------------------------------------------


async def check_nothing_is_left(lab: Lab, cluster: Cluster, before: int) -> None:
    """The session lives on, the member is gone, and the same process can stand again."""
    await until(lambda: len(lab.members()) == before, within_s=1.0)
    async with asyncio.timeout(1.0):
        if before == 0:
            async with cluster.election("e").campaign():
                assert len(lab.members()) == 1


@pytest.mark.parametrize("step", range(STEPS))
def test_cancelled_at_any_step_alone(step: int) -> None:
    """P2, P4: nothing of the attempt remains, wherever it was cancelled, and the cancellation comes out."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            terms: list[Term] = []
            task = asyncio.create_task(lead_until_lost(cluster.election("e").campaign(), terms))
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not any(term.is_valid for term in terms)
            assert terms or step < STEPS - 1, "the last step is beyond election: all of them were tried"
            await check_nothing_is_left(lab, cluster, 0)
        assert lab.store.sessions == {}

    simulate(story)


@pytest.mark.parametrize("step", range(STEPS))
def test_cancelled_at_any_step_while_queued_and_elected(step: int) -> None:
    """P2, P4, with somebody in front who leaves at the same time."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            terms: list[Term] = []
            front = asyncio.create_task(lead_until_lost(one.election("e").campaign(), []))
            await until(lambda: len(lab.members()) == 1)
            task = asyncio.create_task(lead_until_lost(two.election("e").campaign(), terms))
            await until(lambda: len(lab.members()) == 2)
            front.cancel()
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert terms or step < STEPS - 1
            await check_nothing_is_left(lab, two, 0)

    simulate(story)


@pytest.mark.parametrize("step", range(STEPS))
def test_cancelled_while_leaving(step: int) -> None:
    """P2, P4: a second cancellation, while the first one's clean-up runs, does not stop the clean-up."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            terms: list[Term] = []
            task = asyncio.create_task(lead_until_lost(cluster.election("e").campaign(), terms))
            await until(lambda: terms)
            task.cancel()
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await check_nothing_is_left(lab, cluster, 0)

    simulate(story)


def test_cancelled_while_the_engine_is_away() -> None:
    """P2: the caller is let go at once; leaving is repeated until the engine is back."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster:
            engine.fail_next("stand", OutcomeUnknown("reply lost"), after_effect=True, times=20)
            engine.fail_next("leave", EngineUnavailable("away"), times=20)
            task = asyncio.create_task(lead_until_lost(cluster.election("e").campaign(), []))
            await until(lab.members)
            cancelled_s = lab.now_s
            task.cancel()
            await asyncio.wait({task})
            assert lab.now_s - cancelled_s < 0.1
            await until(lambda: not lab.members())
            assert len(lab.store.sessions) == 1

    simulate(story)


def test_a_time_limit_on_the_wait() -> None:
    """asyncio.timeout works as for anything else, and leaves nothing behind."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two, one.election("e", candidate="a").campaign():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await lead_until_lost(two.election("e").campaign(), [])
            await until(lambda: lab.members() == ["a"])

    simulate(story)


# --- one process, several candidacies ---------------------------------------------------------------------------------


def test_the_same_candidate_twice_leads_once_at_a_time() -> None:
    """P6, P7, P25: the second waits for the first one's end, and its token is higher."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        running: list[int] = []
        tokens: list[int] = []
        async with lab.connect() as cluster:
            election = cluster.election("e", candidate="a", listener=lab.events.append)

            async def lead() -> None:
                async with election.campaign() as term:
                    running.append(term.token)
                    assert len(running) == 1
                    tokens.append(term.token)
                    await asyncio.sleep(1)
                    running.remove(term.token)

            await asyncio.gather(*(lead() for _ in range(5)))
        assert len(tokens) == 5
        assert tokens == sorted(set(tokens))
        started = [e.token for e in lab.events if e.kind is EventKind.ELECTED]
        stopped = [e.token for e in lab.events if e.kind is EventKind.RELEASED]
        assert started == stopped == tokens

    simulate(story)


def test_elections_do_not_touch_each_other() -> None:
    """P5, and one heartbeat for all of them: names that begin alike, hold anything, and share a session."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        names = ["a", "a/", "a/b", "ab", "é", "x" * 1024]
        async with lab.connect(engine) as cluster:
            terms: list[Term] = []
            tasks = [
                asyncio.create_task(lead_until_lost(cluster.election(name, fenced=True).campaign(), terms))
                for name in names
            ]
            await until(lambda: len(terms) == len(names))
            assert len(lab.store.sessions) == 1
            engine.calls.clear()
            await asyncio.sleep(10 * TTL_S)
            assert engine.calls.count("renew") <= 10 * 4
            assert await cluster.election("a").resign()
            assert [t.is_valid for t in terms] == [t.election != "a" for t in terms]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    simulate(story)


def test_fenced_and_unfenced_elections_have_a_session_each() -> None:
    """DESIGN §4.5: the delay belongs to the session, so there is one per delay, opened when first needed."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            assert lab.store.sessions == {}
            async with cluster.election("a", fenced=True).campaign():
                assert [s.release_delay for s in lab.store.sessions.values()] == [0.0]
                async with cluster.election("b").campaign(), cluster.election("c").campaign():
                    assert sorted(s.release_delay for s in lab.store.sessions.values()) == [0.0, 1.0]

    simulate(story)


def test_default_candidates_are_unique() -> None:
    """P6: per process start, so per cluster object."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            names = [c.election("e").candidate for c in (one, one, two)]
            assert names[0] == names[1] != names[2]

    simulate(story)


def test_a_listener_that_fails_ends_nothing_and_is_heard_of() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        shown: list[object] = []
        sim.loop.set_exception_handler(lambda _, context: shown.append(context["exception"]))

        def broken(event: TermEvent) -> None:
            raise ValueError(event.kind)

        async with lab.connect() as cluster, cluster.election("e", listener=broken).campaign() as term:
            assert term.is_valid
        assert [str(e) for e in shown] == ["elected", "released"]

    simulate(story)


# --- the door ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\0b", "\ud800"])
@pytest.mark.parametrize("field", ["name", "candidate"])
def test_bad_names_are_refused_before_anything_is_done(name: str, field: str) -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster:
            with pytest.raises(InvalidInput) as refused:
                cluster.election(
                    *([name] if field == "name" else ["e"]), candidate=None if field == "name" else name
                )
            assert refused.value.field == field
            assert engine.calls == []

    simulate(story)


def test_a_value_too_large_is_refused_before_anything_is_done() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster:
            with pytest.raises(InvalidInput) as refused:
                cluster.election("e", candidate="a").campaign(b"x" * (16 * 1024 - 1))
            assert refused.value.field == "value"
            assert engine.calls == []
            async with cluster.election("e", candidate="a").campaign(b"x" * (16 * 1024 - 2)):
                pass

    simulate(story)


def test_a_member_that_was_removed_while_queued_stands_again() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two, one.election("e", candidate="a").campaign():
            task = asyncio.create_task(lead_until_lost(two.election("e", candidate="b").campaign(), []))
            await until(lambda: lab.members() == ["a", "b"])
            member = lab.store.groups["e"].members[1]
            assert lab.store.remove("e", member.id, member.revision)
            await until(lambda: lab.members() == ["a", "b"])
            assert lab.store.groups["e"].members[1].revision > member.revision
            task.cancel()

    simulate(story)


@pytest.mark.parametrize("method", ["stand", "claim"])
def test_an_error_that_is_final_comes_out_and_leaves_nothing(method: str) -> None:
    """What is neither transient nor a known end is the caller's to see."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster, lab.connect() as other:
            async with other.election("e", candidate="b").campaign():
                engine.fail_next(method, InvalidInput("group", "is not liked", "use another"))
                with pytest.raises(InvalidInput):
                    await lead_until_lost(cluster.election("e", candidate="a").campaign(), [])
                await until(lambda: lab.members() == ["b"])
            engine.fail_next("stand", MemberGone("once"))
            async with cluster.election("e").campaign() as term:
                assert term.is_valid

    simulate(story)


def test_a_member_that_an_unknown_error_hides_is_found_and_left() -> None:
    """P2: what nobody expected is no proof that nothing was done."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster:
            engine.fail_next("stand", ZeroDivisionError("a bug"), after_effect=True)
            with pytest.raises(ZeroDivisionError):
                await lead_until_lost(cluster.election("e").campaign(), [])
            await until(lambda: not lab.members())
            assert len(lab.store.sessions) == 1

    simulate(story)
