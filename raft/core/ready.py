"""What a core asks its caller to do, as one value, and what follows when that is done.

Owns the shape of a Ready, the order in which it is carried out, and the handlers of both storage replies,
which are the same in every role. The order of messages is: first those that may leave at once, then those
that wait for the disk, then the work for the storage threads.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from raft.core import membership, trace
from raft.core.errors import ProposalDropped
from raft.core.messages import (
    DurableReply,
    Message,
    StorageAppend,
    StorageAppendReply,
    StorageApply,
    StorageApplyReply,
)
from raft.core.state import RaftState
from raft.core.types import (
    APPEND_THREAD,
    APPLY_THREAD,
    Entry,
    EntryKind,
    HardState,
    Index,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)


class Ready(msgspec.Struct, gc=False):
    """One batch of effects. Without asynchronous writes the order is: save, send, apply, advance.

    With asynchronous writes `messages` holds everything: a StorageAppend asks for saving, a StorageApply
    for applying, and `entries`, `snapshot` and `committed` are for information only.
    """

    soft_state: SoftState | None
    """The leader and this node's role, if one of them changed."""
    hard_state: HardState | None
    """To be saved, if it changed."""
    read_states: list[ReadState]
    """Confirmed reads."""
    entries: list[Entry]
    """To be saved, replacing what is stored at their indexes and above."""
    snapshot: Snapshot | None
    """To be saved, replacing the whole log, and restored by the machine."""
    committed: list[Entry]
    """To be applied, in order; without asynchronous writes they are among those to be saved first."""
    messages: list[Message]
    """To be sent; without asynchronous writes not before the rest is durable."""
    must_sync: bool
    """Whether saving has to reach the disk: a change of the commit index alone need not."""


def has_ready(raft: RaftState) -> bool:
    """Tell whether `ready` would return anything to do."""
    log, previous = raft.log, raft.previous_hard_state
    if (
        raft.messages
        or raft.after_append
        or log.committed != previous.commit
        or log.offset_in_progress <= log.last
        or raft.read_states
        or raft.term != previous.term
        or raft.vote != previous.vote
        or raft.leader != raft.previous_soft_state.leader
        or raft.role is not raft.previous_soft_state.role
    ):
        return True
    if log.applying < log.committed and log.has_next_committed():
        return True
    return log.unstable_snapshot is not None and not log.snapshot_in_progress


def take_ready(raft: RaftState) -> Ready:
    """Return what is to be done now, and note it as begun.

    Without asynchronous storage writes, `advance` must follow before the next one.
    """
    log, previous, previous_soft = raft.log, raft.previous_hard_state, raft.previous_soft_state
    soft_state: SoftState | None = None
    if raft.leader != previous_soft.leader or raft.role is not previous_soft.role:
        soft_state = raft.previous_soft_state = SoftState(raft.leader, raft.role)
    hard_state: HardState | None = None
    must_sync = raft.term != previous.term or raft.vote != previous.vote
    if must_sync or log.committed != previous.commit:
        hard_state = raft.previous_hard_state = HardState(raft.term, raft.vote, log.committed)
    entries: list[Entry] = []
    if log.offset_in_progress <= log.last:
        entries = log.next_unstable()
        must_sync = True
    committed: list[Entry] = []
    if log.applying < log.committed:
        committed = log.next_committed()
    snapshot = None if log.unstable_snapshot is None else log.next_snapshot()
    read_states, raft.read_states = raft.read_states, []
    messages, raft.messages = raft.messages, []
    waiting, raft.after_append = raft.after_append, []

    # Also made when only earlier writes are in progress: if an entry is overwritten and appended again in
    # between, the acknowledgement of the first write no longer counts, and this one does.
    append_reply = apply_reply = None
    if log.unstable:
        append_reply = StorageAppendReply(
            APPEND_THREAD, raft.id, raft.term, log.last_term, log.last, snapshot
        )
    elif snapshot is not None:
        append_reply = StorageAppendReply(APPEND_THREAD, raft.id, raft.term, snapshot=snapshot)
    if committed:
        apply_reply = StorageApplyReply(APPLY_THREAD, raft.id, 0, committed, log.accept_applying(committed))
    if raft.config.async_storage_writes:
        _add_storage_work(raft, messages, entries, hard_state, snapshot, waiting, append_reply)
        if apply_reply is not None:
            size_bytes = apply_reply.size.total
            messages.append(StorageApply(raft.id, APPLY_THREAD, 0, committed, [apply_reply], size_bytes))
    else:
        steps = raft.steps_on_advance
        assert not steps, "a Ready was handed out and has not been advanced"
        for message in waiting:
            if message.to == raft.id:
                steps.append(message)
            else:
                messages.append(message)
        if append_reply is not None:
            steps.append(append_reply)
        if apply_reply is not None:
            steps.append(apply_reply)
    if entries or snapshot is not None:
        log.accept_unstable()
    if raft.observer is not None:
        raft.notify(trace.READY)
    return Ready(soft_state, hard_state, read_states, entries, snapshot, committed, messages, must_sync)


def _add_storage_work(
    raft: RaftState,
    messages: list[Message],
    entries: list[Entry],
    hard_state: HardState | None,
    snapshot: Snapshot | None,
    waiting: list[DurableReply],
    append_reply: StorageAppendReply | None,
) -> None:
    if not (entries or hard_state or snapshot or waiting):
        return
    # Acknowledgements come before the reply that removes the entries from the unstable log.
    responses: list[DurableReply | StorageAppendReply] = [*waiting]
    if append_reply is not None:
        responses.append(append_reply)
    term = hard_state.term if hard_state is not None else 0
    size_bytes = raft.log.size_of(entries).total if entries else 0
    messages.append(
        StorageAppend(raft.id, APPEND_THREAD, term, entries, hard_state, snapshot, responses, size_bytes)
    )


def on_storage_append_reply(raft: RaftState, message: StorageAppendReply) -> None:
    """Note what is durable."""
    if message.last_index:
        raft.log.stable_to(message.last_index, message.last_term)
    if message.snapshot is not None:
        snapshot_saved(raft, message.snapshot)


def on_storage_apply_reply(raft: RaftState, message: StorageApplyReply) -> None:
    """Note what has been applied."""
    entries = message.entries
    if not entries:
        return
    applied_to(raft, entries[-1].index, message.size.total)
    if raft.uncommitted_size:
        raft.uncommitted_size = max(0, raft.uncommitted_size - message.size.payload)


def snapshot_saved(raft: RaftState, snapshot: Snapshot) -> None:
    """Note that a received snapshot is durable and restored."""
    raft.log.stable_snapshot_to(snapshot.index)
    applied_to(raft, snapshot.index, 0)


def applied_to(raft: RaftState, index: Index, size_bytes: int) -> None:
    """Note what has been applied, and leave a joint configuration that is left automatically."""
    log = raft.log
    if index < log.applied:
        index = log.applied
    log.applied_to(index, size_bytes)
    if 0 < raft.handover_index <= index:
        membership.quorum_knows_of_removal(raft)
    auto_leave = raft.tracker.configuration.auto_leave
    if auto_leave and index >= raft.pending_conf_index and raft.role is Role.LEADER:
        # During a transfer it is dropped; the next leader tries again.
        with suppress(ProposalDropped):
            membership.append_proposed(raft, [Entry(0, 0, EntryKind.CONF_CHANGE_V2)])
