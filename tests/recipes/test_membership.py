"""Members are who was there at one revision; what is told of them is what changed between two."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import incumbent
from incumbent.errors import EngineUnavailable, InvalidInput, MemberGone, NotAllowed, OutcomeUnknown
from incumbent.leadership.connect import Cluster
from incumbent.leadership.roll import UNKNOWN, Unknown
from incumbent.recipes.membership import Membership, News, Peer, news_between
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut, mend, until

GROUP = "membership/m"


class Watcher:
    """Remembers all that it was told, and keeps the members by it."""

    def __init__(self, cluster: Cluster) -> None:
        self.told: list[News | Unknown] = []
        self.have: dict[str, Peer] = {}
        self.task = asyncio.create_task(self._watch(Membership(cluster, "m")))

    async def _watch(self, membership: Membership) -> None:
        async with aclosing(membership.watch()) as told:
            async for news in told:
                self.told.append(news)
                if isinstance(news, News):
                    for peer in news.left:
                        del self.have[peer.id]
                    self.have |= {peer.id: peer for peer in (*news.joined, *news.changed)}
                    assert tuple(self.have.values()) == news.members

    @property
    def names(self) -> list[str]:
        return [peer.name for peer in self.have.values()]

    def said(self, name: str) -> list[bytes]:
        return [peer.metadata for peer in self.have.values() if peer.name == name]

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def names(members: tuple[Peer, ...] | Unknown) -> list[str]:
    assert members is not UNKNOWN
    return [peer.name for peer in members]


def test_who_joins_says_something_else_and_leaves_is_told_in_this_order() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two, lab.connect() as third:
            watcher = Watcher(third)
            await until(lambda: watcher.told)
            assert watcher.told == [News(members=())], "nobody is known, not unknown"
            a, b = Membership(one, "m", member="a"), Membership(two, "m", member="b")
            async with a.join("10.0.0.1"):
                await until(lambda: watcher.names == ["a"])
                async with b.join():
                    await until(lambda: watcher.names == ["a", "b"])
                    assert names(await a.members()) == ["a", "b"]
                    before = dict(watcher.have)
                    await a.update("10.0.0.9")
                    await until(lambda: watcher.said("a") == [b"10.0.0.9"])
                    assert list(watcher.have) == list(before), "the same stay, at the same place"
                await until(lambda: watcher.names == ["a"])
            await until(lambda: watcher.names == [])
            kinds = [
                tuple(len(peers) for peers in (news.joined, news.changed, news.left))
                for news in watcher.told[1:]
                if isinstance(news, News)
            ]
            assert kinds == [(1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1)]
            await watcher.end()

    simulate(story, seed=1)


def test_lost_contact_is_unknown_and_what_changed_meanwhile_is_told_after_it() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with AsyncExitStack() as stack:
            far = await stack.enter_async_context(lab.connect(engine))
            one = await stack.enter_async_context(lab.connect())
            two = await stack.enter_async_context(lab.connect())
            watcher = Watcher(far)
            async with Membership(one, "m", member="a").join():
                await until(lambda: watcher.names == ["a"])
                cut(engine)
                lab.store.lose_watches()
                await until(lambda: watcher.told[-1] is UNKNOWN)
                assert await Membership(far, "m").members() is UNKNOWN
            async with Membership(two, "m", member="b").join():
                await asyncio.sleep(3 * TTL_S)
                assert watcher.told.count(UNKNOWN) == 1
                mend(engine)
                await until(lambda: watcher.told[-1] is not UNKNOWN)
                last = watcher.told[-1]
                assert isinstance(last, News)
                assert names(last.joined) == ["b"]
                assert names(last.left) == ["a"]
            await watcher.end()

    simulate(story, seed=2)


def test_contact_that_comes_back_is_told_even_when_nothing_changed() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as far, lab.connect() as one:
            watcher = Watcher(far)
            async with Membership(one, "m", member="a").join():
                await until(lambda: watcher.names == ["a"])
                cut(engine)
                lab.store.lose_watches()
                await until(lambda: watcher.told[-1] is UNKNOWN)
                mend(engine)
                await until(lambda: watcher.told[-1] is not UNKNOWN)
                last = watcher.told[-1]
                assert isinstance(last, News)
                assert names(last.members) == ["a"]
                assert last == News(members=last.members)
            await watcher.end()

    simulate(story, seed=3)


def test_who_lags_is_told_all_of_it_in_one() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with (
            lab.connect() as one,
            lab.connect() as two,
            aclosing(Membership(two, "m").watch()) as told,
        ):
            assert await anext(told) == News(members=())
            membership = Membership(one, "m", member="a")
            async with membership.join("1"):
                pass
            async with membership.join("2"):
                await membership.update("3")
                await asyncio.sleep(1)
                news = await anext(told)
                assert isinstance(news, News)
                assert [(p.name, p.metadata) for p in news.joined] == [("a", b"3")]
                assert news == News(members=news.members, joined=news.joined)

    simulate(story, seed=4)


def test_a_lost_session_begins_another_stay_with_what_was_said_last() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as one, lab.connect() as two:
            watcher = Watcher(two)
            membership = Membership(one, "m", member="a")
            async with membership.join("1"):
                await until(lambda: watcher.said("a") == [b"1"])
                (before,) = watcher.have
                cut(engine)
                updating = asyncio.create_task(membership.update("2"))
                await until(lambda: watcher.names == [])
                mend(engine)
                await updating
                await until(lambda: watcher.said("a") == [b"2"])
                assert list(watcher.have) != [before], "another stay has another id"
            await until(lambda: watcher.names == [])
            assert lab.members(GROUP) == []
            await watcher.end()

    for seed in range(5):
        simulate(story, seed=seed)


def test_who_was_removed_is_back_within_a_ttl_under_another_id() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            watcher = Watcher(two)
            async with Membership(one, "m", member="a").join("1"):
                await until(lambda: watcher.names == ["a"])
                (before,) = watcher.have
                (entry,) = (await two.engine.roster(GROUP)).members
                assert await two.engine.remove(GROUP, entry.id, entry.order)
                await until(lambda: watcher.names == [])
                await until(lambda: watcher.said("a") == [b"1"], within_s=TTL_S + 1)
                assert list(watcher.have) != [before]
            await watcher.end()

    simulate(story, seed=6)


def test_a_join_whose_answer_was_lost_is_undone_with_the_block() -> None:
    """P2."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as one:
            engine.fail_next("join", OutcomeUnknown("lost"), after_effect=True, times=3)
            block = Membership(one, "m").join()
            entering = asyncio.create_task(block.__aenter__())
            await until(lambda: lab.members(GROUP))
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
            await until(lambda: not lab.members(GROUP))
            await asyncio.sleep(2 * TTL_S)
            assert not lab.members(GROUP), "and nothing brings it back"

    simulate(story, seed=7)


