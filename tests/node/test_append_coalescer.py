"""Empty appends: delayed, or dropped when another append follows."""

from __future__ import annotations

import pytest

from raft.core.messages import AppendEntries
from raft.core.types import Entry
from raft.node.sender import COALESCE_SECONDS, AppendCoalescer
from tests.node.waits import Waits


def empty(commit: int, to: int = 2) -> AppendEntries:
    return AppendEntries(1, to, 1, 1, 5, commit, [])


def full(commit: int, to: int = 2) -> AppendEntries:
    return AppendEntries(1, to, 1, 1, 5, commit, [Entry(1, 6)])


class Coalescing:
    """A coalescer, what it has sent, and a time that passes when a timer fires."""

    def __init__(self) -> None:
        self.waits = Waits()
        self.sent: list[AppendEntries] = []
        self.now = 100.0
        self.coalescer = AppendCoalescer(self.waits.after, lambda: self.now, self.sent.append)

    def fire(self) -> None:
        self.now += self.waits.pending[0].seconds
        self.waits.fire()


def test_an_empty_append_waits_a_moment_and_leaves_if_nothing_follows() -> None:
    it = Coalescing()
    it.coalescer.send(empty(1))
    it.coalescer.send(empty(2))
    it.coalescer.send(empty(2, to=3))
    assert it.sent == []
    it.fire()
    assert it.sent == [empty(2), empty(2, to=3)]
    assert it.waits.pending == []


def test_an_append_with_entries_takes_the_place_of_the_empty_one_before_it() -> None:
    it = Coalescing()
    it.coalescer.send(empty(3))
    it.coalescer.send(full(4))
    it.fire()
    assert it.sent == [full(4)]


def test_an_empty_append_waits_as_long_when_it_comes_after_another_one_was_dropped() -> None:
    it = Coalescing()
    it.coalescer.send(empty(3))
    it.coalescer.send(full(3))
    it.now += COALESCE_SECONDS / 2
    it.coalescer.send(empty(4))
    it.now -= COALESCE_SECONDS / 2
    it.fire()
    assert it.sent == [full(3)]
    assert it.waits.pending[0].seconds == pytest.approx(COALESCE_SECONDS / 2)
    it.fire()
    assert it.sent == [full(3), empty(4)]
    assert it.waits.pending == []


def test_a_peer_that_gets_only_empty_appends_does_not_wait_for_the_last_one() -> None:
    it = Coalescing()
    for commit in range(10):
        it.coalescer.send(empty(commit))
        it.now += COALESCE_SECONDS / 10
    it.now -= it.waits.pending[0].seconds
    it.fire()
    assert it.sent == [empty(9)]
