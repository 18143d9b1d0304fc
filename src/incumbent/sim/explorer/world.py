"""A world of the explorer: three voters, six links, what is left of the budget, and what must never be forgotten.

A world is eleven numbers: its voters, its links, its history, its budget. Each number stands for a value that was met before,
so that a step is a few look-ups, and worlds are compared exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from operator import itemgetter
from struct import Struct
from typing import Final, NamedTuple

from incumbent.consensus.api import Message, Role
from incumbent.consensus.raft.messages import HeartbeatReply
from incumbent.errors import invariant
from incumbent.sim.explorer.voter import (
    ASK,
    BEAT,
    CAMPAIGN,
    CRASH,
    CRASH_WRITTEN,
    NAMES,
    PERMUTATIONS,
    RECEIVE,
    RECEIVE_LATE,
    RESIGN,
    Fact,
    Frozen,
    Outcome,
    Step,
    Voters,
)

LINK_MAX: Final = 2
"""Messages on one link; what does not fit is lost."""
LINKS: Final = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
"""Sender's and receiver's place of each link."""
LINK_FROM_TO: Final = {pair: number for number, pair in enumerate(LINKS)}
World = tuple[int, ...]
"""Voters at 0..2, links at 3..8, history, budget."""
FIRST_LINK: Final = 3
HISTORY: Final = 9
BUDGET: Final = 10
PACKED: Final = Struct("11I")
MOVED_LINKS: Final = tuple(
    itemgetter(*(FIRST_LINK + LINK_FROM_TO[order[sender], order[to]] for sender, to in LINKS))
    for order in PERMUTATIONS
)
"""The links of a world as they are when its voters have changed places."""

DELIVERED: Final = ""
LOST: Final = "lost"
OVERTAKE: Final = "overtake"
REPEATED: Final = "repeated"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may happen. That is what makes the worlds finite."""

    terms: int = 2
    proposals: int = 2
    crashes: int = 1
    losses: int = 0
    duplications: int = 0
    heartbeats: int = 0
    campaigns: int = 2
    resignations: int = 0  # a leader that steps down because no quorum answers
    retries: int = 0  # answers so late that what was sent before is sent again
    overtakes: int = 0  # what happens while a disk is busy; a crash of its voter is free of this charge
    link: int = LINK_MAX


SPENT_BY: Final = {
    ASK: "proposals",
    CRASH: "crashes",
    CRASH_WRITTEN: "crashes",
    LOST: "losses",
    REPEATED: "duplications",
    BEAT: "heartbeats",
    CAMPAIGN: "campaigns",
    RESIGN: "resignations",
    RECEIVE_LATE: "retries",
    OVERTAKE: "overtakes",
}
COUNTED: Final = tuple(Budget.__dataclass_fields__)


class History(NamedTuple):
    """What was true once and binds for ever."""

    leaders: tuple[tuple[int, int], ...] = ()  # term and place of whoever led
    committed: tuple[
        tuple[int, Fact], ...
    ] = ()  # the entry, and the term in which it was known to be committed


class Action(NamedTuple):
    place: int
    step: Step
    fate: str = DELIVERED


