"""What watches over one term while it holds: the engine's word and what operators ask, the user's probe, the body's progress.

Each can end its own term, and none touches the session: a sick body costs one election (DESIGN §4.8).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from incumbent.engines.api import Claimed
from incumbent.leadership.candidacy import Candidacy
from incumbent.leadership.duties import Duties
from incumbent.leadership.office import Office
from incumbent.leadership.oversight import Oversight
from incumbent.leadership.probe import Probe
from incumbent.leadership.tenure import NS_PER_S, Reason
from incumbent.leadership.term import Seat
from incumbent.leadership.world import log, log_aside


class Overseer:
    """Of one term. `end` ends it; it may be called from any thread. You owe a `stop`."""

    def __init__(
        self,
        office: Office,
        candidacy: Candidacy,
        claimed: Claimed,
        duties: Duties,
        *,
        seat: Seat,
        oversight: Oversight,
        probe: Probe | None,
        end: Callable[[Reason], object],
    ) -> None:
        self._election = candidacy.election
        self._deadlines = office.world.deadlines
        self._seat = seat
        self._oversight = oversight
        self._end = end
        spawn, name = office.tasks.spawn, f"incumbent-oversee-{candidacy.election}"
        self._tasks = [spawn(self._ask_engine(candidacy, claimed, duties), name)]
        if probe is not None:
            self._tasks.append(spawn(self._ask_user(probe), f"{name}-health"))
        if oversight.progress_timeout is not None:
            self._expect_progress()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._deadlines.clear(self)

    async def _ask_engine(self, candidacy: Candidacy, claimed: Claimed, duties: Duties) -> None:
        reason = await candidacy.until_ousted(claimed, lambda: not self._seat.over, duties.look)
        if reason is not None:
            self._end(reason)

    async def _ask_user(self, probe: Probe) -> None:
        while not self._seat.over:
            complaint = await probe.complaint()
            if complaint is not None:
                log.error("%s: the probe %s", self._election, complaint)
                self._end(Reason.UNHEALTHY)
                return
            await asyncio.sleep(self._oversight.probe_interval)

    # --- progress: on the alarm's thread, for a body that blocks the loop makes none either ------------------------

    def _expect_progress(self) -> None:
        self._deadlines.set(self, self._progress_due_ns, self._on_progress_due)

    @property
    def _progress_due_ns(self) -> int:
        assert self._oversight.progress_timeout is not None
        return self._seat.beat_ns + round(self._oversight.progress_timeout * NS_PER_S)

    def _on_progress_due(self) -> None:
        if self._seat.over:
            return
        if self._seat.now_ns() < self._progress_due_ns:
            self._expect_progress()
            return
        self._end(Reason.STUCK)
        timeout = self._oversight.progress_timeout
        log_aside(logging.ERROR, "%s: no progress for %s s", self._election, timeout)
