"""Why a branch was taken: the codes of every note that Raft emits, each with its meaning in one line. PURE."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    def __new__(cls, value: str, meaning: str) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    meaning: str

    CAMPAIGN_TIMEOUT = "campaign_timeout", "no leader was heard for an election timeout: pre-vote"
    CAMPAIGN_HINT = "campaign_hint", "the leader's process closed its connection: pre-vote at once"
    CAMPAIGN_HANDED_OVER = (
        "campaign_handed_over",
        "the leader asks me to take over: campaign without a pre-vote",
    )
    CAMPAIGN_WAITS_FOR_DISK = "campaign_waits_for_disk", "the disk has not answered for an election timeout"
    LEADER_FORGOTTEN = "leader_forgotten", "a hint says that the leader's process is gone"
    PRE_VOTE_GRANTED = "pre_vote_granted", "would vote for this candidate; nothing was promised"
    PRE_VOTE_PARKED = (
        "pre_vote_parked",
        "a leader is heard: refused, unless its process is seen to die very soon",
    )
    PRE_VOTE_REFUSED_STICKY = (
        "pre_vote_refused_sticky",
        "a leader was heard within the minimum election timeout",
    )
    PRE_VOTE_REFUSED_LOG = "pre_vote_refused_log", "the candidate's log is behind mine"
    PRE_VOTE_REFUSED_TERM = "pre_vote_refused_term", "the candidate asks for a term that is not above mine"
    PRE_VOTE_WON = "pre_vote_won", "a quorum would vote for me: campaign for real"
    VOTE_GRANTED = "vote_granted", "voted; leaves once the vote is durable"
    VOTE_REFUSED_STICKY = "vote_refused_sticky", "a leader was heard within the minimum election timeout"
    VOTE_REFUSED_TAKEN = "vote_refused_taken", "voted for another in this term"
    VOTE_REFUSED_LOG = "vote_refused_log", "the candidate's log is behind mine"
    VOTE_LOST = "vote_lost", "a quorum refused: wait for the next timeout"
    BECAME_LEADER = "became_leader", "a quorum voted for me"
    SERVING = "serving", "the term's own no-op is applied here"
    HIGHER_TERM = "higher_term", "a message of a higher term: follow"
    LEADER_HEARD = "leader_heard", "the leader of this term made itself known: follow"
    LEADER_DOUBTED = (
        "leader_doubted",
        "heard from a leader right after news of its death: it may have been on its way",
    )
    DISK_STALLED = "disk_stalled", "the own disk did not answer for an election timeout: step down"
    REMOVED = "removed", "the membership without me is committed: step down"
    MEMBERSHIP_ENTERED = "membership_entered", "a membership is in the log, and in force"
    MEMBERSHIP_LEFT = "membership_left", "the change is committed: the joint membership is left"
    MEMBERSHIP_RESTORED = (
        "membership_restored",
        "a membership was truncated: the one before is in force again",
    )
    MEMBERSHIP_REFUSED = "membership_refused", "this change is not possible now; the facts say why"
    TRANSFER_STARTED = "transfer_started", "no proposals until the target has everything and takes over"
    TRANSFER_SENT = "transfer_sent", "the target has everything: it is asked to campaign"
    TRANSFER_ABORTED = "transfer_aborted", "the target did not take over in time: proposals resume"
    TRANSFER_DONE = "transfer_done", "the target leads"
    TRANSFER_REFUSED = "transfer_refused", "not possible now; the facts say why"
    PREEMPTED = "preempted", "a voter of higher priority has caught up: leadership is handed to it"
    SNAPSHOT_TAKEN = "snapshot_taken", "the log up to here is forgotten"
    SNAPSHOT_REFUSED = "snapshot_refused", "older than the one before, or not applied yet: ignored"
    SNAPSHOT_SENT = "snapshot_sent", "what a follower lacks is forgotten here: it is sent the snapshot"
    SNAPSHOT_CHUNK_BAD = (
        "snapshot_chunk_bad",
        "a piece or the whole does not match its checksum, or is too large",
    )
    SNAPSHOT_KEPT_SUFFIX = (
        "snapshot_kept_suffix",
        "the log agrees with the snapshot: only the commit index moves",
    )
    SNAPSHOT_INSTALLED = "snapshot_installed", "the snapshot takes the place of the log"
    SNAPSHOT_DISCARDED = "snapshot_discarded", "half of an older snapshot is thrown away"
    QUORUM_LOST = "quorum_lost", "no quorum answered within an election timeout: step down"
    LOWER_TERM_ANSWERED = (
        "lower_term_answered",
        "a leader of a lower term is told mine, so that it steps down",
    )
    APPEND_CONFLICT = "append_conflict", "own entries contradict the leader's: truncated"
    APPEND_REFUSED = "append_refused", "the log does not reach or does not match the leader's"
    REFUSAL_STALE = "refusal_stale", "a refusal of an append that was overtaken: ignored"
    FOLLOWER_LOST_ENTRIES = (
        "follower_lost_entries",
        "a follower refuses what it had acknowledged: no longer replicated to",
    )
    COMMIT_WAITS_FOR_OWN_TERM = "commit_waits_for_own_term", "a quorum holds it, but it is of an older term"
    PROPOSAL_REFUSED = "proposal_refused", "not the leader, or too many uncommitted entries"
    READ_REFUSED = "read_refused", "not the leader, or too many reads waiting"
    READ_WAITS = "read_waits", "nothing of the own term is committed yet"
    OWN_APPEND_OVERTAKEN = (
        "own_append_overtaken",
        "what became durable was truncated meanwhile: not acknowledged",
    )
