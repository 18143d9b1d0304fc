"""Handing leadership over: to a named voter, or to one that should rather lead. PURE. Dissertation 3.10.

The leader takes no proposals, waits until the target has everything, then asks it to campaign; its followers vote although
they hear a leader. After an election timeout the transfer has failed and proposals resume (P54). No read or lease rests
on time inside Raft, so there is no right to be given up first.
"""

from __future__ import annotations

from incumbent.consensus.api import Role, Why
from incumbent.consensus.raft.messages import TimeoutNow
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Mode
from incumbent.consensus.raft.state import State, Transfer
from incumbent.ids import NodeId, RequestId


def request_transfer(state: State, request: RequestId, to: NodeId) -> None:
    why = _cannot_transfer(state, to)
    if why is not None:
        state.note(Code.TRANSFER_REFUSED, request=request, to=to, why=why.value)
        state.out.refuse(request, why)
    elif to == state.me:
        state.out.transferred.append(request)
    else:
        _start(state, request, to)


def _cannot_transfer(state: State, to: NodeId) -> Why | None:
    if state.role is not Role.LEADER:
        return Why.NOT_LEADER
    if state.transfer is not None:
        return Why.TRANSFERRING
    if state.membership.joint:
        return Why.CHANGING
    return None if to in state.membership.electable else Why.INVALID


def _start(state: State, request: RequestId | None, to: NodeId) -> None:
    state.note(Code.TRANSFER_STARTED, to=to)
    state.transfer = Transfer(request, to, state.term, state.now_ns + state.election_min_ns)
    on_progress(state, to)


def on_progress(state: State, peer: NodeId) -> None:
    """`peer` has acknowledged something: ask it to campaign if it is the target and has everything."""
    transfer = state.transfer
    if transfer is None or transfer.to != peer or state.role is not Role.LEADER:
        return
    if state.progress[peer].match == state.log.last_index:
        state.note(Code.TRANSFER_SENT, to=peer)
        state.out.send_now(peer, TimeoutNow(state.term))


def settle(state: State) -> None:
    """Decide a transfer whose end can be seen: the target leads, another does, or time is up."""
    transfer = state.transfer
    assert transfer is not None
    over = state.leader is not None and state.term > transfer.term  # whoever leads now leads a later term
    if over and state.leader == transfer.to:
        _end(state, transfer, Code.TRANSFER_DONE)
    elif over or state.now_ns >= transfer.until_ns:
        _end(state, transfer, Code.TRANSFER_ABORTED)


def _end(state: State, transfer: Transfer, code: Code) -> None:
    state.note(code, to=transfer.to, leader=state.leader)
    state.transfer = None
    if transfer.request is None:
        return
    if code is Code.TRANSFER_DONE:
        state.out.transferred.append(transfer.request)
    else:
        state.out.refuse(transfer.request, Why.TRANSFER_FAILED)


def prefer(state: State) -> None:
    """Give leadership to a voter of higher priority that has caught up, once per `preemption_delay_ns` at most (P43)."""
    if state.now_ns < state.preemption_ns or state.transfer is not None or state.membership.joint:
        return
    better = [
        (progress.priority, peer)
        for peer, progress in state.progress.items()
        if progress.priority > state.priority
        and peer in state.membership.electable
        and progress.mode is Mode.REPLICATE
        and progress.match >= state.commit
        and state.now_ns - progress.heard_ns < state.election_min_ns
    ]
    if better and state.commit >= state.term_start:
        to = max(better)[1]
        state.preemption_ns = state.now_ns + state.timing.preemption_delay_ns
        state.note(Code.PREEMPTED, to=to)
        _start(state, None, to)
