"""A removed leader that leads on commits by the configuration without it."""

from random import Random

from raft.core import Config, Raft
from raft.core.changes import ConfChange, ConfChangeKind
from raft.core.messages import AppendReply, StorageAppend, VoteReply
from raft.core.types import ConfState, Snapshot
from raft.storage.memory import MemoryStorage


def write(core):
    """Let the leader's own disk do what it was asked."""
    for message in core.ready().messages:
        if isinstance(message, StorageAppend):
            for response in message.responses:
                core.step(response)


def test_any_acknowledgement_lets_it_commit_what_fewer_now_suffice_for():
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(2, 1, ConfState((1, 2, 3, 4))))
    core = Raft(Config(id=1, applied=2, async_storage_writes=True), storage, Random(1))
    core.campaign()
    write(core)
    for node in (2, 3):
        core.step(VoteReply(node, 1, core.term))
    removal = ConfChange(ConfChangeKind.REMOVE, 1)
    core.propose_conf_change(removal)
    change = core.log.last_index()
    write(core)
    core.propose(b"wanted")
    for node in (2, 3):
        core.step(AppendReply(node, 1, core.term, change + 1))
    assert core.log.committed == change, "of four, three hold the change and two the command"
    core.apply_conf_change(removal, change)
    core.step(AppendReply(4, 1, core.term, change - 1))
    assert core.log.committed == change + 1, "of three, two are enough"
