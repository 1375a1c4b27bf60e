"""The part of the dispatch tables that is the same in every role: votes, and replies of storage."""

from __future__ import annotations

from raft.core import elections, storage_replies
from raft.core.messages import PreVote, RequestVote, StorageAppendReply, StorageApplyReply
from raft.core.state import Handlers

HANDLERS: Handlers = {
    RequestVote: elections.on_request_vote,
    PreVote: elections.on_pre_vote,
    StorageAppendReply: storage_replies.on_storage_append_reply,
    StorageApplyReply: storage_replies.on_storage_apply_reply,
}
