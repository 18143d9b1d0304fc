"""Lease arithmetic against a model of the grantor, and the states of a candidacy."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from incumbent.errors import InvariantViolated
from incumbent.leadership.tenure import (
    NS_PER_S,
    RELEASED,
    TRANSITIONS,
    Lease,
    Reason,
    State,
    Step,
    Tenure,
    hold_ns,
)

TTL_NS = 6 * NS_PER_S
MILLION = 1_000_000
RATE_ERROR_PPM = 1000
"""The drift that the arithmetic promises to stand: r = 0.001."""


def new_lease(sent_ns: int = 0, ttl_ns: int = TTL_NS, lag_ns: int = 0) -> Lease:
    return Lease(ttl_ns=ttl_ns, lag_ns=lag_ns, sent_ns=sent_ns, rng=Random(1))


def new_term(lease: Lease, now_ns: int = 0) -> Tenure:
    tenure = Tenure(lease)
    tenure.joined()
    tenure.elected(now_ns, now_ns)
    return tenure


def renew(lease: Lease, sent_ns: int) -> None:
    assert lease.renewal_confirmed(lease.renewal_sent(sent_ns))


# --- the inequality ---------------------------------------------------------------------------------------------------


def real_ns(clock_ns: int, ppm: int) -> int:
    """Real time, rounded up, at which a clock that is `ppm` fast reads `clock_ns` (both began at 0)."""
    return -(-clock_ns * MILLION // (MILLION + ppm))


def clock_ns(real: int, ppm: int) -> int:
    """What that clock reads at a real time, rounded down."""
    return real * (MILLION + ppm) // MILLION


drift = st.integers(-RATE_ERROR_PPM, RATE_ERROR_PPM)


@given(
    holder_ppm=drift,
    grantor_ppm=drift,
    ttl_ms=st.integers(50, 3_600_000),
    trips=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.99)), min_size=1, max_size=6),
)
@example(holder_ppm=-1000, grantor_ppm=1000, ttl_ms=5000, trips=[(0.0, 0.0, 0.0)])
@example(holder_ppm=0, grantor_ppm=0, ttl_ms=5000, trips=[(0.0, 0.0, 0.99)])
@example(holder_ppm=-1000, grantor_ppm=1000, ttl_ms=5000, trips=[(0.2, 0.0, 0.99), (0.2, 0.0, 0.99)])
def test_the_holder_gives_up_before_the_grantor_lets_go(
    holder_ppm: int, grantor_ppm: int, ttl_ms: int, trips: list[tuple[float, float, float]]
) -> None:
    """P10, P14: with any drift within r, and with replies delayed by up to nearly the TTL, what the holder believes ends,
    in real time, before what the grantor promised. Goes red without the margin (1-r)/(1+r), and when the holder counts
    from the reply instead of from before the request left.

    Each trip is (pause before sending, share of the delay on the way there, whole delay in TTLs)."""
    ttl_ns = ttl_ms * MILLION
    now = 0  # real time
    lease: Lease | None = None
    tenure: Tenure | None = None
    for pause, share, delay in trips:
        now += int(pause * ttl_ns)
        sent = clock_ns(now, holder_ppm)
        number = lease.renewal_sent(sent) if lease else 0
        grantor_end = clock_ns(now + int(share * delay * ttl_ns), grantor_ppm) + ttl_ns
        now += int(delay * ttl_ns)
        replied = clock_ns(now, holder_ppm)
        if lease is None:
            lease = new_lease(sent, ttl_ns)
            if lease.is_fresh(replied):
                tenure = new_term(lease, replied)
        else:
            assert lease.renewal_confirmed(number)
            if tenure is not None:
                tenure.renewed(replied)
        believed_until = real_ns(lease.deadline_ns, holder_ppm)
        promised_until = real_ns(grantor_end, grantor_ppm)
        assert believed_until <= promised_until
        if tenure is not None and tenure.leads:
            assert real_ns(tenure.deadline_ns, holder_ppm) <= promised_until


def test_beyond_the_declared_drift_the_inequality_does_not_hold() -> None:
    """The model can fail: a holder whose clock is 0.5 % slow outlives the grantor's promise. Only the token helps."""
    lease = new_lease()
    assert real_ns(lease.deadline_ns, -5000) > real_ns(TTL_NS, 0)


