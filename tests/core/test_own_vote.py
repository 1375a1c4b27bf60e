"""A candidate does not lead before its own vote is durable, even with votes of a majority."""

from random import Random

from raft.core import Config, Raft
from raft.core.messages import StorageAppend, VoteReply
from raft.core.types import ConfState, Role, Snapshot
from raft.storage.memory import MemoryStorage


def test_a_majority_of_others_does_not_make_a_leader_whose_term_could_be_forgotten():
    """It would send entries, crash, and be elected again in the same term to put others in their place."""
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(2, 1, ConfState((1, 2, 3, 4, 5))))
    core = Raft(Config(id=1, applied=2, async_storage_writes=True), storage, Random(1))
    core.campaign()
    writes = [message for message in core.ready().messages if isinstance(message, StorageAppend)]
    for node in (2, 3, 4):
        core.step(VoteReply(node, 1, core.term))
    assert core.role is Role.CANDIDATE
    for write in writes:
        for response in write.responses:
            core.step(response)
    assert core.role is Role.LEADER


def test_with_unsafe_as_etcd_a_leader_leads_before_its_own_vote_is_durable():
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(2, 1, ConfState((1, 2, 3))))
    config = Config(id=1, applied=2, async_storage_writes=True, unsafe_as_etcd=True)
    core = Raft(config, storage, Random(1))
    core.campaign()
    for node in (2, 3):
        core.step(VoteReply(node, 1, core.term))
    assert core.role is Role.LEADER
