"""The moments that an observer of a core is told about, under the names of etcd/raft's trace.

Owns the names and which message kinds have one. Writes nothing: what becomes of an event is the
observer's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

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

if TYPE_CHECKING:
    from raft.core.raft import Raft

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


class Observer(Protocol):
    """Told of each event while the core is in the state to be recorded; must not change the core."""

    def __call__(self, event: str, raft: Raft, detail: Detail) -> None:
        """Record an event; `detail` is a message, the change or the new configuration, by the event."""
        ...