class Worlds:
    """Every world is born here, and looked at."""

    def __init__(self, budget: Budget) -> None:
        self.voters: Final = Voters()
        self._terms: Final = budget.terms
        self._link_max: Final = budget.link
        self._links: Final[list[tuple[int, ...]]] = []
        self._link_numbers: Final[dict[tuple[int, ...], int]] = {}
        self._pushed: Final[dict[tuple[int, tuple[int, ...]], int]] = {}
        self._histories: Final[list[History]] = []
        self._history_numbers: Final[dict[History, int]] = {}
        self._moved_histories: Final[dict[tuple[int, int], int]] = {}
        self._budgets: Final[list[tuple[int, ...]]] = []
        self._budget_numbers: Final[dict[tuple[int, ...], int]] = {}
        self._livings: Final[dict[tuple[int, int, int], int]] = {}
        self._spent: Final[dict[tuple[int, str], int | None]] = {}
        self._orders: Final[dict[tuple[int, int, int], tuple[int, ...]]] = {}
        self._fine: Final[set[tuple[int, ...]]] = set()
        self.tried = Action(0, (CRASH, 0, 0))  # the last one
        links = [self._link(())] * len(LINKS)
        firsts = [self.voters.first(place).number for place in range(3)]
        self.first: Final[World] = (*firsts, *links, self._history(History()), self._budget(astuple(budget)))

    # --- numbers -------------------------------------------------------------------------------------------------

    def _link(self, messages: tuple[int, ...]) -> int:
        number = self._link_numbers.setdefault(messages, len(self._links))
        if number == len(self._links):
            self._links.append(messages)
        return number

    def _history(self, history: History) -> int:
        number = self._history_numbers.setdefault(history, len(self._histories))
        if number == len(self._histories):
            self._histories.append(history)
        return number

    def _budget(self, counts: tuple[int, ...]) -> int:
        number = self._budget_numbers.setdefault(counts, len(self._budgets))
        if number == len(self._budgets):
            self._budgets.append(counts)
        return number

    def _spend(self, budget: int, what: str) -> int | None:
        """The budget that is left; None when nothing was."""
        if (budget, what) not in self._spent:
            counts, place = self._budgets[budget], COUNTED.index(SPENT_BY[what])
            left = (*counts[:place], counts[place] - 1, *counts[place + 1 :])
            self._spent[budget, what] = self._budget(left) if counts[place] else None
        return self._spent[budget, what]

    def _push(self, link: int, messages: tuple[int, ...]) -> int:
        pushed = self._pushed.get((link, messages))
        if pushed is None:
            pushed = self._link((self._links[link] + messages)[: self._link_max])
            self._pushed[link, messages] = pushed
        return pushed

    # --- what can happen -----------------------------------------------------------------------------------------

    def successors(self, world: World) -> Iterator[tuple[Action, World]]:
        """Every step from here. Raises where one leads to what must not be; `tried` tells which.

        A disk that is busy goes first: whatever else happens meanwhile is paid for."""
        voters = [self.voters.frozen[number] for number in world[:3]]
        busy = False
        for voter in voters:
            if voter.disk_steps:
                busy = True
                yield from self._own_steps(world, voter.place, voter.disk_steps)
        if busy:
            spent = self._spend(world[BUDGET], OVERTAKE)
            if spent is None:
                return
            world = (*world[:BUDGET], spent)
        for voter in voters:
            yield from self._own_steps(world, voter.place, voter.steps)
        for link, (sender, to) in enumerate(LINKS, start=FIRST_LINK):
            if self._links[world[link]]:
                yield from self._deliveries(world, link, sender, to)

    def _own_steps(self, world: World, place: int, steps: tuple[str, ...]) -> Iterator[tuple[Action, World]]:
        term = self.voters.frozen[world[place]].term
        for what in steps:
            budget: int | None = world[BUDGET]
            first = 0
            if what in SPENT_BY:
                if what == CAMPAIGN and term >= self._terms:
                    continue
                if what == ASK:
                    first = self._budgets[world[BUDGET]][COUNTED.index("proposals")]
                budget = self._spend(world[BUDGET], what)
                if budget is None:
                    continue
            yield self._taken(world, Action(place, (what, first, 0)), budget)

    def _deliveries(self, world: World, link: int, sender: int, to: int) -> Iterator[tuple[Action, World]]:
        messages = self._links[world[link]]
        head = messages[0]
        rest = (*world[:link], self._link(messages[1:]), *world[link + 1 :])
        budget = world[BUDGET]
        step = (RECEIVE, sender, head)
        yield self._taken(rest, Action(to, step), budget)
        spent = self._spend(budget, RECEIVE_LATE)
        if spent is not None and isinstance(self.voters.messages[head], HeartbeatReply):
            yield self._taken(rest, Action(to, (RECEIVE_LATE, sender, head)), spent)
        spent = self._spend(budget, LOST)
        if spent is not None:
            yield Action(to, step, LOST), (*rest[:BUDGET], spent)
        spent = self._spend(budget, REPEATED)
        if spent is not None:
            yield self._taken(world, Action(to, step, REPEATED), spent)

    def _taken(self, world: World, action: Action, budget: int | None) -> tuple[Action, World]:
        assert budget is not None
        self.tried = action
        place = action.place
        outcome = self.voters.take(self.voters.frozen[world[place]], action.step)
        after = list(world)
        after[place] = outcome.after.number
        after[BUDGET] = budget
        for to, messages in outcome.sent:
            link = FIRST_LINK + LINK_FROM_TO[place, to]
            after[link] = self._push(after[link], messages)
            after[link] = self._living(after[link], place, after[to])
        if outcome.after.durable_term > self.voters.frozen[world[place]].durable_term:
            for link, (sender, to) in enumerate(LINKS, start=FIRST_LINK):
                if to == place:
                    after[link] = self._living(after[link], sender, after[place])
        if outcome.leads or outcome.commits:
            after[HISTORY] = self._remembered(after, outcome)
        return action, tuple(after)

    def _living(self, link: int, sender: int, receiver: int) -> int:
        """The link without messages that can do nothing any more."""
        known = self._livings.get((link, sender, receiver))
        if known is None:
            voter = self.voters.frozen[receiver]
            left = [m for m in self._links[link] if not self.voters.is_dead(voter, sender, m)]
            known = self._livings[link, sender, receiver] = self._link(tuple(left))
        return known

    def _remembered(self, world: list[int], outcome: Outcome) -> int:
        history, voter = self._histories[world[HISTORY]], outcome.after
        if outcome.leads:
            both = [place for term, place in history.leaders if term == voter.term]
            invariant(
                not both,
                "election_safety: two leaders of one term",
                term=voter.term,
                places=(*both, voter.place),
            )
            leaders = tuple(sorted((*history.leaders, (voter.term, voter.place))))
            history = history._replace(leaders=leaders)
        known = len(history.committed)
        news = voter.log[known : voter.commit]
        if news:
            self._check_quorum(world, voter.log[: voter.commit])
            committed = (*history.committed, *((voter.term, fact) for fact in news))
            history = history._replace(committed=committed)
        return self._history(history)

    # --- voters that change places -------------------------------------------------------------------------------

    def key(self, world: World) -> bytes:
        """The same for worlds that differ in the voters' names only, and for no others."""
        frozen = self.voters.frozen
        looks = (frozen[world[0]].look, frozen[world[1]].look, frozen[world[2]].look)
        orders = self._orders.get(looks)
        if orders is None:
            orders = self._orders[looks] = _orders(looks)
        if len(orders) == 1:
            return PACKED.pack(*self._moved(world, orders[0]))
        return PACKED.pack(*min([self._moved(world, order) for order in orders]))

    def _moved(self, world: World, permutation: int) -> World:
        """The world with the voter at place ``PERMUTATIONS[permutation][n]`` brought to place n."""
        voters = []
        for place in PERMUTATIONS[permutation]:
            frozen = self.voters.frozen[world[place]]
            number = frozen.renamed[permutation]
            voters.append(number if number >= 0 else self.voters.renamed(frozen, permutation))
        history = self._moved_histories.get((world[HISTORY], permutation))
        if history is None:
            history = self._moved_history(world[HISTORY], permutation)
        return (*voters, *MOVED_LINKS[permutation](world), history, world[BUDGET])

    def _moved_history(self, number: int, permutation: int) -> int:
        old, order = self._histories[number], PERMUTATIONS[permutation]
        leaders = tuple(sorted((term, order.index(place)) for term, place in old.leaders))
        moved = self._moved_histories[number, permutation] = self._history(old._replace(leaders=leaders))
        return moved

    # --- predicates of several voters ----------------------------------------------------------------------------

    def check(self, world: World) -> None:
        """What must hold in every world. Raises InvariantViolated."""
        frozen, fine, history = self.voters.frozen, self._fine, world[HISTORY]
        voters = [frozen[number] for number in world[:3]]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            pair = (world[one], world[other])
            if pair not in fine:
                _check_log_matching(voters[one], voters[other])
                fine.add(pair)
        for voter in voters:
            bound = (history, voter.number, -1)
            if bound not in fine:
                _check_bound(self._histories[history], voter)
                fine.add(bound)
        held = (history, *world[:3])
        if held not in fine:
            self._check_quorum(world, tuple([fact for _, fact in self._histories[history].committed]))
            fine.add(held)

    def _check_quorum(self, world: World | list[int], committed: tuple[Fact, ...]) -> None:
        disks = [self.voters.frozen[number].disk for number in world[:3]]
        holders = sum(disk[: len(committed)] == committed for disk in disks)
        invariant(
            holders > len(disks) // 2,
            "quorum_log: no quorum has on disk what is committed",
            committed=committed,
        )

    # --- for people ----------------------------------------------------------------------------------------------

    def told(self, action: Action) -> str:
        kind, first, second = action.step
        name = NAMES[action.place]
        if kind == ASK:
            return f"{name} {kind} for {first}"
        if kind not in (RECEIVE, RECEIVE_LATE):
            return f"{name} {kind}"
        what = f"{_told_message(self.voters.messages[second])} from {NAMES[first]}"
        if action.fate == LOST:
            return f"{name} never receives {what}"
        return f"{name} {kind} {what}" + (", which will come again" if action.fate == REPEATED else "")

    def told_voter(self, number: int) -> str:
        voter = self.voters.frozen[number]
        log, disk = (" ".join(str(term) for term, _ in entries) for entries in (voter.log, voter.disk))
        return f"{voter.role} of {voter.term}, log [{log}], on disk [{disk}], commit {voter.commit}"


