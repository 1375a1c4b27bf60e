"""Configurations in use: which changes are let into the log, and the switch when one is applied.

Owns the checks before and the consequences after; what a change computes to is confchange's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.core import replication, trace, transitions
from raft.core.changes import AnyConfChange, ConfChangeKind, decode_conf_change
from raft.core.confchange import Changed, Changer
from raft.core.confchange import restore as restored_configuration
from raft.core.errors import BrokenStorage, ConfChangeRefused
from raft.core.messages import TimeoutNow
from raft.core.types import NO_NODE, ConfState, Entry, EntryKind, Role, Snapshot

if TYPE_CHECKING:
    from raft.core.raft import Raft


def refusal(raft: Raft, change: AnyConfChange) -> str:
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


def dry_run(raft: Raft, change: AnyConfChange) -> None:
    """Raise ConfChangeRefused if the change could not be applied to the configuration of now."""
    Changer(raft.tracker, raft.log.last).change(change.as_v2())


def screen(raft: Raft, entries: list[Entry]) -> list[Entry]:
    """Replace changes that are refused by empty entries, and note the index of those that are not."""
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
                raft.notify(trace.REPLICATE)  # To who follows the members it is an entry like any other.
    return screened


def _allowed_change(raft: Raft, entry: Entry) -> AnyConfChange | None:
    try:
        change = decode_conf_change(entry)
    except ConfChangeRefused:
        return None
    if raft.config.disable_conf_change_validation or not refusal(raft, change):
        return change
    return None


def apply(raft: Raft, change: AnyConfChange) -> ConfState:
    """Make a committed change the active configuration; raises ConfChangeRefused, changing nothing."""
    changed = Changer(raft.tracker, raft.log.last).change(change.as_v2())
    if changed[0] == raft.tracker.configuration and change.as_v2().changes and not changes_members(change):
        return raft.tracker.configuration.conf_state()
    return switch(raft, changed)


def changes_members(change: AnyConfChange) -> bool:
    """Does a change add, promote, demote or remove anybody? An update only carries its context."""
    return any(step.kind is not ConfChangeKind.UPDATE for step in change.as_v2().changes)


def switch(raft: Raft, changed: Changed) -> ConfState:
    """Make a configuration the active one, with all that follows for a leader."""
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
            _lead_on(raft)
        return conf_state
    # Fewer voters may suffice now, and new ones should not have to wait for the next heartbeat.
    if replication.try_commit(raft):
        replication.broadcast_append(raft)
    else:
        for node, peer in raft.tracker.progress.items():
            if node != raft.id:
                replication.send_append(raft, node, peer, even_if_empty=False)
    if raft.transferee not in raft.tracker.configuration.voter_ids():
        raft.transferee = NO_NODE
    return conf_state


def _lead_on(raft: Raft) -> None:
    """Go on leading, though removed or demoted, until a quorum of the voters that remain knows of it.

    They may know the change as an entry like any other, and count by the old configuration until they are
    told that it is committed. If this leader were gone before that, they might lack a quorum for good. Every
    append that holds the entry made here tells them, so its acknowledgements show who was told.
    """
    raft.handover_index = raft.log.last + 1
    replication.append_to_log(raft, [Entry(raft.term, raft.handover_index)])
    replication.try_commit(raft)
    replication.broadcast_append(raft)


def end_leadership(raft: Raft) -> None:
    """Step down, as a leader that is no voter any more, if it is to; another voter may be asked to follow."""
    raft.handover_index = 0
    if raft.config.step_down_on_removal:
        if raft.config.hand_over_on_removal:
            _hand_over(raft)
        transitions.become_follower(raft, raft.term, NO_NODE)


def _hand_over(raft: Raft) -> None:
    """Ask the voter whose log is longest to campaign, so that nobody waits out a timeout."""
    progress = raft.tracker.progress
    heirs = [node for node in sorted(raft.tracker.configuration.voters) if node != raft.id]
    if heirs:
        heir = max(heirs, key=lambda node: (progress[node].match, progress[node].recently_active))
        raft.send(TimeoutNow(raft.id, heir, raft.term))


def restore(raft: Raft, snapshot: Snapshot) -> bool:
    """Take over a leader's snapshot; False if it brings nothing new or is not for this node."""
    log, conf_state = raft.log, snapshot.conf_state
    if snapshot.index <= log.committed:
        return False
    if raft.role is not Role.FOLLOWER:
        return False
    if raft.id not in {*conf_state.voters, *conf_state.learners, *conf_state.voters_outgoing}:
        return False
    if log.matches(snapshot.index, snapshot.term):
        log.commit_to(snapshot.index)  # All of it is here already: only its being committed is news.
        return False
    try:
        changed = restored_configuration(raft.tracker, conf_state, snapshot.index)
    except ConfChangeRefused as refused:
        raise BrokenStorage(f"snapshot {snapshot.index}: {refused.reason}") from refused
    log.restore(snapshot)
    raft.restored_index = snapshot.index
    switch(raft, changed)
    return True
