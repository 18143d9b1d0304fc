"""Who may vote for whom, and when a campaign starts. PURE.

Pre-vote: dissertation 9.6. Stickiness: 4.2.3. Check-quorum: 6.2. Votes: Raft section 5.2, 5.4.1.
"""

from __future__ import annotations

from typing import Final

from incumbent.consensus.api import Role
from incumbent.consensus.raft import replication
from incumbent.consensus.raft.messages import PreVote, PreVoteReply, Vote, VoteReply
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.state import State
from incumbent.ids import NodeId, Term

HINT_DELAY_MAX_NS: Final = 20_000_000
HINT_RETRIES_MAX: Final = 5
"""After a hint the others may not have noticed yet: ask this often in quick succession, then wait a full timeout."""


def on_election_timeout(state: State) -> None:
    """No leader for long enough: ask whether a campaign would win, without disturbing anybody (pre-vote)."""
    retries = state.hint_retries
    state.note(Code.CAMPAIGN_HINT if retries else Code.CAMPAIGN_TIMEOUT, last=state.log.last_index)
    state.become_pre_candidate()
    state.reset_election_timer()
    if retries > 1:
        _campaign_soon(state, retries - 1)
    request = PreVote(Term(state.term + 1), state.log.last_index, state.log.last_term)
    for peer in state.peers:
        state.out.send_now(peer, request)
    _tally_pre_votes(state)


def on_leader_lost(state: State, peer: NodeId) -> None:
    """The connection from the leader's process closed: a hint, so forget it and ask around at once. Safe, because votes
    decide; harmless when false, because the others still hear the leader and its next heartbeat ends this."""
    if state.role is Role.FOLLOWER and state.leader == peer:
        state.note(Code.LEADER_FORGOTTEN, leader=peer)
        state.leader, state.heard_ns = None, None
        _campaign_soon(state, HINT_RETRIES_MAX)


def _campaign_soon(state: State, retries: int) -> None:
    state.hint_retries = retries
    state.election_ns = state.now_ns + state.random.randrange(HINT_DELAY_MAX_NS)


def on_pre_vote(state: State, sender: NodeId, message: PreVote) -> None:
    if message.term <= state.term:
        refusal = Code.PRE_VOTE_REFUSED_TERM
    elif state.hears_leader():
        refusal = Code.PRE_VOTE_REFUSED_STICKY
    elif not state.up_to_date(message.last_index, message.last_term):
        refusal = Code.PRE_VOTE_REFUSED_LOG
    else:
        state.note(Code.PRE_VOTE_GRANTED, to=sender, asked=message.term)
        state.out.send_after(sender, PreVoteReply(message.term, granted=True))
        return
    state.note(refusal, to=sender, asked=message.term)
    state.out.send_after(sender, PreVoteReply(state.term, granted=False))


def on_pre_vote_reply(state: State, sender: NodeId, message: PreVoteReply) -> None:
    if state.role is Role.PRE_CANDIDATE and message.granted and message.term == state.term + 1:
        state.votes[sender] = True
        _tally_pre_votes(state)


def _tally_pre_votes(state: State) -> None:
    if len(state.votes) < state.membership.quorum:
        return
    state.note(Code.PRE_VOTE_WON, votes=len(state.votes))
    state.become_candidate()
    request = Vote(state.term, state.log.last_index, state.log.last_term)
    for peer in state.peers:
        state.out.send_after(peer, request)  # the term and the own vote are durable first


def on_vote(state: State, sender: NodeId, message: Vote) -> None:
    """The message's term is mine by now (see replica.py)."""
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
    granted = sum(state.votes.values())
    if granted >= state.membership.quorum:
        state.become_leader()
        replication.heartbeat(state)
    elif len(state.votes) - granted >= state.membership.quorum:
        state.become_follower(state.term, None, Code.VOTE_LOST)


def keeps_quorum(state: State) -> bool:
    """Check-quorum: a leader that no quorum answered within an election timeout stops leading (P52)."""
    active = 1 + sum(progress.active for progress in state.progress.values())
    if active < state.membership.quorum:
        state.become_follower(state.term, None, Code.QUORUM_LOST)
        return False
    for progress in state.progress.values():
        progress.active = False
    state.quorum_check_ns = state.now_ns + state.timing.election_timeout_min_ns
    return True