def test_an_update_that_the_end_of_the_block_overtakes_says_so() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as one:
            membership = Membership(one, "m")
            async with membership.join("1"):
                cut(engine)
                updating = asyncio.create_task(membership.update("2"))
                await asyncio.sleep(3 * TTL_S)  # the session is over, so nothing is to be told any more
            mend(engine)
            with pytest.raises(MemberGone):
                await updating
            assert lab.members(GROUP) == []

    simulate(story, seed=11)


def test_one_stay_of_a_cluster_object_at_a_time() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        order = list[str]()

        async def stay(cluster: Cluster, name: str) -> None:
            async with Membership(cluster, "m", member=name).join():
                order.append(name)
                assert lab.members(GROUP) == [name]
                await asyncio.sleep(1)

        async with lab.connect() as one:
            await asyncio.gather(stay(one, "a"), stay(one, "b"))
            assert order == ["a", "b"]

    simulate(story, seed=8)


def test_what_cannot_be_is_said_to_who_asks() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as one:
            membership = Membership(one, "m")
            with pytest.raises(InvalidInput, match="^value: "):
                async with membership.join(b"x" * 20_000):
                    pass
            with pytest.raises(InvalidInput, match="^metadata: "):
                await membership.update("x")
            engine.fail_next("join", NotAllowed("no rule admits you"))
            with pytest.raises(NotAllowed):
                async with membership.join():
                    pass
            async with membership.join():
                pass
        with pytest.raises(EngineUnavailable):
            async with membership.join():
                pass

    simulate(story, seed=9)


def test_who_waits_to_join_when_the_cluster_object_is_closed_is_told() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        cut(engine)

        async def stay(membership: Membership) -> None:
            async with membership.join():
                pass

        async with lab.connect(engine) as one:
            waiting = asyncio.create_task(stay(Membership(one, "m")))
            await asyncio.sleep(1)
        with pytest.raises(EngineUnavailable):
            await waiting

    simulate(story, seed=10)


rolls = st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=1), max_size=6).map(
    lambda said: tuple(Peer(name, name, metadata) for name, metadata in sorted(said.items()))
)


@given(rolls, rolls)
def test_news_turn_what_was_into_what_is(before: tuple[Peer, ...], now: tuple[Peer, ...]) -> None:
    news = news_between(before, now)
    have = {peer.id: peer for peer in before}
    for peer in news.left:
        assert peer not in now
        del have[peer.id]
    assert not {peer.id for peer in news.joined} & {peer.id for peer in before}
    assert all(peer not in before for peer in news.changed)
    have |= {peer.id: peer for peer in (*news.joined, *news.changed)}
    assert sorted(have.values(), key=lambda peer: peer.id) == list(now)


@pytest.mark.slow
async def test_members_on_a_real_engine(tmp_path: Path) -> None:
    url = f"local://{tmp_path / 'x'}"
    async with incumbent.connect(url, ttl=2.0) as one, incumbent.connect(url, ttl=2.0) as two:
        a, b = Membership(one, "m", member="a"), Membership(two, "m", member="b")
        async with aclosing(b.watch()) as told:
            assert await anext(told) == News(members=())
            async with a.join("1"):
                news = await anext(told)
                assert isinstance(news, News)
                assert names(news.joined) == ["a"]
                await a.update("2")
                news = await anext(told)
                assert isinstance(news, News)
                assert [peer.metadata for peer in news.changed] == [b"2"]
                await asyncio.sleep(5)  # longer than a TTL: it is kept, and asked about
                assert names(await b.members()) == ["a"]
            news = await anext(told)
            assert isinstance(news, News)
            assert names(news.left) == ["a"]
