"""The same recipes for code that blocks, through the portal of `incumbent.blocking`.

    with incumbent.blocking.connect("local:///var/lib/app") as cluster:
        with Lock(cluster, "backup").hold() as term:
            for piece in pieces:
                term.check()                            # raises LeadershipLost: stop
                back_up(piece, fencing_token=term.token)

Arguments, results and errors are those of the recipes; what was awaited blocks, and ``async`` is left out of ``async with`` and
``async for``. Two things differ, since a thread cannot be cancelled: a block learns of a loss by ``term.check()``, or at its end, and
its member does not leave before. And what runs until it is cancelled ends when the block of `connect` is left: with EngineUnavailable, or
where it led with LeadershipLost (``closed``). All of it may be used by many threads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar

from incumbent.leadership import connect as asynchronous
from incumbent.leadership.blocking import Cluster, portal_of
from incumbent.leadership.portal import Held, Serving
from incumbent.leadership.term import Term
from incumbent.recipes import lock, membership, ring, schedule, semaphore
from incumbent.recipes.ticks import Missed, Tick, Ticks

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Work: TypeAlias = Callable[[Tick, Term], object]


class Face(Generic[R]):
    """A recipe that lives on the loop of a portal."""

    def __init__(self, cluster: Cluster, make: Callable[[asynchronous.Cluster], R]) -> None:
        self.portal, inner = portal_of(cluster)
        self.recipe = make(inner)


def held(
    method: Callable[Concatenate[R, P], AbstractAsyncContextManager[T]],
) -> Callable[Concatenate[Face[R], P], AbstractContextManager[T]]:
    """A method whose block runs in the caller's thread."""

    @wraps(method)
    def here(face: Face[R], /, *args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return Held(face.portal, lambda: method(face.recipe, *args, **kwargs))

    return here


def called(
    method: Callable[Concatenate[R, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Face[R], P], T]:
    """A method that is waited for."""

    @wraps(method)
    def here(face: Face[R], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return face.portal.call(method(face.recipe, *args, **kwargs))

    return here


def followed(
    method: Callable[Concatenate[R, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Face[R], P], Generator[T, None, None]]:
    """A method whose items are waited for, one by one."""

    @wraps(method)
    def here(face: Face[R], /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return face.portal.each(lambda: method(face.recipe, *args, **kwargs))

    return here


class Lock(Face[lock.Lock]):
    """See `incumbent.recipes.lock.Lock`. Not re-entrant: a thread that holds it and asks again waits for itself."""

    def __init__(
        self, cluster: Cluster, name: str, *, holder: str | None = None, fenced: bool = False
    ) -> None:
        super().__init__(cluster, lambda inner: lock.Lock(inner, name, holder=holder, fenced=fenced))
        self.name = name

    hold = held(lock.Lock.hold)
    try_hold = held(lock.Lock.try_hold)
    holder = called(lock.Lock.holder)


class Semaphore(Face[semaphore.Semaphore]):
    """See `incumbent.recipes.semaphore.Semaphore`."""

    def __init__(
        self, cluster: Cluster, name: str, slots: int, *, holder: str | None = None, fenced: bool = False
    ) -> None:
        super().__init__(
            cluster, lambda inner: semaphore.Semaphore(inner, name, slots, holder=holder, fenced=fenced)
        )
        self.name = name

    hold = held(semaphore.Semaphore.hold)
    try_hold = held(semaphore.Semaphore.try_hold)
    holders = called(semaphore.Semaphore.holders)


class Membership(Face[membership.Membership]):
    """See `incumbent.recipes.membership.Membership`. There is no term to be asked: a lost session ends no block of `join`."""

    def __init__(self, cluster: Cluster, name: str, *, member: str | None = None) -> None:
        super().__init__(cluster, lambda inner: membership.Membership(inner, name, member=member))
        self.name, self.member = name, self.recipe.member

    join = held(membership.Membership.join)
    update = called(membership.Membership.update)
    members = called(membership.Membership.members)
    watch = followed(membership.Membership.watch)


class Schedule(Face[schedule.Schedule]):
    """See `incumbent.recipes.schedule.Schedule`. `at` and `wall` are called on the loop's thread, so they must not block."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        every: float | None = None,
        at: Ticks | None = None,
        missed: Missed = Missed.RUN_ONCE,
        on_time: float = 1.0,
        missed_within: float = 3600.0,
        missed_max: int = 100,
        at_least_once: bool = False,
        wall: Callable[[], float] = schedule.wall_s,
        candidate: str | None = None,
        fenced: bool = False,
    ) -> None:
        super().__init__(
            cluster,
            lambda inner: schedule.Schedule(
                inner,
                name,
                every=every,
                at=at,
                missed=missed,
                on_time=on_time,
                missed_within=missed_within,
                missed_max=missed_max,
                at_least_once=at_least_once,
                wall=wall,
                candidate=candidate,
                fenced=fenced,
            ),
        )
        self.name = name

    def run(self, work: Work) -> None:
        """Stand for election, and as the leader call ``work(tick, term)`` in this thread for each tick, one after another.

        `work` has to ask ``term.check()``. What it raises ends the run, but for LeadershipLost once the term is over; so does
        another thread that leaves the block of `connect`.
        """
        serving = Serving()

        async def work_there(tick: Tick, term: Term) -> None:
            await serving.do(lambda: work(tick, term))

        serving.until_ended(self.portal.begin(self.recipe.run(work_there)))

    last = called(schedule.Schedule.last)


class Ring(Face[ring.Ring]):
    """See `incumbent.recipes.ring.Ring`. `serve` wants a thread of its own."""

    def __init__(self, cluster: Cluster, name: str, *, node: str) -> None:
        super().__init__(cluster, lambda inner: ring.Ring(inner, name, node=node))

    serve = called(ring.Ring.serve)
    views = followed(ring.Ring.views)
