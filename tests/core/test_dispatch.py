"""Every kind of message has one place in the tables of every role."""

import pytest

from raft.core import candidate, follower, leader
from raft.core.messages import PEER_REPLIES, STEPPABLE

TABLES = {
    "follower": (follower.HANDLERS, follower.IGNORED),
    "pre-candidate": (candidate.PRE_CANDIDATE_HANDLERS, candidate.PRE_CANDIDATE_IGNORED),
    "candidate": (candidate.CANDIDATE_HANDLERS, candidate.CANDIDATE_IGNORED),
    "leader": (leader.HANDLERS, leader.IGNORED),
}


@pytest.mark.parametrize("role", TABLES)
def test_handled_and_ignored_kinds_are_all_kinds_and_do_not_overlap(role):
    handlers, ignored = TABLES[role]
    assert handlers.keys() | ignored == STEPPABLE
    assert not handlers.keys() & ignored


def test_every_reply_of_a_peer_can_be_stepped():
    assert PEER_REPLIES < STEPPABLE