@pytest.mark.parametrize(
    ("ttl_ns", "lag_ns", "holds_ns"),
    [(5 * NS_PER_S, 0, 4_990_009_990), (NS_PER_S, 0, 998_001_998), (5 * NS_PER_S, NS_PER_S, 3_990_009_990)],
)
def test_the_margin_in_figures(ttl_ns: int, lag_ns: int, holds_ns: int) -> None:
    """10 ms of 5 s, and all of the lag."""
    assert hold_ns(ttl_ns, lag_ns) == holds_ns


# --- renewing ---------------------------------------------------------------------------------------------------------


def test_renewals_never_overlap() -> None:
    """P22."""
    lease = new_lease()
    lease.renewal_sent(NS_PER_S)
    with pytest.raises(InvariantViolated, match="never overlap"):
        lease.renewal_sent(2 * NS_PER_S)


def test_a_late_reply_of_an_older_renewal_is_ignored() -> None:
    """P22."""
    lease = new_lease()
    first = lease.renewal_sent(1 * NS_PER_S)
    lease.renewal_failed(first, 2 * NS_PER_S)
    second = lease.renewal_sent(3 * NS_PER_S)
    assert not lease.renewal_confirmed(first)
    lease.renewal_failed(first, 4 * NS_PER_S)
    assert lease.deadline_ns == lease.hold_ns
    assert lease.renewal_confirmed(second)
    assert lease.deadline_ns == 3 * NS_PER_S + lease.hold_ns
    assert not lease.renewal_confirmed(second)


def test_a_renewal_after_the_deadline_does_not_resurrect() -> None:
    """P12: the session lives on and may carry a new term, but this one stays lost."""
    lease = new_lease()
    tenure = new_term(lease)
    number = lease.renewal_sent(lease.deadline_ns - 1)
    assert lease.renewal_confirmed(number)
    assert not tenure.renewed(lease.hold_ns)
    assert tenure.state is State.LOST
    assert not tenure.is_valid(lease.hold_ns)
    assert not tenure.is_valid(0), "not even if the clock were turned back"
    assert new_term(lease, lease.hold_ns).is_valid(lease.hold_ns)


def test_the_end_is_noticed_at_the_deadline_and_not_before() -> None:
    lease = new_lease()
    assert new_term(lease).is_valid(lease.deadline_ns - 1)
    assert not new_term(lease).is_valid(lease.deadline_ns)


