"""Faults of votes and campaigns."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import EXPLORER, FIVE, TOLD, WORLDS, Mutant

ELECTION: Final = "consensus/raft/election.py"
REPLICA: Final = "consensus/raft/replica.py"
STATE: Final = "consensus/raft/state.py"

ELECTIONS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a voter votes twice in a term",
        ELECTION,
        "    if state.vote not in (None, sender):",
        "    if False:",
        promises=("P51",),
    ),
    Mutant(
        "logs are compared by their length only",
        STATE,
        "return (last_term, last_index) >= (self.log.last_term, self.log.last_index)",
        "return last_index >= self.log.last_index",
    ),
    Mutant(
        "a vote goes to whoever asks, whatever its log",
        STATE,
        "return (last_term, last_index) >= (self.log.last_term, self.log.last_index)",
        "return True",
    ),
    Mutant(
        "a vote is given although a leader is heard",
        REPLICA,
        "if isinstance(message, Vote) and state.hears_leader() and not message.handed_over:",
        "if False:",
        TOLD,
        promises=("P53",),
    ),
    Mutant(
        "a pre-vote is granted although a leader is heard",
        ELECTION,
        "    elif not state.hears_leader():",
        "    elif True:",
        TOLD,
        promises=("P52", "P53"),
    ),
    Mutant(
        "a pre-vote bumps the term",
        REPLICA,
        "            election.on_pre_vote(state, sender, message)\n",
        "            state.become_follower(max(message.term, state.term), Code.HIGHER_TERM)\n"
        "            election.on_pre_vote(state, sender, message)\n",
        promises=("P52",),
    ),
    Mutant(
        "there is no pre-vote",
        ELECTION,
        "        state.out.send_now(peer, request)\n    _tally_pre_votes(state)",
        "        state.out.send_now(peer, request)\n    campaign(state, handed_over=False)",
        TOLD,
        promises=("P52",),
    ),
    Mutant(
        "a leader without a quorum leads on",
        ELECTION,
        "    if state.now_ns < state.quorum_check_ns:",
        "    if True:",
        (FIVE, *TOLD),
        promises=("P52",),
    ),
    Mutant(
        "a leader of an older term is not told the newer one",
        REPLICA,
        "                state.out.send_after(sender, HeartbeatReply(state.term, 0))\n",
        "",
        promises=("P52",),
    ),
    Mutant(
        "messages of an older term count",
        REPLICA,
        "                state.out.send_after(sender, HeartbeatReply(state.term, 0))\n            return\n",
        "                state.out.send_after(sender, HeartbeatReply(state.term, 0))\n",
    ),
    Mutant(
        "pre-votes count as votes",
        STATE,
        "        self.votes = {}  # the own vote counts once it is durable",
        "        self.votes.pop(self.me, None)",
        (EXPLORER, *WORLDS),
    ),
    Mutant(
        "the own vote counts before it is durable",
        STATE,
        "        self.votes = {}  # the own vote counts once it is durable",
        "        self.votes = {self.me: True}",
        promises=("P51",),
    ),
    Mutant(
        "a vote request outlives its campaign",
        STATE,
        "        self.out.withdraw(Vote)",
        "        pass",
        TOLD,
        promises=("P51",),
    ),
    Mutant(
        "four voters are ruled by two",
        "consensus/quorum.py",
        "return len(voters) // 2 + 1",
        "return (len(voters) + 1) // 2",
    ),
    Mutant(
        "a parked pre-vote is forgotten",
        ELECTION,
        "        state.parked[sender] = Parked(",
        "        _ = Parked(",
        TOLD,
    ),
    Mutant(
        "a parked pre-vote is never refused",
        ELECTION,
        "if parked.until_ns <= state.now_ns]",
        "if False]",
        (FIVE, *TOLD),
    ),
    Mutant(
        "a leader that is said to be gone stays trusted",
        ELECTION,
        "    state.forget_leader()\n    state.hint",
        "    state.hint",
        TOLD,
    ),
)
