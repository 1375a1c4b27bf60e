"""Configuration changes against a model, and against every majority there is."""

from itertools import chain, combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from raft.core.changes import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeV2,
    Transition,
    decode_conf_change,
)
from raft.core.confchange import Changer, check_members, restore
from raft.core.errors import ConfChangeRefused
from raft.core.tracker import Configuration, Tracker
from raft.core.types import Entry, EntryKind

STEP = st.builds(ConfChangeSingle, st.sampled_from(ConfChangeKind), st.integers(0, 5))
CHANGE = st.builds(
    ConfChangeV2, st.lists(STEP, max_size=4).map(tuple), st.sampled_from(Transition), st.binary(max_size=3)
)

checked = settings(max_examples=200, deadline=None, database=None, derandomize=True)


def bootstrapped(*voters: int) -> Tracker:
    tracker = Tracker(4, 0)
    for voter in voters:
        tracker.switch(*Changer(tracker, 5).simple([ConfChangeSingle(ConfChangeKind.ADD_VOTER, voter)]))
    return tracker


def history(changes: list[ConfChangeV2]) -> list[Configuration]:
    """Every configuration that a cluster goes through; refused changes change nothing."""
    tracker = bootstrapped(1, 2, 3)
    seen = [tracker.configuration]
    for number, change in enumerate(changes):
        try:
            tracker.switch(*Changer(tracker, 10 + number).change(change))
        except ConfChangeRefused:
            assert tracker.configuration == seen[-1]
            continue
        check_members(tracker.configuration, tracker.progress)
        seen.append(tracker.configuration)
    return seen


def quorums(configuration: Configuration) -> list[frozenset[int]]:
    """Every set of voters that could decide."""
    voters = sorted(configuration.voter_ids())
    subsets = chain.from_iterable(combinations(voters, size) for size in range(len(voters) + 1))
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    return [
        frozenset(subset)
        for subset in subsets
        if all(2 * len(half & set(subset)) > len(half) for half in halves)
    ]


@checked
@given(st.lists(CHANGE, max_size=8))
def test_the_majorities_of_successive_configurations_always_meet(changes):
    seen = history(changes)
    for before, after in pairwise(seen):
        assert all(one & other for one in quorums(before) for other in quorums(after))


@checked
@given(st.lists(CHANGE, max_size=8))
def test_there_is_always_a_voter_and_no_node_is_voter_and_learner(changes):
    for configuration in history(changes):
        assert configuration.voters
        assert not configuration.voter_ids() & configuration.learners
        assert configuration.learners_next <= configuration.outgoing - configuration.voters


@checked
@given(st.lists(CHANGE, max_size=8))
def test_a_configuration_is_restored_from_what_a_snapshot_holds(changes):
    for configuration in history(changes):
        restored, progress = restore(Tracker(4, 0), configuration.conf_state(), 7)
        assert restored == configuration
        check_members(restored, progress)


@checked
@given(st.lists(STEP, min_size=1, max_size=5))
def test_joining_and_leaving_ends_where_the_steps_say(steps):
    """The model: a set of voters and a set of learners, one step after the other."""
    roles = {1: "voter", 2: "voter", 3: "voter"}
    for step in steps:
        if step.node == 0:
            continue
        if step.kind is ConfChangeKind.ADD_VOTER:
            roles[step.node] = "voter"
        elif step.kind is ConfChangeKind.ADD_LEARNER:
            roles[step.node] = "learner"
        elif step.kind is ConfChangeKind.REMOVE:
            roles.pop(step.node, None)
    tracker = bootstrapped(1, 2, 3)
    try:
        tracker.switch(*Changer(tracker, 9).enter_joint(True, steps))
    except ConfChangeRefused:
        assert "voter" not in roles.values()
        return
    tracker.switch(*Changer(tracker, 9).leave_joint())
    after = tracker.configuration
    assert after.voters == {node for node, role in roles.items() if role == "voter"}
    assert after.learners == {node for node, role in roles.items() if role == "learner"}


@checked
@given(CHANGE)
def test_a_change_is_read_back_from_its_entry(change):
    entry = Entry(1, 1, EntryKind.CONF_CHANGE_V2, change.encode())
    assert decode_conf_change(entry) == change


@checked
@given(st.sampled_from(ConfChangeKind), st.integers(0, 2**63), st.binary(max_size=200))
def test_a_first_version_change_is_read_back_from_its_entry(kind, node, context):
    change = ConfChange(kind, node, context)
    assert decode_conf_change(Entry(1, 1, EntryKind.CONF_CHANGE, change.encode())) == change


@checked
@given(st.binary(max_size=40), st.sampled_from((EntryKind.CONF_CHANGE, EntryKind.CONF_CHANGE_V2)))
def test_bytes_that_are_no_change_are_refused_and_break_nothing(raw, kind):
    try:
        decode_conf_change(Entry(1, 1, kind, raw))
    except ConfChangeRefused:
        return
