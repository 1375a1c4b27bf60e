"""The events that an observer of a core receives, under the names of etcd/raft's trace.

Owns the names, and which kinds of message have one. Writes nothing: that is the observer's business.
"""

from __future__ import annotations

from raft.core.changes import AnyConfChange
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    RequestVote,
    VoteReply,
)
from raft.core.tracker import Configuration

INIT_STATE = "InitState"
APPLY_CONF_CHANGE = "ApplyConfChange"
BECOME_FOLLOWER = "BecomeFollower"
BECOME_CANDIDATE = "BecomeCandidate"
BECOME_LEADER = "BecomeLeader"
REPLICATE = "Replicate"
CHANGE_CONF = "ChangeConf"
COMMIT = "Commit"
READY = "Ready"

_SUFFIX: dict[type, str] = {
    AppendEntries: "AppendEntriesRequest",
    Heartbeat: "AppendEntriesRequest",
    InstallSnapshot: "AppendEntriesRequest",
    AppendReply: "AppendEntriesResponse",
    HeartbeatReply: "AppendEntriesResponse",
    RequestVote: "RequestVoteRequest",
    VoteReply: "RequestVoteResponse",
}
SEND_EVENTS = {kind: f"Send{suffix}" for kind, suffix in _SUFFIX.items()}
RECEIVE_EVENTS = {kind: f"Receive{suffix}" for kind, suffix in _SUFFIX.items()}

Detail = Message | AnyConfChange | Configuration | None
