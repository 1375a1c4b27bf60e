"""Membership changes: which ones may enter the log, and what follows when one is applied.

Owns the checks before and the consequences after; which configuration results is confchange's.
"""

from __future__ import annotations

from raft.core import replication, trace, transitions
from raft.core.changes import AnyConfChange, ConfChangeKind, decode_conf_change
from raft.core.confchange import Changed, Changer
from raft.core.confchange import restore as restored_configuration
from raft.core.errors import BrokenStorage, ConfChangeRefused
from raft.core.messages import TimeoutNow
from raft.core.state import RaftState
from raft.core.types import NO_NODE, ConfState, Entry, EntryKind, Role, Snapshot


def refusal(raft: RaftState, change: AnyConfChange) -> str:
    """Return why a change may not enter the log now, "" if it may."""
    pending, applied = raft.pending_conf_index, raft.log.applied
    if pending > applied:
        return f"a change up to index {pending} may not be applied yet (applied is {applied})"
    wanted = change.as_v2()
    joint = raft.tracker.configuration.joint
    if joint and not wanted.leaves_joint:
        return "must transition out of joint config first"
    if not joint and not wanted.changes:
        return "not in joint state; refusing empty conf change"
    return ""


def dry_run(raft: RaftState, change: AnyConfChange) -> None:
    """Raise ConfChangeRefused if the change could not be applied to the current configuration."""
    Changer(raft.tracker, raft.log.last).change(change.as_v2())


def append_proposed(raft: RaftState, entries: list[Entry]) -> None:
    """Append entries without index or term; raises ProposalDropped.

    A configuration change that is refused leaves an empty entry in its place.
    """
    replication.check_accepting(raft)
    if any(entry.kind is not EntryKind.NORMAL for entry in entries):
        entries = screen(raft, entries)
    term, following = raft.term, raft.log.last + 1
    replication.append_accepted(
        raft, [Entry(term, following + i, entry.kind, entry.data) for i, entry in enumerate(entries)]
    )


def screen(raft: RaftState, entries: list[Entry]) -> list[Entry]:
    """Replace refused changes by empty entries, and note the index of an accepted one."""
    screened = list(entries)
    for position, entry in enumerate(entries):
        if entry.kind is EntryKind.NORMAL:
            continue
        change = _allowed_change(raft, entry)
        if change is None:
            screened[position] = Entry(0, 0, EntryKind.NORMAL, b"")
        else:
            raft.pending_conf_index = raft.log.last + position + 1
            if changes_members(change):
                raft.notify(trace.CHANGE_CONF, change)
            elif change.as_v2().changes:
                raft.notify(trace.REPLICATE)  # An update changes no member.
    return screened


def _allowed_change(raft: RaftState, entry: Entry) -> AnyConfChange | None:
    try:
        change = decode_conf_change(entry)
    except ConfChangeRefused:
        return None
    if raft.config.disable_conf_change_validation or not refusal(raft, change):
        return change
    return None


def apply(raft: RaftState, change: AnyConfChange) -> ConfState:
    """Make a committed change the active configuration; raises ConfChangeRefused, changing nothing."""
    changed = Changer(raft.tracker, raft.log.last).change(change.as_v2())
    if changed[0] == raft.tracker.configuration and change.as_v2().changes and not changes_members(change):
        return raft.tracker.configuration.conf_state()
    return switch(raft, changed)


def changes_members(change: AnyConfChange) -> bool:
    """Tell whether a change adds, promotes, demotes or removes a node; an update only carries its context."""
    return any(step.kind is not ConfChangeKind.UPDATE for step in change.as_v2().changes)


def switch(raft: RaftState, changed: Changed) -> ConfState:
    """Make a configuration the active one; a leader commits, replicates or steps down accordingly."""
    raft.notify(trace.APPLY_CONF_CHANGE, changed[0])
    raft.tracker.switch(*changed)
    conf_state = raft.tracker.configuration.conf_state()
    if raft.role is not Role.LEADER:
        return conf_state
    own = raft.tracker.progress.get(raft.id)
    if own is None or own.is_learner:
        if raft.config.unsafe_as_etcd:
            end_leadership(raft)
        else:
            _lead_until_known(raft)
        return conf_state
    # A smaller quorum may commit more now, and new members should not wait for the next heartbeat.
    if replication.try_commit(raft):
        replication.broadcast_append(raft)
    else:
        for node, peer in raft.tracker.progress.items():
            if node != raft.id:
                replication.send_append(raft, node, peer, even_if_empty=False)
    if raft.transferee not in raft.tracker.configuration.voter_ids():
        raft.transferee = NO_NODE
    return conf_state


def _lead_until_known(raft: RaftState) -> None:
    """Keep leading, though removed or demoted, until a quorum of the remaining voters knows that.

    They apply the change only once they know that it is committed, and use the old configuration until
    then. If this leader stopped before that, they might never reach a quorum. An append with the entry
    made here also carries the commit index, so its acknowledgements show which voters know.
    """
    raft.handover_index = raft.log.last + 1
    replication.append_to_log(raft, [Entry(raft.term, raft.handover_index)])
    replication.try_commit(raft)
    replication.broadcast_append(raft)


def quorum_knows_of_removal(raft: RaftState) -> None:
    """Step down, as a removed leader that a quorum of the others knows to be removed."""
    if raft.handover_index:
        raft.removal_known = raft.id not in raft.tracker.progress
        end_leadership(raft)


def end_leadership(raft: RaftState) -> None:
    """Step down as a leader that is not a voter, and transfer leadership, each if configured so."""
    raft.handover_index = 0
    if raft.config.step_down_on_removal:
        if raft.config.hand_over_on_removal:
            _hand_over(raft)
        transitions.become_follower(raft, raft.term, NO_NODE)


def _hand_over(raft: RaftState) -> None:
    """Ask the voter with the longest log to campaign, so that no election timeout passes."""
    progress = raft.tracker.progress
    candidates = [node for node in sorted(raft.tracker.configuration.voters) if node != raft.id]
    if candidates:
        successor = max(candidates, key=lambda node: (progress[node].match, progress[node].recently_active))
        raft.send(TimeoutNow(raft.id, successor, raft.term))


def restore(raft: RaftState, snapshot: Snapshot) -> bool:
    """Restore a leader's snapshot; False if it is not newer, or this node is not a member in it."""
    log, conf_state = raft.log, snapshot.conf_state
    if snapshot.index <= log.committed:
        return False
    if raft.role is not Role.FOLLOWER:
        return False
    if raft.id not in {*conf_state.voters, *conf_state.learners, *conf_state.voters_outgoing}:
        return False
    if log.matches(snapshot.index, snapshot.term):
        log.commit_to(snapshot.index)  # The log holds all of it, and learns only that it is committed.
        return False
    try:
        changed = restored_configuration(raft.tracker, conf_state, snapshot.index)
    except ConfChangeRefused as refused:
        raise BrokenStorage(f"snapshot {snapshot.index}: {refused.reason}") from refused
    log.restore(snapshot)
    raft.restored_index = snapshot.index
    switch(raft, changed)
    return True
