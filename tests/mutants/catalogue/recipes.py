"""Faults of locks, semaphores, memberships and schedules."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

LOCK: Final = "recipes/lock.py"
SEMAPHORE: Final = "recipes/semaphore.py"
MEMBERSHIP: Final = "recipes/membership.py"
STAY: Final = "recipes/stay.py"
SCHEDULE: Final = "recipes/schedule.py"
TICKS: Final = "recipes/ticks.py"
OF_LOCK: Final = "tests/recipes/test_lock.py"
OF_SEMAPHORE: Final = "tests/recipes/test_semaphore.py"
OF_MEMBERSHIP: Final = "tests/recipes/test_membership.py"
OF_SCHEDULE: Final = "tests/recipes/test_schedule.py"
OF_TICKS: Final = "tests/recipes/test_ticks.py"

RECIPES: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a lock shares its queue with the election of that name",
        LOCK,
        'f"lock/{name}"',
        "name",
        (suite(OF_LOCK),),
    ),
    Mutant(
        "a semaphore has one slot more than it says",
        SEMAPHORE,
        "            for number in range(slots)\n",
        "            for number in range(slots + 1)\n",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "a semaphore takes any number of slots for agreed",
        SEMAPHORE,
        "        if cell.value != mine:",
        "        if False:",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "the number of slots is written over what another process wrote",
        SEMAPHORE,
        "            if cell.value is not None:\n                return cell\n",
        "",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "all slots have one name for sinks",
        SEMAPHORE,
        'f"{self.name}#{number}"',
        "self.name",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "a slot is let go as soon as it is had",
        SEMAPHORE,
        "                    await held.enter_async_context(trial.pop_all())\n",
        "",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "who is first of the queue stands for a slot that is taken and waits there",
        SEMAPHORE,
        "                if not rosters[number].members:\n",
        "                if True:\n",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "a slot that nobody may begin in is tried for ever",
        SEMAPHORE,
        "            start = number + 1\n",
        "",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "the first of the queue hears of one slot only",
        SEMAPHORE,
        "office.tasks, news)",
        "office.tasks)",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "the first of the queue waits for a word that does not come",
        SEMAPHORE,
        "                await watches[0].wait(office.ttl)\n",
        "                await watches[0].wait()\n",
        (suite(OF_SEMAPHORE),),
    ),
    Mutant(
        "members that left are told of twice, and those that joined never",
        MEMBERSHIP,
        "        joined=tuple(peer for peer in now if peer.id not in then),\n",
        "        joined=(),\n",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "who left is kept",
        MEMBERSHIP,
        "        left=tuple(peer for peer in before if peer.id not in here),\n",
        "        left=(),\n",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "another stay has the id of the one before",
        MEMBERSHIP,
        'f"{entry.order}-{entry.id}"',
        "name",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "lost contact is not told",
        MEMBERSHIP,
        "                        yield told\n                    continue\n",
        "                    continue\n",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "lost contact is told as nobody being there",
        MEMBERSHIP,
        "                if roster is None:\n",
        "                if roster is None:\n                    yield news_between(before, ())\n                if roster is None:\n",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "contact that came back is not told when nothing changed",
        MEMBERSHIP,
        "if told is None or told is UNKNOWN or now != before:",
        "if told is None or now != before:",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "what changed during lost contact is told as of nobody",
        MEMBERSHIP,
        "                        told = UNKNOWN\n",
        "                        told, before = UNKNOWN, ()\n",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "a member that is to leave stays",
        STAY,
        "            await until_answered(lambda: engine.leave(member), rng)\n",
        "            pass\n",
        (suite(OF_MEMBERSHIP),),
        promises=("P2",),
    ),
    Mutant(
        "who was removed never looks",
        STAY,
        "                await until_answered(lambda: engine.claim(member), rng)\n",
        "                pass\n",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "two stays of one cluster object stand beside each other",
        STAY,
        "        await self._place.acquire()\n",
        "",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "an update is not waited for",
        STAY,
        "        self._wanted += 1\n",
        "",
        (suite(OF_MEMBERSHIP),),
    ),
    Mutant(
        "a tick is marked without the term",
        SCHEDULE,
        "[write], term.claimed)",
        "[write], None)",
        (suite(OF_SCHEDULE),),
    ),
    Mutant(
        "a tick is marked whatever stands in the cell",
        SCHEDULE,
        "CellWrite(CELL, value, version)",
        "CellWrite(CELL, value, None)",
        (suite(OF_SCHEDULE),),
        promises=("P3",),
    ),
    Mutant(
        "a tick that was not marked is started all the same",
        SCHEDULE,
        "            if marked is None:\n",
        "            if False:\n",
        (suite(OF_SCHEDULE),),
    ),
    Mutant(
        "a mark of somebody else is taken for the own",
        SCHEDULE,
        "return cell.version if cell.value == value else None",
        "return cell.version",
        (suite(OF_SCHEDULE),),
    ),
    Mutant(
        "an own mark whose answer was lost is not known again",
        SCHEDULE,
        "return cell.version if cell.value == value else None",
        "return None",
        (suite(OF_SCHEDULE),),
    ),
    Mutant(
        "at most once marks after the work",
        SCHEDULE,
        "            if self._at_least_once:\n",
        "            if True:\n",
        (suite(OF_SCHEDULE),),
    ),
    Mutant(
        "at least once marks before the work",
        SCHEDULE,
        "            if self._at_least_once:\n",
        "            if False:\n",
        (suite(OF_SCHEDULE),),
    ),
    Mutant(
        "a clock that was set back brings ticks back",
        TICKS,
        "max(last, now - back_s)",
        "now - back_s",
        (suite(OF_TICKS, OF_SCHEDULE),),
    ),
    Mutant(
        "missed ticks are run although they are to be skipped",
        TICKS,
        "policy.on_time if policy.missed is Missed.SKIP else",
        "",
        (suite(OF_TICKS, OF_SCHEDULE),),
    ),
    Mutant(
        "the first of the missed is run for all of them",
        TICKS,
        "        return found[-1]\n",
        "        return found[0]\n",
        (suite(OF_TICKS, OF_SCHEDULE),),
    ),
    Mutant(
        "more of the missed are run than were asked for",
        TICKS,
        "        del found[: max(0, late - policy.missed_max)]\n",
        "        pass\n",
        (suite(OF_TICKS, OF_SCHEDULE),),
    ),
    Mutant(
        "a rounded tick comes twice",
        TICKS,
        "        return number * seconds if number * seconds > after else (number + 1) * seconds\n",
        "        return number * seconds\n",
        (suite(OF_TICKS),),
    ),
)
