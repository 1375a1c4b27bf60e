"""Readies, messages, entries, progress and configurations as etcd/raft prints them.

Owns these forms and nothing else: to print is never to change.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from raft.core import messages as m
from raft.core.changes import ConfChangeKind, decode_conf_change
from raft.core.errors import ConfChangeRefused
from raft.core.ready import Ready
from raft.core.status import ProgressStatus
from raft.core.types import (
    APPEND_THREAD,
    APPLY_THREAD,
    NO_NODE,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Index,
    NodeId,
    Role,
    Snapshot,
    Term,
)
from tests.transcripts.golang import boolean, quoted, slice_of

ROLES = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
PROGRESS_STATES = {"probe": "StateProbe", "replicate": "StateReplicate", "snapshot": "StateSnapshot"}
ENTRY_KINDS = {
    EntryKind.NORMAL: "EntryNormal",
    EntryKind.CONF_CHANGE: "EntryConfChange",
    EntryKind.CONF_CHANGE_V2: "EntryConfChangeV2",
}
CHANGE_LETTERS = {
    ConfChangeKind.ADD_VOTER: "v",
    ConfChangeKind.REMOVE: "r",
    ConfChangeKind.UPDATE: "u",
    ConfChangeKind.ADD_LEARNER: "l",
}
TARGETS = {NO_NODE: "None", APPEND_THREAD: "AppendThread", APPLY_THREAD: "ApplyThread"}


@dataclass(frozen=True, slots=True)
class Form:
    """What is printed of a message besides its name, sender, recipient and term."""

    log_term: Term = 0
    index: Index = 0
    rejected: bool = False
    hint: Index = 0
    commit: Index = 0
    vote: NodeId = NO_NODE
    entries: Sequence[Entry] = ()
    snapshot: Snapshot | None = None
    responses: Sequence[m.Message] = ()


def _context(context: bytes) -> list[Entry]:
    return [Entry(0, 0, EntryKind.NORMAL, context)]


def _storage_append(message: m.StorageAppend) -> Form:
    hard_state = message.hard_state or HardState()
    return Form(
        commit=hard_state.commit,
        vote=hard_state.vote,
        entries=message.entries,
        snapshot=message.snapshot,
        responses=message.responses,
    )


def _append_reply(message: m.AppendReply) -> Form:
    return Form(message.hint_term, message.index, message.rejected, message.hint_index)


def _append_entries(message: m.AppendEntries) -> Form:
    return Form(message.previous_term, message.previous_index, commit=message.commit, entries=message.entries)


FORMS: Mapping[type[m.Message], tuple[str, Callable[..., Form]]] = {
    m.PreVote: ("MsgPreVote", lambda message: Form(message.last_term, message.last_index)),
    m.PreVoteReply: ("MsgPreVoteResp", lambda message: Form(rejected=message.rejected)),
    m.RequestVote: ("MsgVote", lambda message: Form(message.last_term, message.last_index)),
    m.VoteReply: ("MsgVoteResp", lambda message: Form(rejected=message.rejected)),
    m.AppendEntries: ("MsgApp", _append_entries),
    m.AppendReply: ("MsgAppResp", _append_reply),
    m.Heartbeat: ("MsgHeartbeat", lambda message: Form(commit=message.commit)),
    m.HeartbeatReply: ("MsgHeartbeatResp", lambda _: Form()),
    m.InstallSnapshot: ("MsgSnap", lambda message: Form(snapshot=message.snapshot)),
    m.TransferLeader: ("MsgTransferLeader", lambda _: Form()),
    m.TimeoutNow: ("MsgTimeoutNow", lambda _: Form()),
    m.Propose: ("MsgProp", lambda message: Form(entries=message.entries)),
    m.ReadIndex: ("MsgReadIndex", lambda message: Form(entries=_context(message.context))),
    m.ReadIndexReply: (
        "MsgReadIndexResp",
        lambda message: Form(index=message.index, entries=_context(message.context)),
    ),
    m.StorageAppend: ("MsgStorageAppend", _storage_append),
    m.StorageAppendReply: (
        "MsgStorageAppendResp",
        lambda message: Form(message.last_term, message.last_index, snapshot=message.snapshot),
    ),
    m.StorageApply: (
        "MsgStorageApply",
        lambda message: Form(entries=message.entries, responses=message.responses),
    ),
    m.StorageApplyReply: ("MsgStorageApplyResp", lambda message: Form(entries=message.entries)),
}


def kind_name(message: m.Message) -> str:
    """`MsgApp` and the like."""
    return FORMS[type(message)][0]


def source(message: m.Message) -> NodeId:
    """Whom a message is from; in a transcript a transfer is asked for by the one who shall lead."""
    return message.transferee if isinstance(message, m.TransferLeader) else message.sender


def message_text(message: m.Message, *, responses: bool = True, indent: str = "") -> str:
    """One message, over several lines if it has a snapshot, responses or more than one entry."""
    name, form_of = FORMS[type(message)]
    form = form_of(message)
    head = f"{_target(source(message))}->{_target(message.to)} {name}"
    text = f"{indent}{head} Term:{message.term} Log:{form.log_term}/{form.index}"
    if form.rejected:
        text += f" Rejected (Hint: {form.hint})"
    if form.commit:
        text += f" Commit:{form.commit}"
    if form.vote:
        text += f" Vote:{form.vote}"
    if len(form.entries) == 1:
        text += f" Entries:[{entry_text(form.entries[0])}]"
    elif form.entries:
        text += _block("Entries", (f"{indent}  {entry_text(entry)}" for entry in form.entries), indent)
    if form.snapshot is not None and form.snapshot.index:
        text += f"\n{indent}  Snapshot: {snapshot_text(form.snapshot)}"
    if responses and form.responses:
        inner = f"{indent}  "
        text += _block("Responses", (message_text(each, indent=inner) for each in form.responses), indent)
    return text


def _block(name: str, lines: Iterable[str], indent: str) -> str:
    return "\n".join((f" {name}:[", *lines, f"{indent}]"))


def _target(node: NodeId) -> str:
    return TARGETS.get(node, f"{node:x}")


def entry_text(entry: Entry) -> str:
    """`term/index EntryNormal "data"`, or the changes of a configuration entry."""
    if entry.kind is EntryKind.NORMAL:
        content = quoted(entry.data or b"")
    else:
        content = _changes_text(entry)
    return f"{entry.term}/{entry.index} {ENTRY_KINDS[entry.kind]} {content}".rstrip(" ")


def _changes_text(entry: Entry) -> str:
    try:
        changes = decode_conf_change(entry).as_v2().changes
    except ConfChangeRefused as refused:
        return str(refused)
    return " ".join(f"{CHANGE_LETTERS[change.kind]}{change.node}" for change in changes)


def entry_lines(entries: Iterable[Entry]) -> str:
    """One line for each entry."""
    return "".join(f"{entry_text(entry)}\n" for entry in entries)


def snapshot_text(snapshot: Snapshot) -> str:
    """Everything but the data."""
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{_conf_state_text(snapshot.conf_state)}"


def _conf_state_text(state: ConfState) -> str:
    return (
        f"Voters:{slice_of(state.voters)} VotersOutgoing:{slice_of(state.voters_outgoing)}"
        f" Learners:{slice_of(state.learners)} LearnersNext:{slice_of(state.learners_next)}"
        f" AutoLeave:{boolean(state.auto_leave)}"
    )


def ready_text(ready: Ready) -> str:
    """A Ready, with only the parts that it has."""
    parts = "".join(_ready_parts(ready))
    return f"Ready MustSync={boolean(ready.must_sync)}:\n{parts}" if parts else "<empty Ready>"


def _ready_parts(ready: Ready) -> Iterable[str]:
    if ready.soft_state is not None:
        yield f"Lead:{ready.soft_state.leader} State:{ROLES[ready.soft_state.role]}\n"
    if ready.hard_state is not None:
        yield f"HardState {_hard_state_text(ready.hard_state)}\n"
    if ready.read_states:
        reads = (f"{{{state.index} {slice_of(state.context)}}}" for state in ready.read_states)
        yield f"ReadStates {slice_of(reads)}\n"
    if ready.entries:
        yield f"Entries:\n{entry_lines(ready.entries)}"
    if ready.snapshot is not None and ready.snapshot.index:
        yield f"Snapshot {snapshot_text(ready.snapshot)}\n"
    if ready.committed:
        yield f"CommittedEntries:\n{entry_lines(ready.committed)}"
    if ready.messages:
        yield "Messages:\n"
        yield from (f"{message_text(message)}\n" for message in ready.messages)


def _hard_state_text(hard_state: HardState) -> str:
    vote = f" Vote:{hard_state.vote}" if hard_state.vote else ""
    return f"Term:{hard_state.term}{vote} Commit:{hard_state.commit}"


def progress_lines(progress: Mapping[NodeId, ProgressStatus]) -> str:
    """One line for each peer, in ascending order."""
    return "".join(f"{node}: {_progress_text(progress[node])}\n" for node in sorted(progress))


def _progress_text(progress: ProgressStatus) -> str:
    text = f"{PROGRESS_STATES[progress.state]} match={progress.match} next={progress.next}"
    if progress.is_learner:
        text += " learner"
    if progress.paused:
        text += " paused"
    if progress.pending_snapshot:
        text += f" pendingSnap={progress.pending_snapshot}"
    if not progress.recently_active:
        text += " inactive"
    if progress.inflight:
        text += f" inflight={progress.inflight}" + ("[full]" if progress.inflight_full else "")
    return text


def config_text(state: ConfState) -> str:
    """A configuration on one line, with only the parts that are not empty."""
    text = f"voters={_set_text(state.voters)}"
    if state.voters_outgoing:
        text += f"&&{_set_text(state.voters_outgoing)}"
    if state.learners:
        text += f" learners={_set_text(state.learners)}"
    if state.learners_next:
        text += f" learners_next={_set_text(state.learners_next)}"
    return text + (" autoleave" if state.auto_leave else "")


def _set_text(nodes: Iterable[NodeId]) -> str:
    return f"({' '.join(f'{node:x}' for node in sorted(nodes))})"