@given(
    steps=st.lists(st.tuples(st.integers(0, TTL_NS // 2), st.booleans(), st.booleans()), max_size=20),
)
def test_remaining_only_falls_except_by_a_confirmed_renewal(steps: list[tuple[int, bool, bool]]) -> None:
    """P13: and it never exceeds the TTL. Each step passes time and may send a renewal, which may be confirmed."""
    lease = new_lease()
    tenure = new_term(lease)
    now, remaining = 0, tenure.remaining_ns(0)
    for passed, sends, confirmed in steps:
        now += passed
        if sends:
            number = lease.renewal_sent(now)
            now += passed
            if not confirmed:
                lease.renewal_failed(number, now)
            elif lease.renewal_confirmed(number) and tenure.renewed(now):
                remaining = TTL_NS
        assert 0 <= tenure.remaining_ns(now) <= min(remaining, TTL_NS)
        remaining = tenure.remaining_ns(now)


def test_a_term_starts_only_on_a_fresh_renewal() -> None:
    """DESIGN §4.8: younger than TTL/3, counted from before it was sent; and so is the claim."""
    lease = new_lease()
    assert new_term(lease, TTL_NS // 3 - 1).leads
    with pytest.raises(InvariantViolated, match="younger than TTL/3"):
        new_term(lease, TTL_NS // 3)
    renew(lease, TTL_NS // 3)
    tenure = Tenure(lease)
    tenure.joined()
    with pytest.raises(InvariantViolated, match="younger than TTL/3"):
        tenure.elected(0, TTL_NS // 3)


@given(st.integers(0, 2**32), st.integers(50, 3_600_000))
def test_renewals_are_sent_in_time_and_spread(seed: int, ttl_ms: int) -> None:
    """P23: the next renewal goes out before the lease stops being fresh, never all at one moment."""
    ttl_ns = ttl_ms * MILLION
    rng = Random(seed)
    ages = {Lease(ttl_ns=ttl_ns, lag_ns=0, sent_ns=0, rng=rng).next_renewal_ns for _ in range(20)}
    assert all(ttl_ns // 3 * 3 // 4 <= age <= ttl_ns // 3 for age in ages)
    assert len(ages) > 10


def test_retries_are_paced_and_never_given_up() -> None:
    """P18: soon at first, then at most TTL/3 apart, also when the deadline is long over."""
    lease = new_lease()
    now, pauses = TTL_NS // 3, []
    for _ in range(40):
        number = lease.renewal_sent(now)
        lease.renewal_failed(number, now)
        pauses.append(lease.next_renewal_ns - now)
        now = lease.next_renewal_ns
    assert pauses[0] <= TTL_NS // 24
    assert all(0 < pause <= TTL_NS // 3 for pause in pauses)
    assert now > lease.deadline_ns
    renew(lease, now)
    assert lease.next_renewal_ns <= now + TTL_NS // 3


@given(st.integers(0, 2**32))
def test_one_lease_has_room_for_three_renewals_that_hang(seed: int) -> None:
    """P18: the first may take TTL/3, and still a third one can come in time."""
    lease = Lease(ttl_ns=TTL_NS, lag_ns=0, sent_ns=0, rng=Random(seed))
    sent: list[int] = []
    now = lease.next_renewal_ns
    while now < lease.deadline_ns:
        sent.append(now)
        now += lease.attempt_ns(now)
        lease.renewal_failed(lease.renewal_sent(sent[-1]), now)
        now = lease.next_renewal_ns
    assert len(sent) >= 3
    assert lease.deadline_ns - sent[2] >= TTL_NS // 20
    assert lease.attempt_ns(0) == lease.attempt_ns(lease.deadline_ns) == TTL_NS // 3


def test_jeopardy_comes_before_the_end_and_a_renewal_lifts_it() -> None:
    """Uncertainty is a state (DESIGN §4.3): a leader in jeopardy still leads."""
    lease = new_lease()
    tenure = new_term(lease)
    overdue_ns = lease.overdue_ns
    seen = [(tenure.is_valid(now), tenure.state) for now in (overdue_ns - 1, overdue_ns)]
    assert seen == [(True, State.HELD), (True, State.JEOPARDY)]
    renew(lease, overdue_ns)
    assert (tenure.renewed(overdue_ns), tenure.state) == (True, State.HELD)


# --- force ------------------------------------------------------------------------------------------------------------


@given(
    ttl_ms=st.integers(50, 3_600_000),
    grace=st.floats(0, 0.25),
    lag=st.floats(0, 0.15),
    ended=st.floats(0, 1),
    reason=st.sampled_from(Reason),
)
def test_force_is_inside_the_lease_and_after_the_grace(
    ttl_ms: int, grace: float, lag: float, ended: float, reason: Reason
) -> None:
    """P27, P39: whenever and for whatever the term ended. After an end of our own will only the end of the lease counts,
    and a renewal moves that."""
    ttl_ns = ttl_ms * 1_000_000
    lease = new_lease(0, ttl_ns, int(lag * ttl_ns))
    grace_ns = int(grace * ttl_ns)
    tenure = Tenure(lease, grace_ns=grace_ns)
    tenure.joined()
    tenure.elected(0, 0)
    assert tenure.deadline_ns == tenure.lasts_ns > ttl_ns // 2
    assert tenure.force_ns() == tenure.deadline_ns + grace_ns < lease.deadline_ns
    ended_ns = int(ended * ttl_ns)
    tenure.end(reason, ended_ns)
    forced_ns = tenure.force_ns()
    assert forced_ns <= lease.deadline_ns - tenure.act_ns
    if not tenure.leads and tenure.reason not in RELEASED and ended_ns <= tenure.deadline_ns:
        assert forced_ns == ended_ns + grace_ns
    renew(lease, ttl_ns // 3)
    moved_ns = tenure.force_ns() - forced_ns
    assert moved_ns == ttl_ns // 3 if tenure.reason in RELEASED else moved_ns >= 0


def test_without_force_a_term_has_all_of_its_lease() -> None:
    lease = new_lease()
    assert new_term(lease).deadline_ns == lease.deadline_ns


# --- reasons ----------------------------------------------------------------------------------------------------------


def test_why_a_deadline_passed() -> None:
    """P20: tried and not confirmed, never even tried, or noticed so late that nothing ran."""
    late_ns = TTL_NS // 10
    assert new_lease().why_over(new_lease().deadline_ns, new_lease().deadline_ns) is Reason.LOOP_STALL
    tried = new_lease()
    tried.renewal_failed(tried.renewal_sent(2 * NS_PER_S), 3 * NS_PER_S)
    assert tried.why_over(tried.deadline_ns + late_ns, tried.deadline_ns) is Reason.RENEW_TIMEOUT
    assert tried.why_over(tried.deadline_ns + late_ns + 1, tried.deadline_ns) is Reason.EXPIRED


def test_a_loop_that_owes_a_sign_of_life_is_to_blame() -> None:
    """P20: also when a renewal is on its way; not when it answered, and not when it was asked just now."""
    for answers, asked_early_ns, reason in (
        (False, TTL_NS // 3, Reason.LOOP_STALL),
        (False, TTL_NS // 100, Reason.RENEW_TIMEOUT),
        (True, TTL_NS // 3, Reason.RENEW_TIMEOUT),
    ):
        lease = new_lease()
        lease.renewal_sent(2 * NS_PER_S)
        assert lease.loop_asked(lease.deadline_ns - asked_early_ns)
        assert not lease.loop_asked(lease.deadline_ns - asked_early_ns + 1), "it still owes the first answer"
        if answers:
            lease.loop_answered()
        assert lease.why_over(lease.deadline_ns, lease.deadline_ns) is reason


def test_the_first_reason_stays() -> None:
    lease = new_lease()
    tenure = new_term(lease)
    assert tenure.end(Reason.EVICTED, 5)
    assert not tenure.end(Reason.BODY_ENDED, 6)
    assert (tenure.reason, tenure.ended_ns) == (Reason.EVICTED, 5)


def test_an_end_after_the_deadline_is_an_expiry() -> None:
    """A body that returns after its deadline did not release anything: it was late."""
    lease = new_lease()
    tenure = new_term(lease)
    assert not tenure.end(Reason.BODY_ENDED, lease.deadline_ns)
    assert tenure.reason is not None
    assert tenure.reason not in RELEASED


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_candidacy_that_withdrew_never_leads() -> None:
    """P1."""
    tenure = Tenure(new_lease())
    tenure.joined()
    tenure.withdrew()
    with pytest.raises(InvariantViolated, match="no such transition"):
        tenure.elected(0, 0)


def test_a_tenure_is_used_once() -> None:
    tenure = new_term(new_lease())
    tenure.end(Reason.RESIGNED, 1)
    tenure.left()
    assert tenure.state is State.OUT
    with pytest.raises(InvariantViolated, match="used once"):
        tenure.joined()


def test_lost_leads_nowhere_but_out() -> None:
    """P12, read from the table: no step leads from LOST to a state that leads."""
    assert {after for (state, _), after in TRANSITIONS.items() if state is State.LOST} == {State.OUT}
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert {step for _, step in TRANSITIONS} == set(Step)


def test_the_documented_table_is_the_one_that_is_used() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "leases.md").read_text()
    rows = set(re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \|$", page, flags=re.MULTILINE))
    rows.discard(("from", "when", "to"))
    assert rows == {(str(state), str(step), str(after)) for (state, step), after in TRANSITIONS.items()}


def test_nothing_here_reads_a_wall_clock_or_a_clock_that_sleeps() -> None:
    """P9: no module of this layer even imports one; time comes from the injected clock, and pauses from asyncio."""
    folder = Path(__file__).parents[2] / "src" / "incumbent" / "leadership"
    for path in folder.glob("*.py"):
        assert not re.search(
            r"^\s*(import|from) (time|datetime)\b|\.time\(\)", path.read_text(), re.MULTILINE
        ), path
