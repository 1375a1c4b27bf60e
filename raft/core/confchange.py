"""What a change does to a configuration and to the progress of its members.

Owns the rules of thesis chapter 4: one voter at a time, or through a joint configuration. Works on
copies: a refused change has no effect. Knows nothing of logs and messages.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from raft.core.changes import ConfChangeKind, ConfChangeSingle, ConfChangeV2
from raft.core.errors import ConfChangeRefused
from raft.core.progress import Inflights, Progress
from raft.core.tracker import Configuration, Tracker
from raft.core.types import ConfState, Index, NodeId

Changed = tuple[Configuration, dict[NodeId, Progress]]


class Changer:
    """Computes the configurations that follow from a tracker's; new members start at `last_index`."""

    def __init__(self, tracker: Tracker, last_index: Index) -> None:
        self._tracker = tracker
        self._last_index = last_index

    def change(self, change: ConfChangeV2) -> Changed:
        """Do what a committed change asks for; raises ConfChangeRefused."""
        if change.leaves_joint:
            return self.leave_joint()
        if change.enters_joint:
            return self.enter_joint(change.auto_leave, change.changes)
        return self.simple(change.changes)

    def simple(self, changes: Sequence[ConfChangeSingle]) -> Changed:
        """Change at most one voter, and any number of learners."""
        before = self._tracker.configuration
        if before.joint:
            raise ConfChangeRefused("can't apply simple config change in joint config")
        draft = self._draft()
        draft.apply(changes)
        if len(before.voters ^ draft.voters) > 1:
            raise ConfChangeRefused("more than one voter changed without entering joint config")
        return draft.result()

    def enter_joint(self, auto_leave: bool, changes: Sequence[ConfChangeSingle]) -> Changed:
        """Make the current voters the outgoing half, and the changed ones the incoming half."""
        before = self._tracker.configuration
        if before.joint:
            raise ConfChangeRefused("config is already joint")
        if not before.voters:
            raise ConfChangeRefused("can't make a zero-voter config joint")
        draft = self._draft()
        draft.outgoing = before.voters
        draft.apply(changes)
        draft.auto_leave = auto_leave
        return draft.result()

    def leave_joint(self) -> Changed:
        """Keep only the incoming half, and turn demoted voters into learners."""
        if not self._tracker.configuration.joint:
            raise ConfChangeRefused("can't leave a non-joint config")
        draft = self._draft()
        draft.leave_joint()
        return draft.result()

    def _draft(self) -> _Draft:
        return _Draft(self._tracker, self._last_index)


class _Draft:
    """A configuration under construction, with its own copy of the progress."""

    def __init__(self, tracker: Tracker, last_index: Index) -> None:
        configuration = tracker.configuration
        self._tracker = tracker
        self._last_index = last_index
        self.voters = set(configuration.voters)
        self.outgoing = configuration.outgoing
        self.learners = set(configuration.learners)
        self.learners_next = set(configuration.learners_next)
        self.auto_leave = configuration.auto_leave
        self.progress = {node: peer.copy() for node, peer in tracker.progress.items()}

    def apply(self, changes: Sequence[ConfChangeSingle]) -> None:
        for change in changes:
            if change.node == 0:
                continue  # Node 0 marks a step that was cancelled after it had been proposed.
            if change.kind is ConfChangeKind.ADD_VOTER:
                self._make_voter(change.node)
            elif change.kind is ConfChangeKind.ADD_LEARNER:
                self._make_learner(change.node)
            elif change.kind is ConfChangeKind.REMOVE:
                self._remove(change.node)
        if not self.voters:
            raise ConfChangeRefused("removed all voters")

    def leave_joint(self) -> None:
        for node in self.learners_next:
            self.progress[node].is_learner = True
        self.learners |= self.learners_next
        self.learners_next = set()
        for node in self.outgoing - self.voters - self.learners:
            del self.progress[node]
        self.outgoing = frozenset()
        self.auto_leave = False

    def result(self) -> Changed:
        configuration = Configuration(
            frozenset(self.voters),
            self.outgoing,
            frozenset(self.learners),
            frozenset(self.learners_next),
            self.auto_leave,
        )
        check_members(configuration, self.progress)
        return configuration, self.progress

    def _make_voter(self, node: NodeId) -> None:
        self.learners.discard(node)
        self.learners_next.discard(node)
        self.voters.add(node)
        self._track(node, is_learner=False)

    def _make_learner(self, node: NodeId) -> None:
        if node in self.learners:
            return
        self.voters.discard(node)
        if node in self.outgoing:
            # It still votes in the other half, and no node may be voter and learner at once.
            self.learners_next.add(node)
        else:
            self.learners.add(node)
            self._track(node, is_learner=True)

    def _remove(self, node: NodeId) -> None:
        self.voters.discard(node)
        self.learners.discard(node)
        self.learners_next.discard(node)
        if node not in self.outgoing:
            self.progress.pop(node, None)

    def _track(self, node: NodeId, *, is_learner: bool) -> None:
        peer = self.progress.get(node)
        if peer is not None:
            peer.is_learner = is_learner
            return
        window = Inflights(self._tracker.inflight_messages_max, self._tracker.inflight_bytes_max)
        # Counted as active, or the leader could step down for lack of a quorum before the new node can reply.
        self.progress[node] = Progress(
            0, max(self._last_index, 1), window, is_learner=is_learner, recently_active=True
        )


