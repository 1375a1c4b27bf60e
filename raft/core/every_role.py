"""What every role does alike: vote, and take note of what storage has done.

Owns the part of the dispatch tables that is the same in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from raft.core import elections
from raft.core.messages import PreVote, RequestVote, StorageAppendReply, StorageApplyReply
from raft.core.types import entries_size, payload_size

if TYPE_CHECKING:
    from raft.core.raft import Raft

Handlers = Mapping[type, "Callable[[Raft, Any], None]"]


def on_storage_append_reply(raft: Raft, message: StorageAppendReply) -> None:
    """Note what is durable."""
    if message.last_index:
        raft.log.stable_to(message.last_index, message.last_term)
    if message.snapshot is not None:
        raft.snapshot_saved(message.snapshot)


def on_storage_apply_reply(raft: Raft, message: StorageApplyReply) -> None:
    """Note what has been applied."""
    entries = message.entries
    if not entries:
        return
    raft.applied_to(entries[-1].index, entries_size(entries))
    if raft.uncommitted_size:
        raft.uncommitted_size = max(0, raft.uncommitted_size - payload_size(entries))


HANDLERS: Handlers = {
    RequestVote: elections.on_request_vote,
    PreVote: elections.on_pre_vote,
    StorageAppendReply: on_storage_append_reply,
    StorageApplyReply: on_storage_apply_reply,
}
