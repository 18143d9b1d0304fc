"""A lock: an election in which nobody asks who leads, only that it is not somebody else."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from incumbent.leadership.attempt import attempt
from incumbent.leadership.campaign import Campaign
from incumbent.leadership.connect import Cluster
from incumbent.leadership.roll import Sighting
from incumbent.leadership.term import Term


class Lock:
    """Mutual exclusion between processes. It *is* the election `lock/NAME`: same queue, same lease, same token.

    It differs in intent. A leader leads for as long as it can, and others follow it; a lock is held for one piece of work
    and let go. So there is no `run`, nobody stands again after a loss, and nobody is preferred: who asks first holds first.

    What is true of every lock with a lease is true here: `Term.is_valid` is advice, and what keeps a stopped holder's late
    write out is the token, checked by the resource. It is not re-entrant: a task that holds it and asks again waits for
    itself. Costs nothing until it is asked for.

    - `holder`: the name that others see; by default unique per process start.
    - `fenced`: True when every resource checks tokens; then a dead holder's successor does not wait the extra second.
    """

    def __init__(
        self, cluster: Cluster, name: str, *, holder: str | None = None, fenced: bool = False
    ) -> None:
        self._election = cluster.election(f"lock/{name}", candidate=holder, fenced=fenced)
        self.name = name

    def hold(self) -> Campaign:
        """``async with lock.hold() as term:`` waits for its turn, then runs the block as the only holder.

        The block is cancelled before the lease can expire, and LeadershipLost is raised then. Raises as
        `Election.campaign`.
        """
        return self._election.campaign()

    def try_hold(self, timeout: float) -> AbstractAsyncContextManager[Term | None]:
        """As `hold`, but waits at most `timeout` seconds, and gives None when the lock was not had by then. The block runs
        all the same, so ask. Raises InvalidInput for a timeout that is not above 0."""
        return attempt(self.hold(), timeout)

    async def holder(self) -> Sighting:
        """Who holds it now: a Leader, None (nobody), or UNKNOWN. For people: by the time you look, it may be another."""
        return await self._election.leader()