def restore(tracker: Tracker, conf_state: ConfState, last_index: Index) -> Changed:
    """Return the stored configuration with fresh progress; raises ConfChangeRefused if it is impossible."""
    rebuilt = Tracker(tracker.inflight_messages_max, tracker.inflight_bytes_max)

    def add(kind: ConfChangeKind, nodes: Sequence[NodeId]) -> list[ConfChangeSingle]:
        return [ConfChangeSingle(kind, node) for node in nodes]

    incoming = [
        *add(ConfChangeKind.REMOVE, conf_state.voters_outgoing),
        *add(ConfChangeKind.ADD_VOTER, conf_state.voters),
        *add(ConfChangeKind.ADD_LEARNER, conf_state.learners),
        *add(ConfChangeKind.ADD_LEARNER, conf_state.learners_next),
    ]
    joint = bool(conf_state.voters_outgoing)
    one_by_one = add(ConfChangeKind.ADD_VOTER, conf_state.voters_outgoing) if joint else incoming
    for step in one_by_one:
        rebuilt.switch(*Changer(rebuilt, last_index).simple([step]))
    if joint:
        rebuilt.switch(*Changer(rebuilt, last_index).enter_joint(conf_state.auto_leave, incoming))
    normal = msgspec.structs.replace(
        conf_state,
        voters=tuple(sorted(conf_state.voters)),
        voters_outgoing=tuple(sorted(conf_state.voters_outgoing)),
        learners=tuple(sorted(conf_state.learners)),
        learners_next=tuple(sorted(conf_state.learners_next)),
    )
    if rebuilt.configuration.conf_state() != normal:
        raise ConfChangeRefused(f"contradictory configuration: {conf_state}")
    return rebuilt.configuration, rebuilt.progress


def check_members(configuration: Configuration, progress: dict[NodeId, Progress]) -> None:
    """Assert what every configuration must satisfy."""
    voters = configuration.voter_ids()
    members = voters | configuration.learners | configuration.learners_next
    assert members == progress.keys(), f"members {sorted(members)} but progress of {sorted(progress)}"
    assert not configuration.learners & voters, "a learner must not vote"
    assert configuration.learners_next <= configuration.outgoing, "only an outgoing voter is demoted later"
    for node, peer in progress.items():
        assert peer.is_learner == (node in configuration.learners), (
            f"progress of {node} disagrees on learning"
        )
    if not configuration.joint:
        assert not configuration.learners_next, "a demotion waits for the end of a joint configuration"
        assert not configuration.auto_leave, "there is nothing to leave"
