"""The judge of linearizability finds each kind of lie, and takes nothing tricky for one."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.check.linear import POSSIBLE_MAX, SHOWN_MAX, Judgement, Verdict, Violation, judge
from incumbent.check.models import (
    ABSENT,
    REFUSED,
    UNKNOWN,
    Acquire,
    Cell,
    Claim,
    CompareAndSwap,
    Delete,
    Elections,
    Expired,
    Get,
    Leader,
    Locks,
    Model,
    Observe,
    Operation,
    Put,
    Registers,
    Release,
    Resign,
)
from incumbent.errors import InvalidInput
from tests.check.histories import SERVED, RegisterServer, served, some_order_explains, spoiled

REGISTERS, LOCKS, ELECTIONS = Registers(), Locks(), Elections()
LINEARIZABLE, VIOLATED, OUT_OF_BUDGET = Verdict.LINEARIZABLE, Verdict.VIOLATED, Verdict.OUT_OF_BUDGET


def op(call: int, back: int | None, asked: Hashable, told: Hashable) -> Operation:
    return Operation("c", call, back, asked, told)


def lost(call: int, asked: Hashable) -> Operation:
    return Operation("c", call, None, asked, UNKNOWN)


def violation_of(judgement: Judgement) -> Violation:
    assert judgement.verdict is VIOLATED
    assert judgement.violation is not None
    return judgement.violation


A, B = Put("x", "a"), Put("x", "b")
SEES_A, SEES_B = Cell("a", 1), Cell("b", 2)
READ = Get("x")

REGISTER_STORIES = {
    "nothing happened": (LINEARIZABLE, []),
    "a write, then a read": (LINEARIZABLE, [op(0, 1, A, None), op(2, 3, READ, SEES_A)]),
    "stale read": (
        VIOLATED,
        [op(0, 1, A, None), op(2, 3, B, None), op(4, 5, READ, SEES_A)],
    ),
    "a read beside the write may see it or not": (
        LINEARIZABLE,
        [op(0, 9, A, None), op(1, 8, READ, ABSENT), op(2, 7, READ, SEES_A)],
    ),
    "new, then old, beside one write": (
        VIOLATED,
        [op(0, 9, A, None), op(1, 2, READ, SEES_A), op(3, 4, READ, ABSENT)],
    ),
    "lost write": (VIOLATED, [op(0, 1, A, None), op(2, 3, READ, ABSENT)]),
    "a value that nobody wrote": (VIOLATED, [op(0, 1, A, None), op(2, 3, READ, Cell("z", 1))]),
    "a version that cannot be": (VIOLATED, [op(0, 1, A, None), op(2, 3, READ, Cell("a", 2))]),
    "two writes in the order that the reads tell, not that of the calls": (
        LINEARIZABLE,
        [op(0, 9, B, None), op(1, 8, A, None), op(10, 11, READ, SEES_B)],
    ),
    "two readers that disagree about the order of two writes": (
        VIOLATED,
        [
            op(0, 90, A, None), op(0, 90, Put("x", "b"), None),
            op(10, 20, READ, Cell("a", 1)), op(30, 40, READ, Cell("b", 1)),
        ],
    ),
    "lost update: both swaps of one version took effect": (
        VIOLATED,
        [
            op(0, 1, A, None),
            op(2, 9, CompareAndSwap("x", 1, "b"), told=True), op(2, 9, CompareAndSwap("x", 1, "c"), told=True),
        ],
    ),
    "one of two swaps took effect": (
        LINEARIZABLE,
        [
            op(0, 1, A, None),
            op(2, 9, CompareAndSwap("x", 1, "b"), told=True), op(2, 9, CompareAndSwap("x", 1, "c"), told=False),
        ],
    ),
    "a swap refused although the version was right all the time": (
        VIOLATED,
        [op(0, 1, A, None), op(2, 3, CompareAndSwap("x", 1, "b"), told=False)],
    ),
    "a swap creates what does not exist": (
        LINEARIZABLE,
        [op(0, 1, CompareAndSwap("x", 0, "a"), told=True), op(2, 3, READ, SEES_A)],
    ),
    "a version begins again after a delete": (
        LINEARIZABLE,
        [
            op(0, 1, A, None), op(2, 3, A, None), op(4, 5, Delete("x"), told=True),
            op(6, 7, A, None), op(8, 9, READ, SEES_A),
        ],
    ),
    "deleted twice, both told that it existed": (
        VIOLATED,
        [op(0, 1, A, None), op(2, 9, Delete("x"), told=True), op(2, 9, Delete("x"), told=True)],
    ),
    "an unknown write is seen late": (
        LINEARIZABLE,
        [lost(0, A), op(10, 11, READ, ABSENT), op(20, 21, READ, SEES_A)],
    ),
    "an unknown write never happens": (LINEARIZABLE, [lost(0, A), op(10, 11, READ, ABSENT)]),
    "an unknown write is seen and then vanishes": (
        VIOLATED,
        [lost(0, A), op(10, 11, READ, SEES_A), op(20, 21, READ, ABSENT)],
    ),
    "an unknown write overwrites what a reader had seen, and later un-happens": (
        VIOLATED,
        [
            op(0, 1, A, None), lost(2, B),
            op(10, 11, READ, SEES_B), op(20, 21, READ, SEES_A),
        ],
    ),
    "an unknown write is seen before it was called": (VIOLATED, [op(0, 1, READ, SEES_A), lost(2, A)]),
    "an unknown write happens once, not twice": (
        VIOLATED,
        [lost(0, A), op(10, 11, READ, SEES_A), op(12, 13, B, None), op(14, 15, READ, Cell("a", 3))],
    ),
    "two equal unknown writes happen one after the other": (
        LINEARIZABLE,
        [lost(0, A), lost(1, A), op(10, 11, READ, SEES_A), op(12, 13, B, None), op(14, 15, READ, Cell("a", 3))],
    ),
    "an unknown write that returned late is unknown still": (
        LINEARIZABLE,
        [op(0, 5, A, UNKNOWN), op(10, 11, READ, ABSENT), op(20, 21, READ, SEES_A)],
    ),
    "a refused write is seen": (VIOLATED, [op(0, 1, A, REFUSED), op(2, 3, READ, SEES_A)]),
    "a refused write is not seen": (LINEARIZABLE, [op(0, 1, A, REFUSED), op(2, 3, READ, ABSENT)]),
    "an unknown delete makes a swap fail": (
        LINEARIZABLE,
        [op(0, 1, A, None), lost(2, Delete("x")), op(10, 11, CompareAndSwap("x", 1, "b"), told=False)],
    ),
    "only the number of unseen unknown writes tells": (
        VIOLATED,
        [op(0, 1, A, None), lost(2, Put("x", "u")), lost(2, Put("x", "v")), op(4, 5, B, None), op(6, 7, READ, Cell("b", 5))],
    ),
    "an unknown swap must come first, though a later unknown write alone gives the same cell": (
        LINEARIZABLE,
        [lost(0, Delete("x")), lost(1, A), lost(2, CompareAndSwap("x", 0, "a")), op(3, 9, READ, Cell("a", 2))],
    ),
    "an unknown swap that nobody needs": (
        LINEARIZABLE,
        [
            lost(0, CompareAndSwap("x", 0, "a")), lost(1, B), op(2, 4, READ, Cell("b", 1)),
            lost(3, Delete("x")), op(5, 6, READ, ABSENT),
        ],
    ),
    "equal times are concurrent": (LINEARIZABLE, [op(0, 5, A, None), op(5, 9, READ, ABSENT)]),
}  # fmt: skip

ANN, BOB = Acquire("l", "ann"), Acquire("l", "bob")
LOCK_STORIES = {
    "double acquire": (VIOLATED, [op(0, 1, ANN, told=True), op(2, 3, BOB, told=True)]),
    "double acquire, concurrently": (VIOLATED, [op(0, 9, ANN, told=True), op(0, 9, BOB, told=True)]),
    "held, then released, then had": (
        LINEARIZABLE,
        [
            op(0, 1, ANN, told=True), op(2, 3, BOB, told=False),
            op(4, 5, Release("l", "ann"), told=True), op(6, 7, BOB, told=True),
        ],
    ),
    "refused while free": (VIOLATED, [op(0, 1, BOB, told=False)]),
    "had while the release is on its way": (
        LINEARIZABLE,
        [op(0, 1, ANN, told=True), op(2, 9, Release("l", "ann"), told=True), op(3, 4, BOB, told=True)],
    ),
    "had before the release was called": (
        VIOLATED,
        [op(0, 1, ANN, told=True), op(2, 3, BOB, told=True), op(4, 5, Release("l", "ann"), told=True)],
    ),
    "had after the lease ran out unseen": (
        LINEARIZABLE,
        [op(0, 1, ANN, told=True), lost(5, Expired("l", "ann")), op(8, 9, BOB, told=True)],
    ),
    "had before the lease could run out": (
        VIOLATED,
        [op(0, 1, ANN, told=True), op(2, 4, BOB, told=True), lost(5, Expired("l", "ann"))],
    ),
    "released after the lease had run out for another": (
        LINEARIZABLE,
        [
            op(0, 1, ANN, told=True), op(2, 3, Expired("l", "ann"), told=True), op(4, 5, BOB, told=True),
            op(6, 7, Release("l", "ann"), told=False), op(8, 9, ANN, told=False),
        ],
    ),
    "an old holder's release frees the new holder's lock": (
        VIOLATED,
        [
            op(0, 1, ANN, told=True), op(2, 3, Expired("l", "ann"), told=True), op(4, 5, BOB, told=True),
            op(6, 7, Release("l", "ann"), told=False), op(8, 9, ANN, told=True),
        ],
    ),
    "an unknown acquire keeps others out": (LINEARIZABLE, [lost(0, ANN), op(2, 3, BOB, told=False)]),
    "one lock does not keep out of another": (
        LINEARIZABLE,
        [op(0, 1, ANN, told=True), op(2, 3, Acquire("m", "bob"), told=True)],
    ),
}  # fmt: skip

CLAIM_A, CLAIM_B, LOOK = Claim("e", "ann"), Claim("e", "bob"), Observe("e")
OUT_A = Resign("e", "ann")
ELECTION_STORIES = {
    "one leads, then the other": (
        LINEARIZABLE,
        [
            op(0, 1, CLAIM_A, 3), op(2, 3, LOOK, Leader("ann", 3)), op(4, 5, OUT_A, told=True),
            op(6, 7, LOOK, None), op(8, 9, CLAIM_B, 7), op(10, 11, LOOK, Leader("bob", 7)),
        ],
    ),
    "two lead": (VIOLATED, [op(0, 1, CLAIM_A, 3), op(2, 3, CLAIM_B, 4)]),
    "token reuse": (VIOLATED, [op(0, 1, CLAIM_A, 3), op(2, 3, OUT_A, told=True), op(4, 5, CLAIM_B, 3)]),
    "a lower token": (VIOLATED, [op(0, 1, CLAIM_A, 3), op(2, 3, OUT_A, told=True), op(4, 5, CLAIM_B, 2)]),
    "stale observation": (
        VIOLATED,
        [
            op(0, 1, CLAIM_A, 3), op(2, 3, OUT_A, told=True), op(4, 5, CLAIM_B, 4), op(6, 7, LOOK, Leader("ann", 3)),
        ],
    ),
    "nobody seen while somebody leads": (VIOLATED, [op(0, 1, CLAIM_A, 3), op(2, 3, LOOK, None)]),
    "refused while nobody leads": (VIOLATED, [op(0, 1, CLAIM_A, None)]),
    "refused because of the other's claim beside it": (
        LINEARIZABLE,
        [op(0, 9, CLAIM_A, None), op(0, 9, CLAIM_B, 1)],
    ),
    "an unknown claim is seen with its token": (
        LINEARIZABLE,
        [lost(0, CLAIM_A), op(2, 3, LOOK, Leader("ann", 5)), op(4, 5, LOOK, Leader("ann", 5))],
    ),
    "an unknown claim is seen with two tokens": (
        VIOLATED,
        [lost(0, CLAIM_A), op(2, 3, LOOK, Leader("ann", 5)), op(4, 5, LOOK, Leader("ann", 6))],
    ),
    "an unknown claim is seen and then vanishes": (
        VIOLATED,
        [lost(0, CLAIM_A), op(2, 3, LOOK, Leader("ann", 5)), op(4, 5, LOOK, None)],
    ),
    "two unknown claims need a token between": (
        VIOLATED,
        [
            op(0, 1, CLAIM_A, 1), op(2, 3, OUT_A, told=True), lost(4, CLAIM_A), op(6, 7, CLAIM_B, None),
            op(8, 9, OUT_A, told=True), op(10, 11, CLAIM_B, 2),
        ],
    ),
    "an unknown claim has room for its token": (
        LINEARIZABLE,
        [
            op(0, 1, CLAIM_A, 1), op(2, 3, OUT_A, told=True), lost(4, CLAIM_A), op(6, 7, CLAIM_B, None),
            op(8, 9, OUT_A, told=True), op(10, 11, CLAIM_B, 3),
        ],
    ),
    "elected after a lease ran out unseen": (
        LINEARIZABLE,
        [op(0, 1, CLAIM_A, 1), lost(2, Expired("e", "ann")), op(6, 7, CLAIM_B, 2), op(8, 9, OUT_A, told=False)],
    ),
}  # fmt: skip

STORIES = [
    pytest.param(model, verdict, history, id=f"{form}: {name}")
    for form, model, stories in (
        ("register", REGISTERS, REGISTER_STORIES),
        ("lock", LOCKS, LOCK_STORIES),
        ("election", ELECTIONS, ELECTION_STORIES),
    )
    for name, (verdict, history) in stories.items()
]


@pytest.mark.parametrize(("model", "verdict", "history"), STORIES)
def test_a_story_gets_its_verdict(model: Model, verdict: Verdict, history: Sequence[Operation]) -> None:
    assert judge(model, history).verdict is verdict
    assert judge(model, history[::-1]).verdict is verdict


class Plain(Model):
    """A register without versions, and nothing said but what must be said. Asked: a value to write, or None to read."""

    initial = "nothing"

    def key(self, asked: str | None) -> Hashable:
        return ""

    def step(self, state: str, asked: str | None, told: object) -> str | None:
        if asked is None:
            return state if told in (state, UNKNOWN) else None
        return asked


@pytest.mark.parametrize(
    ("verdict", "history"),
    [
        # The second write of a must come after that of b, although it changes nothing where it fits first.
        (
            LINEARIZABLE,
            [op(0, 1, "a", None), op(2, 9, "a", None), op(3, 9, "b", None), op(10, 11, None, "a")],
        ),
        (LINEARIZABLE, [op(0, 1, "a", None), lost(2, "a"), op(3, 9, "b", None), op(10, 11, None, "a")]),
        (VIOLATED, [op(0, 1, "a", None), op(3, 9, "b", None), op(10, 11, None, "a"), lost(12, "a")]),
        (LINEARIZABLE, [lost(0, None), op(2, 3, None, "nothing")]),
    ],
)
def test_a_model_of_ones_own_needs_only_the_specification(verdict: Verdict, history: list[Operation]) -> None:
    assert judge(Plain(), history).verdict is verdict


# ── Budget ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def hard(key: str = "x", writes: int = 9) -> list[Operation]:
    """Nothing explains the last read, and every order of the writes must be tried to know it."""
    writing = [op(0, 100, Put(key, f"{n % 3}"), None) for n in range(writes)]
    return [*writing, op(101, 102, Get(key), Cell("0", writes + 1))]


def taken(name: str) -> list[Operation]:
    """Nine clients say that they had the lock, beside nine releases."""
    clients = [f"c{n}" for n in range(9)]
    had = [op(0, 100, Acquire(name, client), told=True) for client in clients]
    gave = [op(0, 100, Release(name, client), told=True) for client in clients]
    return [*had, *gave, op(101, 102, Acquire(name, "late"), told=False)]


def claimed(name: str) -> list[Operation]:
    had = [op(0, 100, Claim(name, f"c{n}"), 20 - n) for n in range(9)]
    gave = [op(0, 100, Resign(name, f"c{n}"), told=True) for n in range(9)]
    return [*had, *gave, op(101, 102, Observe(name), Leader("late", 20))]


@pytest.mark.parametrize(
    ("model", "history"), [(REGISTERS, hard()), (LOCKS, taken("l")), (ELECTIONS, claimed("e"))]
)
def test_out_of_budget_is_neither_a_pass_nor_a_violation(model: Model, history: list[Operation]) -> None:
    short = judge(model, history, states_max=8)
    assert (short.verdict, short.violation, short.states) == (OUT_OF_BUDGET, None, 8)
    assert short.undecided == (model.key(history[0].input),)
    assert judge(model, history).verdict is VIOLATED


def test_one_key_out_of_budget_does_not_hide_the_violation_of_another() -> None:
    judgement = judge(REGISTERS, [*hard("x"), op(0, 1, Get("y"), Cell("a", 1))], states_max=20)
    assert violation_of(judgement).key == "y"
    assert judgement.undecided == ("x",)


def test_one_key_out_of_budget_is_no_pass_for_all() -> None:
    judgement = judge(REGISTERS, [*hard("x"), op(0, 1, Get("y"), ABSENT)], states_max=20)
    assert judgement.verdict is OUT_OF_BUDGET


# ── What a violation says ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_violation_names_the_operation_the_states_and_the_prefix() -> None:
    history = [
        op(0, 1, A, None),
        op(2, 9, B, None),
        lost(3, Delete("x")),
        op(10, 11, READ, Cell("a", 7)),
        op(12, 13, READ, ABSENT),
        op(20, 21, Get("y"), ABSENT),
    ]
    violation = violation_of(judge(REGISTERS, history))
    assert violation.culprit is history[3]
    assert violation.prefix == tuple(history[:4])
    # b may come before or after the delete, or the delete never
    assert len(violation.possible) == 3
    assert ABSENT in violation.possible
    assert not violation.more_possible
    assert "> 10 .. 11  c: Get(key='x') -> Cell(value='a', version=7)" in violation.explain()
    assert "3 .. ?  c: Delete(key='x') -> ?" in violation.explain()
    assert "a value that no read returned" in violation.explain()


def test_an_explanation_stays_readable_when_much_is_possible() -> None:
    first = [op(10 * n, 10 * n + 1, A, None) for n in range(SHOWN_MAX)]
    beside = [op(900, 990, A, None) for n in range(8)]
    history = [*first, *beside, lost(900, Delete("x")), lost(900, Delete("x")), op(1000, 1001, READ, SEES_B)]
    violation = violation_of(judge(REGISTERS, history))
    assert len(violation.possible) == POSSIBLE_MAX
    assert violation.more_possible
    lines = violation.explain().splitlines()
    assert len(lines) <= POSSIBLE_MAX + SHOWN_MAX + 6
    assert "  … 11 earlier ones" in lines


def test_of_several_keys_the_violation_that_shows_first_is_told() -> None:
    bad = [op(20, 21, Get("x"), SEES_A), op(10, 11, Get("y"), SEES_A), op(30, 31, Get("z"), SEES_A)]
    assert violation_of(judge(REGISTERS, bad)).key == "y"


def test_what_was_refused_and_reads_without_an_answer_are_not_counted() -> None:
    judgement = judge(REGISTERS, [op(0, 1, A, None), op(0, 1, B, REFUSED), lost(0, READ), lost(0, B)])
    assert (judgement.verdict, judgement.operations) == (LINEARIZABLE, 2)


@pytest.mark.parametrize("bad", [op(5, 4, A, None), op(5, None, A, None)])
def test_times_that_make_no_sense_are_an_error(bad: Operation) -> None:
    with pytest.raises(InvalidInput, match="return_ns"):
        judge(REGISTERS, [bad])


# ── Properties ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("form", SERVED)
@given(rng=st.randoms(use_true_random=False), count=st.integers(0, 40))
def test_what_one_copy_answered_is_linearizable(form: str, rng: random.Random, count: int) -> None:
    model, server = SERVED[form]
    assert judge(model, served(server(), rng, count)).verdict is LINEARIZABLE


def assert_both_judges_agree(model: Model, history: Sequence[Operation]) -> Verdict:
    judgement = judge(model, history)
    assert judgement.verdict is (LINEARIZABLE if some_order_explains(model, history, history) else VIOLATED)
    if judgement.violation is not None:
        assert_the_prefix_is_the_shortest(model, history, judgement.violation)
    return judgement.verdict


def assert_the_prefix_is_the_shortest(model: Model, history: Sequence[Operation], found: Violation) -> None:
    assert judge(model, found.prefix).verdict is VIOLATED
    culprit_return = found.culprit.return_ns or 0
    before = [
        o for o in history if o.output not in (UNKNOWN, REFUSED) and (o.return_ns or 0) < culprit_return
    ]
    last = max((o.return_ns or 0 for o in before), default=-1000)
    called = [o for o in history if o.call_ns <= last]
    assert some_order_explains(model, called, before)


@pytest.mark.slow
@pytest.mark.parametrize("form", SERVED)
@given(rng=st.randoms(use_true_random=False), count=st.integers(1, 6))
def test_a_spoiled_history_is_judged_as_by_trying_every_order(
    form: str, rng: random.Random, count: int
) -> None:
    model, server = SERVED[form]
    serving = server()
    assert_both_judges_agree(model, spoiled(serving, served(serving, rng, count), rng))


@pytest.mark.slow
@pytest.mark.parametrize("form", SERVED)
def test_both_verdicts_are_met_when_the_judges_are_compared(form: str) -> None:
    model, server = SERVED[form]
    met = {LINEARIZABLE: 0, VIOLATED: 0}
    for seed in range(300):
        rng, serving = random.Random(seed), server()
        met[assert_both_judges_agree(model, spoiled(serving, served(serving, rng, 5), rng))] += 1
    assert min(met.values()) > 50, met


# ── Speed, counted in states so that no clock decides ──────────────────────────────────────────────────────────────


def test_a_clean_history_takes_hardly_more_states_than_operations() -> None:
    history: list[Operation] = []
    for key in range(8):
        rng = random.Random(key)
        mine = served(RegisterServer(values=0), rng, 62, unknown=0.1, overlap=2)
        history += [Operation(o.process, o.call_ns, o.return_ns, moved(o.input, key), o.output) for o in mine]
    judgement = judge(REGISTERS, history)
    assert judgement.verdict is LINEARIZABLE
    assert judgement.states < 2 * len(history)


def moved(asked: Hashable, key: int) -> Hashable:
    match asked:
        case Get():
            return Get(key)
        case Put(_, value):
            return Put(key, value)
        case Delete():
            return Delete(key)
        case CompareAndSwap(_, version, value):
            return CompareAndSwap(key, version, value)
        case _:
            raise AssertionError(asked)


@pytest.mark.slow
def test_many_unknown_writes_do_not_multiply() -> None:
    """Forty writes without an outcome, half of them seen: a search of all subsets would never end."""
    history: list[Operation] = [lost(n, Put("x", n)) for n in range(40)]
    for n in range(0, 40, 2):
        history += [op(100 + 10 * n, 105 + 10 * n, Put("x", "known"), None)]
        history += [op(106 + 10 * n, 109 + 10 * n, READ, Cell(n, n + 2))]
    judgement = judge(REGISTERS, history)
    assert judgement.verdict is LINEARIZABLE
    assert judgement.states < 5_000
    vanished = [*history, op(1000, 1001, READ, Cell(0, 42))]
    assert judge(REGISTERS, vanished).verdict is VIOLATED
