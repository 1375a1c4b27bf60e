"""Violations that `invariants.History` must detect."""

from random import Random

import pytest

from raft.core import Config, Raft
from raft.core.invariants import History
from raft.core.messages import AppendEntries, Heartbeat, RequestVote
from raft.core.types import ConfState, Entry, Snapshot
from raft.storage.memory import MemoryStorage


def node(number):
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(1, 1, ConfState((1, 2, 3))))
    return Raft(Config(id=number, applied=1), storage, Random(number))


def test_two_different_commits_at_one_index_are_caught():
    one, other = node(1), node(2)
    one.step(AppendEntries(3, 1, 2, 1, 1, 2, [Entry(2, 2, data=b"a")]))
    other.step(AppendEntries(3, 2, 2, 1, 1, 2, [Entry(2, 2, data=b"b")]))
    history = History()
    history.check([one])
    with pytest.raises(AssertionError, match="committed"):
        history.check([other])


def test_a_second_vote_in_a_term_is_caught_also_over_a_restart():
    history, voter = History(), node(1)
    voter.step(RequestVote(2, 1, 5, 1, 1))
    history.check([voter])
    history.restarted(1, saved_term=5)
    forgetful = node(1)
    forgetful.step(RequestVote(3, 1, 5, 1, 1))
    with pytest.raises(AssertionError, match="voted for"):
        history.check([forgetful])


def test_a_vote_that_was_not_saved_does_not_count():
    history, voter = History(), node(1)
    voter.step(RequestVote(2, 1, 5, 1, 1))
    history.check([voter])
    history.restarted(1, saved_term=0)
    again = node(1)
    again.step(RequestVote(3, 1, 5, 1, 1))
    history.check([again])


def test_a_term_that_falls_is_caught():
    history, member = History(), node(1)
    member.step(Heartbeat(2, 1, 4, 1))
    history.check([member])
    with pytest.raises(AssertionError, match="moved back"):
        history.check([node(1)])
