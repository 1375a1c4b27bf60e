"""A core's events as the lines that etcd/raft's TLA+ trace specification reads.

Owns the file and the names in it. One file serves all nodes of a machine: each line is one
O_APPEND write, made while its event happens and so before any message that it causes can arrive,
which keeps the file in causal order. Knows nothing of why an event happens; see raft.core.trace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from raft.core import trace
from raft.core.changes import AnyConfChange, ConfChangeKind
from raft.core.messages import (
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    RequestVote,
    VoteReply,
)
from raft.core.tracker import Configuration
from raft.core.types import Role

if TYPE_CHECKING:
    from raft.core.state import RaftState

_TIME_DIGITS = 20  # Fixed width, so that lines sort by time as text.

_ROLES = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
_TYPES: Mapping[type, str] = {
    AppendEntries: "MsgApp",
    AppendReply: "MsgAppResp",
    Heartbeat: "MsgHeartbeat",
    HeartbeatReply: "MsgHeartbeatResp",
    InstallSnapshot: "MsgSnap",
    RequestVote: "MsgVote",
    VoteReply: "MsgVoteResp",
}
_ACTIONS = {
    ConfChangeKind.ADD_VOTER: "AddNewServer",
    ConfChangeKind.REMOVE: "RemoveServer",
    ConfChangeKind.ADD_LEARNER: "AddLearner",
}


class TraceFile:
    """An observer for a core that writes a JSON line for each event.

    A write that fails ends the node: a trace with holes would convict the innocent.
    """

    def __init__(self, path: Path, now_ns: Callable[[], int]) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._now_ns = now_ns

    def __call__(self, event: str, raft: RaftState, detail: trace.Detail) -> None:
        """Write one line."""
        line = {
            "level": "debug",
            "ts": str(self._now_ns()).zfill(_TIME_DIGITS),
            "caller": "raft/core:1",
            "msg": "trace",
            "tag": "trace",
            "event": _event(event, raft, detail),
        }
        os.write(self._fd, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _event(name: str, raft: RaftState, detail: trace.Detail) -> dict[str, Any]:
    configuration = raft.tracker.configuration
    event: dict[str, Any] = {
        "name": name,
        "nid": str(raft.id),
        "state": {"term": raft.term, "vote": str(raft.vote), "commit": raft.log.committed},
        "role": _ROLES[raft.role],
        "log": raft.log.last,
        "conf": [_names(configuration.voters), _names(configuration.outgoing)],
    }
    if name == trace.APPLY_CONF_CHANGE:
        assert isinstance(detail, Configuration)
        event["prop"] = {"cc": {"newconf": _names(detail.voters)} if detail.voters else {}}
    elif name == trace.CHANGE_CONF:
        event["prop"] = {"cc": {"changes": _changes(detail)}}
    elif detail is not None:
        event["msg"] = _message(detail)
        if name == trace.SEND_EVENTS[AppendEntries] and type(detail) is AppendEntries:
            own = raft.tracker.progress.get(raft.id)
            if own is not None:
                event["prop"] = {"match": own.match, "next": own.next}
    return event


def _names(ids: frozenset[int]) -> list[str]:
    return [str(node) for node in sorted(ids)]


def _changes(change: Any) -> list[dict[str, str]]:
    whole: AnyConfChange = change
    return [
        {"nid": str(single.node), "action": _ACTIONS[single.kind]}
        for single in whole.as_v2().changes
        if single.kind in _ACTIONS
    ]


def _message(message: Any) -> dict[str, Any]:
    """Every field of every kind: those that a kind lacks are zero, as in the specification's reader."""
    log_term, index, entries = 0, 0, 0
    if type(message) is AppendEntries:
        log_term, index, entries = message.previous_term, message.previous_index, len(message.entries)
    elif type(message) is AppendReply:
        log_term, index = message.hint_term, message.index
    elif type(message) is RequestVote:
        log_term, index = message.last_term, message.last_index
    elif type(message) is InstallSnapshot:
        entries = message.snapshot.index
    return {
        "type": _TYPES[type(message)],
        "term": message.term,
        "from": str(message.sender),
        "to": str(message.to),
        "entries": entries,
        "logTerm": log_term,
        "index": index,
        "commit": getattr(message, "commit", 0),
        "vote": "0",
        "reject": getattr(message, "rejected", False),
        "rejectHint": getattr(message, "hint_index", 0),
    }
