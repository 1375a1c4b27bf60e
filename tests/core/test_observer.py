"""An observer receives events in order, each while the core is in the state to be recorded."""

from random import Random

from raft.core import Config, Raft
from raft.core.changes import ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeV2
from raft.core.messages import AppendReply, VoteReply
from raft.core.types import ConfState, Snapshot
from raft.storage.memory import MemoryStorage


class Recorder:
    """Keeps each event with the term, role, commit and last index it was seen with."""

    def __init__(self):
        self.events = []
        self.details = []

    def __call__(self, event, raft, detail):
        self.events.append((event, raft.term, raft.role.value, raft.log.committed, raft.log.last_index()))
        self.details.append((event, detail))

    def take(self):
        taken, self.events = self.events, []
        return taken

    def names(self):
        return [event[0] for event in self.take()]


def start(recorder, voters=(1, 2, 3)):
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(5, 1, ConfState(voters)))
    return Raft(Config(id=1, applied=5), storage, Random(1), recorder), storage


def settle(raft, storage):
    sent = []
    while raft.has_ready():
        ready = raft.ready()
        if ready.hard_state is not None:
            storage.set_hard_state(ready.hard_state)
        storage.append(ready.entries)
        sent += ready.messages
        raft.advance(ready)
    return sent


def elected(recorder):
    raft, storage = start(recorder)
    raft.campaign()
    settle(raft, storage)
    raft.step(VoteReply(2, 1, raft.term))
    settle(raft, storage)
    raft.step(AppendReply(2, 1, raft.term, raft.log.last_index()))
    settle(raft, storage)
    recorder.take()
    return raft, storage


def test_a_core_is_seen_before_its_configuration_and_state_are_loaded():
    recorder = Recorder()
    start(recorder)
    assert recorder.take() == [
        ("InitState", 0, "follower", 5, 5),
        ("ApplyConfChange", 0, "follower", 5, 5),
        ("BecomeFollower", 0, "follower", 5, 5),
    ]


def test_an_observer_sees_each_step_of_a_campaign():
    recorder = Recorder()
    raft, storage = start(recorder)
    recorder.take()
    raft.campaign()
    assert recorder.names() == [
        "BecomeCandidate",
        "SendRequestVoteResponse",
        "SendRequestVoteRequest",
        "SendRequestVoteRequest",
    ]
    settle(raft, storage)
    assert recorder.names() == ["Ready", "ReceiveRequestVoteResponse"]
    raft.step(VoteReply(3, 1, 1))
    assert recorder.take() == [
        ("ReceiveRequestVoteResponse", 1, "candidate", 5, 5),
        ("BecomeLeader", 1, "leader", 5, 5),
        ("Replicate", 1, "leader", 5, 5),
        ("SendAppendEntriesResponse", 1, "leader", 5, 6),
        ("SendAppendEntriesRequest", 1, "leader", 5, 6),
        ("SendAppendEntriesRequest", 1, "leader", 5, 6),
    ]


def test_every_attempt_to_commit_is_seen_also_when_nothing_moves():
    recorder = Recorder()
    raft, storage = elected(recorder)
    raft.propose(b"x")
    settle(raft, storage)
    recorder.take()
    raft.step(AppendReply(2, 1, raft.term, 7))
    raft.step(AppendReply(3, 1, raft.term, 7))
    commits = [event for event in recorder.take() if event[0] == "Commit"]
    assert commits == [("Commit", 1, "leader", 7, 7), ("Commit", 1, "leader", 7, 7)]


def test_an_accepted_change_is_seen_before_it_is_appended_and_again_before_it_is_made():
    recorder = Recorder()
    raft, _ = elected(recorder)
    change = ConfChange(ConfChangeKind.ADD_LEARNER, 4)
    raft.propose_conf_change(change)
    assert recorder.names()[:2] == ["ChangeConf", "SendAppendEntriesResponse"], "no Replicate for a change"
    assert ("ChangeConf", change) in recorder.details
    raft.apply_conf_change(change)
    event, configuration = next(each for each in reversed(recorder.details) if each[0] == "ApplyConfChange")
    assert event and configuration.learners == {4}


def test_a_change_of_no_member_is_traced_as_a_normal_entry():
    recorder = Recorder()
    raft, _ = elected(recorder)
    recorder.details.clear()
    change = ConfChangeV2((ConfChangeSingle(ConfChangeKind.UPDATE, 1),), context=b"identity")
    raft.propose_conf_change(change)
    raft.apply_conf_change(change)
    names = [event for event, _ in recorder.details]
    assert names.count("Replicate") == 1
    assert not {"ChangeConf", "ApplyConfChange"} & set(names)
