"""The public face of one election: stand in it, follow it, step back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

from incumbent.engines.inputs import check_name
from incumbent.errors import InvalidInput, LeadershipLost
from incumbent.leadership.attempt import attempt
from incumbent.leadership.campaign import Campaign
from incumbent.leadership.events import Listener
from incumbent.leadership.observe import look, observe
from incumbent.leadership.office import Office
from incumbent.leadership.operate import Operations
from incumbent.leadership.outcome import Done, Handover
from incumbent.leadership.oversight import Oversight
from incumbent.leadership.preference import Preference
from incumbent.leadership.probe import Probe
from incumbent.leadership.roll import Candidate, Sighting
from incumbent.leadership.running import run
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term

T = TypeVar("T")

RELEASE_DELAY_S: Final = 1.0
"""What a dead leader already sent may still arrive. This much time is put between it and its successor, unless every
resource checks tokens (DESIGN §4.5)."""
HAND_OVER_S_MAX: Final = 3600.0


class Election:
    """One election, as one candidate of this process sees it. Made by `Cluster.election`; costs nothing by itself."""

    def __init__(
        self,
        office: Office,
        *,
        name: str,
        candidate: str,
        fenced: bool,
        preference: Preference,
        listener: Listener | None,
        oversight: Oversight,
    ) -> None:
        self.name = check_name("name", name)
        self.candidate = check_name("candidate", candidate)
        self.fenced = fenced
        self.preference = preference
        self._office = office
        self._listener = listener
        self._oversight = oversight
        healthy = oversight.healthy
        self._probe = None if healthy is None else Probe(healthy, oversight.probe_timeout, office.tasks)

    def campaign(self, value: bytes = b"") -> Campaign:
        """``async with election.campaign() as term:`` waits until elected, then runs the block as the leader.

        The block is cancelled before the lease can expire, and then LeadershipLost(reason) is raised from the ``async
        with``. A block that ends by itself ends the leadership cleanly, and its own exception propagates. `value` is
        for observers.

        One candidacy of this cluster object stands per election; another waits for it to end.
        Raises InvalidInput for a value too large, EngineUnavailable when the cluster object is closed meanwhile.
        """
        return Campaign(
            self._office,
            election=self.name,
            candidate=self.candidate,
            value=value,
            preference=self.preference,
            release_delay=0.0 if self.fenced else RELEASE_DELAY_S,
            listener=self._listener,
            oversight=self._oversight,
            probe=self._probe,
        )

    def try_campaign(self, timeout: float, value: bytes = b"") -> AbstractAsyncContextManager[Term | None]:
        """As `campaign`, but waits at most `timeout` seconds: ``async with election.try_campaign(2) as term:`` gives None
        when it was not elected by then, and the block runs all the same. A member that waited in vain leaves at once, in
        the background; it never leads.

        Raises InvalidInput for a timeout that is not above 0.
        """
        return attempt(self.campaign(value), timeout)

    async def run(
        self,
        work: Callable[[Term], Awaitable[T]],
        *,
        value: bytes = b"",
        standby: Callable[[], Awaitable[object]] | None = None,
    ) -> T:
        """Campaign, and call ``work(term)`` as the leader; after each loss, campaign again, after a pause drawn at random
        that grows to 2 s and begins anew after a term that held.

        When `work` returns, so does this, with its result, and the leadership is resigned. An exception of `work`
        propagates. `work` is called once per term, so make it safe to begin again.

        ``standby()`` runs while this candidate does not lead: called anew for each wait, cancelled, and awaited before
        `work` begins. Its exception ends all of it and propagates; that it returns ends nothing.
        """
        return await run(self._office, lambda: self.campaign(value), work, standby)

    def observe(self) -> AsyncGenerator[Sighting, None]:
        """Yields who leads: a Leader, None (nobody), or UNKNOWN (contact lost). First as of now, then at each change.

        Changes that follow faster than they are read are merged into the latest. Tokens never fall.
        """
        return observe(self._office, self.name)

    async def leader(self) -> Sighting:
        """Who leads now. UNKNOWN when the engine does not answer within a TTL."""
        return await look(self._office, self.name)

    @property
    def _campaigns(self) -> tuple[Campaign, ...]:
        """Those of this cluster object in this election that are not over: at most one leads, others wait for it."""
        return tuple(c for c in tuple(self._office.campaigns) if c.election == self.name)

    def resign_here(self) -> None:
        """As `resign`, from the thread that a body runs in and said so (``term.in_this_thread()``): nothing is waited for.
        Raises LeadershipLost when there was one."""
        for campaign in self._campaigns:
            if campaign.in_this_thread and campaign.end(Reason.RESIGNED):
                raise LeadershipLost(Reason.RESIGNED)

    async def resign(self) -> bool:
        """End this process's leadership in this election. The block is cancelled, and the successor is let in when it
        has ended; this call waits for that. True: there was one.

        From inside the block it does not return: the block ends there, as by any other loss.
        """
        resigned = False
        for campaign in self._campaigns:
            if campaign.end(Reason.RESIGNED):
                resigned = True
                await asyncio.sleep(0)  # the body's own task is cancelled here
                await campaign.wait_gone()
        return resigned

    async def handover(
        self, to: str | None = None, *, warm_s: float = 10.0, drain_s: float = 5.0
    ) -> Handover:
        """Hand this process's leadership over in good order: to the candidate called `to`, or to the one of the highest priority
        that waits longest. Says what came of it, and for how long nobody led at most.

        The successor runs its `warm_up`, for at most `warm_s` seconds; those between make room; the block is told by
        `Term.wait_handover` and has `drain_s` seconds to end, if it listens, and is cancelled then. If the successor is gone, unfit or
        not ready in time, this process leads on, and the `Handover` says why (P40).

        From inside the block it does not return when it works: the block ends there, as by any other end of its term.
        Raises InvalidInput.
        """
        for field, seconds in (("warm_s", warm_s), ("drain_s", drain_s)):
            if not 0 <= seconds <= HAND_OVER_S_MAX:
                raise InvalidInput(field, f"is {seconds}", f"0 to {HAND_OVER_S_MAX} seconds")
        for campaign in tuple(self._office.campaigns):
            if campaign.election == self.name and campaign.leads:
                return await campaign.hand_over(to, warm_s=warm_s, drain_s=drain_s)
        return Handover(code=Done.NO_LEADER)

    async def proclaim(self, value: bytes) -> bool:
        """Have observers see `value` from now on as what this process, which leads, says of itself. True: they do. False: it does
        not lead. For one term: the next begins with what `campaign` was given.

        Raises InvalidInput for a value too large, OutcomeUnknown when the engine did not answer for a TTL.
        """
        for campaign in tuple(self._office.campaigns):
            if campaign.election == self.name and campaign.leads:
                return await campaign.proclaim(value)
        return False

    async def candidates(self) -> tuple[Candidate, ...]:
        """All who stand, in order: the first leads. Raises EngineUnavailable and OutcomeUnknown, as `operations` does."""
        return await self.operations.candidates()

    @property
    def operations(self) -> Operations:
        """What operators do: pause, drain, anoint, evict, look into the history, ask why. Needs no candidacy."""
        return Operations(self._office, self.name)

    def __repr__(self) -> str:
        return f"<Election {self.name!r}, candidate {self.candidate!r}>"
