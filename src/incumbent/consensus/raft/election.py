"""Who may vote for whom, and when a campaign starts. PURE.

Pre-vote: dissertation 9.6. Stickiness: 4.2.3. Check-quorum: 6.2. Votes: Raft section 5.2, 5.4.1.

A closed connection from the leader's process is a hint. Followers act on it in the order of their ranks, which the leader
had told them, and park the pre-vote of one that saw it earlier: so that one candidate comes first and the others do not
refuse it for a millisecond's difference.
"""

from __future__ import annotations

from typing import Final

from incumbent.consensus.api import Role
from incumbent.consensus.quorum import Outcome, outcome, reached
from incumbent.consensus.raft import replication
from incumbent.consensus.raft.messages import PreVote, PreVoteReply, Vote, VoteReply
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.state import Parked, State
from incumbent.ids import NodeId, Term

RANK_STEP_MIN_NS: Final = 5_000_000
"""After a hint each rank waits this much longer than the one before it, or two round trips."""
PARKING_MIN_NS: Final = 20_000_000
"""A pre-vote waits this long for news of the leader's death, or four round trips."""
HINT_VOTE_WAIT_MIN_NS: Final = 50_000_000
"""After a hint, how long a candidate waits for votes before it asks again: some slow fsyncs, or ten round trips."""
HINT_RETRIES_MAX: Final = 5
"""After a hint the others may not have noticed yet: ask this often in quick succession, then wait a full timeout."""


def on_election_timeout(state: State) -> None:
    """No leader for long enough: ask whether a campaign would win, without disturbing anybody (pre-vote)."""
    hinted = state.hint_retries > 0
    _set_timer(state, _parking_ns(state))
    if not state.electable:
        state.forget_leader()  # a learner, or whoever was removed, only says what it knows
        return
    state.note(Code.CAMPAIGN_HINT if hinted else Code.CAMPAIGN_TIMEOUT, last=state.log.last_index)
    state.become_pre_candidate()
    request = PreVote(Term(state.term + 1), state.log.last_index, state.log.last_term)
    for peer in state.peers():
        state.out.send_now(peer, request)
    _tally_pre_votes(state)


def on_leader_lost(state: State, peer: NodeId) -> None:
    """The connection from the leader's process closed: a hint, so forget it and ask around. Safe, because votes decide;
    harmless when false, because the others still hear the leader and its next heartbeat ends this."""
    if state.role is not Role.FOLLOWER or state.leader != peer:
        return
    state.note(Code.LEADER_FORGOTTEN, leader=peer, rank=state.rank)
    state.forget_leader()
    state.hint = (peer, state.now_ns)
    state.hint_retries = HINT_RETRIES_MAX
    state.election_ns = state.now_ns + state.rank * _rank_step_ns(state)
    parked, state.parked = state.parked, {}
    for sender, (request, _) in parked.items():
        on_pre_vote(state, sender, request)


def _rank_step_ns(state: State) -> int:
    return max(RANK_STEP_MIN_NS, 2 * state.round_trip_ns)


def _parking_ns(state: State) -> int:
    return max(PARKING_MIN_NS, 4 * state.round_trip_ns)


def _set_timer(state: State, hinted_wait_ns: int) -> None:
    """When to try again: soon, and in the order of ranks, as long as a hint is being followed; else after an election
    timeout."""
    if state.hint_retries > 1:
        state.hint_retries -= 1
        state.election_ns = state.now_ns + hinted_wait_ns + state.rank * _rank_step_ns(state)
    else:
        state.reset_election_timer()


def on_leader_heard(state: State, leader: NodeId) -> None:
    """An append or heartbeat of this term arrived. One that comes within a heartbeat interval of the news that its sender
    is gone may have been on its way: the leader is followed, but not held to be alive (no stickiness), and the timer is
    short. A leader that lives beats again before it runs out."""
    hint = state.hint
    if hint is None:
        state.hear_leader(leader)
        return
    interval_ns = state.heartbeat_interval_ns
    doubtful = hint[0] == leader and state.now_ns - hint[1] < interval_ns
    if doubtful and state.leader is None:
        state.note(Code.LEADER_DOUBTED, leader=leader)
    state.hear_leader(leader)
    if doubtful:
        state.heard_ns = None
        state.hint_retries = HINT_RETRIES_MAX
        state.election_ns = state.now_ns + 2 * interval_ns + state.rank * _rank_step_ns(state)
    else:
        state.hint = None