def _orders(looks: tuple[int, int, int]) -> tuple[int, ...]:
    """The permutations that put these in order: several when voters look alike, for only they are exchanged."""
    return tuple(
        number
        for number, (one, two, three) in enumerate(PERMUTATIONS)
        if looks[one] <= looks[two] <= looks[three]
    )


def _told_message(message: Message) -> str:
    shown = [
        f"{name}={_told_value(getattr(message, name))}"
        for name in message.__struct_fields__
        if name not in ("sent_ns", "round_trip_ns", "rank", "priority", "round", "handed_over")
    ]
    return f"{type(message).__name__}({', '.join(shown)})"


def _told_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + " ".join(f"{e.index}:{e.term}" for e in value) + "]"
    return str(value)


def _check_log_matching(one: Frozen, other: Frozen) -> None:
    """An (index, term) names one value and one prefix, in memory and on disk."""
    for mine in (one.log, one.disk):
        for theirs in (other.log, other.disk):
            for index in range(min(len(mine), len(theirs)), 0, -1):
                if mine[index - 1][0] == theirs[index - 1][0]:
                    same = mine[:index] == theirs[:index]
                    invariant(same, "log_matching: one place, two histories", one=mine, other=theirs)
                    break


def _check_bound(history: History, voter: Frozen) -> None:
    """What a voter takes for committed is what everybody does; and a leader has all that was before its term."""
    committed = tuple([fact for _, fact in history.committed])
    mine = voter.log[: voter.commit]
    invariant(
        mine == committed[: len(mine)], "sm_safety: committed entries differ", one=mine, other=committed
    )
    if voter.role is Role.LEADER:
        wanted = [fact for term, fact in history.committed if term < voter.term]
        has = list(voter.log[: len(wanted)])
        invariant(has == wanted, "leader_completeness: a leader lacks what is committed", has=has)
