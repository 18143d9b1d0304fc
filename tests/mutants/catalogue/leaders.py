"""Faults of what a leader believes of itself, and of what it leaves behind."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

TENURE: Final = "leadership/tenure.py"
TERM: Final = "leadership/term.py"
KEEPER: Final = "leadership/keeper.py"
CAMPAIGN: Final = "leadership/campaign.py"
CANDIDACY: Final = "leadership/candidacy.py"
CONNECT: Final = "leadership/connect.py"
OBSERVE: Final = "leadership/observe.py"
OVERSEER: Final = "leadership/overseer.py"
WATCHDOG: Final = "guardian/watchdog.py"
OVERLAP: Final = "tests/leadership/test_overlap.py"
LOSING: Final = "tests/leadership/test_losing.py"
ESCALATION: Final = "tests/leadership/test_escalation.py"
OF_WATCHDOG: Final = "tests/guardian/test_watchdog.py"
OVERSEEING: Final = "tests/leadership/test_overseeing.py"
TELLING: Final = "tests/leadership/test_telling.py"
OF_TENURE: Final = "tests/leadership/test_tenure.py"
OF_CAMPAIGN: Final = "tests/leadership/test_campaign.py"
OF_MANY: Final = "tests/leadership/test_many.py"
OF_OBSERVE: Final = "tests/leadership/test_observe.py"

LEADERS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "the holder keeps no margin for the rates of clocks",
        TENURE,
        "RATE_SLOW // RATE_FAST",
        "RATE_FAST // RATE_FAST",
        (suite(OVERLAP, OF_TENURE),),
        promises=("P14",),
    ),
    Mutant(
        "the lease is counted from the reply",
        KEEPER,
        "await self._engine.renew(self.session)",
        "await self._engine.renew(self.session); self.lease._started_ns = clock.now_ns()",
        (suite(OVERLAP, LOSING),),
        promises=("P10",),
    ),
    Mutant(
        "a session counts from when its opening was answered",
        KEEPER,
        "        keeper = Keeper(self._engine, self._world, self._tasks, session, sent_ns)",
        "        keeper = Keeper(self._engine, self._world, self._tasks, session, self._world.clock.now_ns())",
        (suite(LOSING),),
        promises=("P10",),
    ),
    Mutant(
        "a renewal after the deadline brings leadership back",
        TENURE,
        "        if not self.is_valid(now_ns):\n            return False\n        self._take(Step.RENEWED)",
        "        if not self.leads:\n            return False\n        self._take(Step.RENEWED)",
        (suite(OF_TENURE, LOSING),),
        promises=("P12",),
    ),
    Mutant(
        "what remains is read from the lease and not from the term",
        TENURE,
        "        return self.deadline_ns - now_ns if self.is_valid(now_ns) else 0",
        "        return self._lease.deadline_ns - now_ns",
        (suite(OF_TENURE),),
        promises=("P12", "P13"),
    ),
    Mutant(
        "what remains is counted to the whole ttl",
        TENURE,
        "    return ttl_ns * RATE_SLOW // RATE_FAST - lag_ns",
        "    return ttl_ns * 2",
        (suite(OF_TENURE),),
        promises=("P13",),
    ),
    Mutant(
        "the first look does not look at the clock",
        TENURE,
        "            if now_ns >= self.deadline_ns:\n                self._finish(self._lease.why_over(now_ns, self.deadline_ns), now_ns)",
        "            if False:\n                self._finish(self._lease.why_over(now_ns, self.deadline_ns), now_ns)",
        (suite(OF_TENURE),),
        promises=("P11", "P28"),
    ),
    Mutant(
        "the clock stands still in suspend",
        "runtime/clock.py",
        'getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)',
        "time.CLOCK_MONOTONIC",
        (suite("tests/runtime/test_clock.py"),),
        promises=("P11",),
    ),
    Mutant(
        "the clock is the wall's",
        "runtime/clock.py",
        "partial(time.clock_gettime_ns, _CLOCK_ID)",
        "lambda: time.time_ns()",
        (suite("tests/engines/test_local_input.py::test_wall_clock_steps_change_nothing"),),
        promises=("P9",),
    ),
    Mutant(
        "a renewal that fails for now ends the session",
        KEEPER,
        "        except TRANSIENT as error:\n            self._unconfirmed(number, repr(error))",
        "        except TRANSIENT:\n            self.end(Reason.SESSION_GONE)",
        (suite(LOSING),),
        promises=("P18",),
    ),
    Mutant(
        "the engine's word that a session is over is not taken",
        KEEPER,
        "        except SessionGone:\n            self.end(Reason.SESSION_GONE)\n        except IncarnationChanged:\n"
        "            self.end(Reason.ENGINE_RESET)\n        except asyncio",
        "        except SessionGone as error:\n            self._unconfirmed(number, repr(error))\n"
        "        except IncarnationChanged:\n            self.end(Reason.ENGINE_RESET)\n        except asyncio",
        (suite(LOSING),),
        promises=("P18",),
    ),
    Mutant(
        "an error of an unknown kind ends the renewals without a word",
        KEEPER,
        '            log.exception("a renewal failed in an unknown way; the deadline decides")\n'
        "            self._unconfirmed(number, repr(error))",
        "            del error; raise",
        (suite(LOSING),),
        promises=("P19",),
    ),
    Mutant(
        "a stall of the loop goes by another name",
        TENURE,
        "        return Reason.LOOP_STALL if stalled or not self._tried else Reason.RENEW_TIMEOUT",
        "        return Reason.RENEW_TIMEOUT",
        (suite(OF_TENURE, LOSING),),
        promises=("P20",),
    ),
    Mutant(
        "a late answer of an older renewal counts",
        TENURE,
        "        if self._started_ns is None or number != self._number:\n            return False",
        "        if self._started_ns is None:\n            return False",
        (suite(OF_TENURE),),
        promises=("P22",),
    ),
    Mutant(
        "everybody renews at the same age",
        TENURE,
        "        return self._rng.randint(latest_ns - latest_ns // RENEW_EARLY_PARTS, latest_ns)",
        "        return latest_ns",
        (suite(OF_TENURE, OF_MANY),),
        promises=("P23",),
    ),
    Mutant(
        "who tried in vain tries again later each time, without a bound",
        "leadership/world.py",
        "        self._pause_s = min(2 * pause_s, self._max_s)",
        "        self._pause_s = 8 * pause_s",
        (suite(OF_MANY),),
        promises=("P8",),
    ),
    Mutant(
        "the end of a term is told twice",
        CAMPAIGN,
        "        self._end_told = True\n",
        "",
        (suite(LOSING, OF_CAMPAIGN, OVERLAP),),
        promises=("P24",),
    ),
    Mutant(
        "the member leaves while the body still runs",
        CAMPAIGN,
        "    def _when_over(self) -> None:\n        self._tell_end()\n",
        "    def _when_over(self) -> None:\n        self._tell_end()\n        self._start_leaving()\n",
        (suite(LOSING, OF_CAMPAIGN),),
        promises=("P25", "P39"),
    ),
    Mutant(
        "one candidate's campaigns do not wait for each other",
        CAMPAIGN,
        "            await self._place.acquire()\n",
        "            self._place.acquire().close()\n",
        (suite(OF_CAMPAIGN),),
        promises=("P6", "P25"),
    ),
    Mutant(
        "the body is not cancelled",
        CAMPAIGN,
        "    def _when_over(self) -> None:\n        self._tell_end()\n        self._cancel()",
        "    def _when_over(self) -> None:\n        self._tell_end()",
        (suite(LOSING),),
        promises=("P27",),
    ),
    Mutant(
        "closing does not end the terms",
        CONNECT,
        "    for campaign in campaigns:\n        campaign.end(Reason.CLOSED)\n",
        "",
        (suite(LOSING),),
        promises=("P29",),
    ),
    Mutant(
        "closing waits for a body without end",
        CONNECT,
        "        async with asyncio.timeout(DRAIN_S_MAX):",
        "        async with asyncio.timeout(None):",
        (suite(f"{LOSING}::test_a_body_that_never_ends_keeps_its_session_from_being_ended"),),
        promises=("P76",),
    ),
    Mutant(
        "a candidate that was cancelled leaves its member behind",
        CAMPAIGN,
        "            await self._candidacy.leave()\n            if self._seat is not None:\n",
        "            if self._seat is not None:\n                await self._candidacy.leave()\n",
        (suite(OF_CAMPAIGN),),
        promises=("P2", "P4"),
    ),
    Mutant(
        "a claim that was made before the wait counts after it",
        TENURE,
        "        return self.is_fresh(now_ns) and now_ns < asked_ns + self.ttl_ns // FRESH_PARTS",
        "        return self.is_fresh(now_ns)",
        (suite(OF_CAMPAIGN, OF_TENURE),),
        promises=("P48",),
    ),
    Mutant(
        "who is first and cannot begin stays first",
        CANDIDACY,
        "until_ns=first_ns + ttl_ns)",
        "until_ns=first_ns + 1000 * ttl_ns)",
        (suite(f"{OF_CAMPAIGN}::test_a_candidate_that_is_too_slow_to_begin_stands_back"),),
    ),
    Mutant(
        "a probe's complaint ends nothing",
        OVERSEER,
        "                self._end(Reason.UNHEALTHY)\n",
        "",
        (suite(OVERSEEING),),
        promises=("P21",),
    ),
    Mutant(
        "a probe that hangs is waited for",
        "leadership/probe.py",
        "        await asyncio.wait({answer}, timeout=self._timeout_s)",
        "        await asyncio.wait({answer})",
        (suite(f"{OVERSEEING}::test_a_probe_that_fails_or_hangs_ends_its_own_term_only"),),
        promises=("P21",),
    ),
    Mutant(
        "a body whose task is gone is waited for",
        CAMPAIGN,
        "        self._task.add_done_callback(self._on_task_done)\n",
        "",
        (suite(OVERSEEING),),
        promises=("P21",),
    ),
    Mutant(
        "listeners are called on the loop",
        CONNECT,
        "Random(os.urandom(16)), teller.tell, wall_ms)",
        "Random(os.urandom(16)), wall_ms=wall_ms)",
        (suite(TELLING),),
        promises=("P21",),
    ),
    Mutant(
        "what a slow listener missed may be half a term",
        "leadership/telling.py",
        "        if term is not None:",
        "        if False:",
        (suite(TELLING),),
        promises=("P24", "P26"),
    ),
    Mutant(
        "a body that runs on after its grace is left alone",
        "leadership/escalation.py",
        "        self._body.force(self._how, self._election, self._seat.ended_for)\n",
        "",
        (suite(ESCALATION),),
        promises=("P27",),
    ),
    Mutant(
        "a deadline that was being moved is told after the end",
        "leadership/escalation.py",
        "            self._over = True\n",
        "",
        (suite(ESCALATION),),
        promises=("P27",),
    ),
    Mutant(
        "the leash is not told while the body drains",
        CAMPAIGN,
        "        moved = self._seat.renewed()\n        if self._escalation is not None:",
        "        moved = self._seat.renewed()\n        if moved and self._escalation is not None:",
        (suite(ESCALATION),),
        promises=("P39",),
    ),
    Mutant(
        "force waits for the log",
        "leadership/world.py",
        "    telling.join(LOG_S_MAX)",
        "    telling.join()",
        (suite(ESCALATION),),
        promises=("P27",),
    ),
    Mutant(
        "the grace is taken from nobody's lease",
        TENURE,
        "        deadline_ns = self._lease.deadline_ns - self._lease.hold_ns + self.lasts_ns",
        "        deadline_ns = self._lease.deadline_ns",
        (suite(ESCALATION),),
        promises=("P27",),
    ),
    Mutant(
        "a body that drains is forced as after a loss",
        TENURE,
        "        if self.ended_ns is None or self.reason in RELEASED:",
        "        if self.ended_ns is None:",
        (suite(ESCALATION),),
        promises=("P39",),
    ),
    Mutant(
        "a released deadline kills all the same",
        WATCHDOG,
        "                if deadline_ns == RELEASED:",
        "                if False:",
        (suite(OF_WATCHDOG),),
        promises=("P27",),
    ),
    Mutant(
        "the end of orders takes every deadline back",
        WATCHDOG,
        "                if not self._deadlines:",
        "                if True:",
        (suite(OF_WATCHDOG),),
        promises=("P27",),
    ),
    Mutant(
        "a watchdog that hears nothing acts on what it knows",
        "guardian/leash.py",
        "            process.kill()  # before it acts on what it knows\n",
        "",
        (
            suite(
                f"{OF_WATCHDOG}::test_a_watchdog_that_does_not_listen_is_killed_before_it_acts_on_what_it_knows"
            ),
        ),
        promises=("P27",),
    ),
    Mutant(
        "a forked child has a say in who is killed",
        "guardian/leash.py",
        "        self._forked = True\n",
        "",
        (suite(OF_WATCHDOG),),
        promises=("P75",),
    ),
    Mutant(
        "a block in a thread is left when it is cancelled",
        "leadership/portal.py",
        "                cancelled = True\n                on_cancelled()",
        "                raise",
        (suite("tests/leadership/test_blocking.py"),),
        promises=("P28", "P39"),
    ),
    Mutant(
        "a block whose thread is gone is waited for",
        "leadership/portal.py",
        "                if self.thread is not None and not self.thread.is_alive() and not self._over:",
        "                if False:",
        (
            suite(
                "tests/leadership/test_blocking.py::test_a_thread_that_ends_without_leaving_its_block_is_released"
            ),
        ),
        promises=("P21",),
    ),
    Mutant(
        "who is not well stands all the same",
        CAMPAIGN,
        "        await self._until_healthy()\n",
        "",
        (suite(OVERSEEING),),
        promises=("P43",),
    ),
    Mutant(
        "work begins beside its standby",
        "leadership/running.py",
        "                await waiting.stop()\n",
        "",
        (suite("tests/leadership/test_running.py"),),
        promises=("P25",),
    ),
    Mutant(
        "an observer is shown what it was shown before",
        OBSERVE,
        "            if last != [sighting]:",
        "            if True:",
        (suite(OF_OBSERVE),),
        promises=("P26", "P36"),
    ),
    Mutant(
        "an observer is shown a lower token",
        OBSERVE,
        "                if sighting.token < token_max:",
        "                if False:",
        (suite(OF_OBSERVE),),
        promises=("P37",),
    ),
    Mutant(
        "an observer that lost contact is shown the last leader",
        OBSERVE,
        "            if last != [sighting]:",
        "            if scene is not None and last != [sighting]:",
        (suite(OF_OBSERVE),),
        promises=("P36",),
    ),
    Mutant(
        "a forked child believes that it leads",
        TERM,
        "        self.forked = True\n        self.until_ns = 0\n",
        "",
        (suite("tests/leadership/test_real_time.py"),),
        promises=("P75",),
    ),
)