def on_pre_vote(state: State, sender: NodeId, message: PreVote) -> None:
    if message.term <= state.term:
        refusal = Code.PRE_VOTE_REFUSED_TERM
    elif not state.up_to_date(message.last_index, message.last_term):
        refusal = Code.PRE_VOTE_REFUSED_LOG
    elif not state.hears_leader():
        state.note(Code.PRE_VOTE_GRANTED, to=sender, asked=message.term)
        state.out.send_after(sender, PreVoteReply(message.term, granted=True))
        return
    elif state.role is Role.FOLLOWER and sender in state.membership.everyone:
        state.note(Code.PRE_VOTE_PARKED, of=sender, asked=message.term)
        state.parked[sender] = Parked(message, state.now_ns + _parking_ns(state))
        return
    else:
        refusal = Code.PRE_VOTE_REFUSED_STICKY
    _refuse_pre_vote(state, sender, message, refusal)


def _refuse_pre_vote(state: State, sender: NodeId, message: PreVote, refusal: Code) -> None:
    state.note(refusal, to=sender, asked=message.term)
    state.out.send_after(sender, PreVoteReply(state.term, granted=False))


def refuse_parked(state: State) -> None:
    """No news came in time: the leader lives, as far as this voter can tell."""
    over = [sender for sender, parked in state.parked.items() if parked.until_ns <= state.now_ns]
    for sender in over:
        _refuse_pre_vote(state, sender, state.parked.pop(sender).request, Code.PRE_VOTE_REFUSED_STICKY)


def on_pre_vote_reply(state: State, sender: NodeId, message: PreVoteReply) -> None:
    if state.role is Role.PRE_CANDIDATE and message.granted and message.term == state.term + 1:
        state.votes[sender] = True
        _tally_pre_votes(state)


def _tally_pre_votes(state: State) -> None:
    if outcome(state.membership, state.votes) is Outcome.WON:
        state.note(Code.PRE_VOTE_WON, votes=len(state.votes))
        campaign(state, handed_over=False)


def campaign(state: State, *, handed_over: bool) -> None:
    """Take the next term, vote for oneself and ask the others."""
    state.become_candidate()
    _set_timer(state, max(HINT_VOTE_WAIT_MIN_NS, 10 * state.round_trip_ns))
    request = Vote(state.term, state.log.last_index, state.log.last_term, handed_over)
    for peer in state.peers():
        state.out.send_after(peer, request)  # the term and the own vote are durable first


def on_timeout_now(state: State) -> None:
    """The leader of this term asks this voter to take over: its followers will vote although they hear it."""
    if state.role is not Role.LEADER and state.electable:
        state.note(Code.CAMPAIGN_HANDED_OVER, last=state.log.last_index)
        campaign(state, handed_over=True)


def on_vote(state: State, sender: NodeId, message: Vote) -> None:
    """The message's term is mine by now (see replica.py). A learner votes too: it may have been promoted without knowing."""
    if state.vote not in (None, sender):
        refusal = Code.VOTE_REFUSED_TAKEN
    elif not state.up_to_date(message.last_index, message.last_term):
        refusal = Code.VOTE_REFUSED_LOG
    else:
        state.vote = sender
        state.reset_election_timer()
        state.note(Code.VOTE_GRANTED, to=sender)
        state.out.send_after(sender, VoteReply(state.term, granted=True))
        return
    state.note(refusal, to=sender, voted=state.vote)
    state.out.send_after(sender, VoteReply(state.term, granted=False))


def on_vote_reply(state: State, sender: NodeId, message: VoteReply) -> None:
    if state.role is Role.CANDIDATE:
        state.votes[sender] = message.granted
        tally_votes(state)


def tally_votes(state: State) -> None:
    match outcome(state.membership, state.votes):
        # The others' grants may overtake the own vote's advance(); a leader's term and vote are durable, so wait for it.
        case Outcome.WON if state.me in state.votes:
            state.become_leader()
            replication.on_heartbeat_timeout(state)
        case Outcome.LOST:
            state.become_follower(state.term, Code.VOTE_LOST)
        case _:
            pass


def keeps_quorum(state: State) -> bool:
    """Check-quorum: a leader that no quorum answered within the minimum election timeout stops leading (P52)."""
    heard = {peer: progress.heard_ns for peer, progress in state.progress.items()}
    since_ns = reached(state.membership, heard | {state.me: state.now_ns})
    state.quorum_check_ns = since_ns + state.election_min_ns
    if state.now_ns < state.quorum_check_ns:
        return True
    state.become_follower(state.term, Code.QUORUM_LOST)
    return False
