"""Empty appends: delayed, or dropped when another append follows."""

from __future__ import annotations

from raft.core.messages import AppendEntries
from raft.core.types import Entry
from raft.node.sender import AppendCoalescer
from tests.node.waits import Waits


def empty(commit: int, to: int = 2) -> AppendEntries:
    return AppendEntries(1, to, 1, 1, 5, commit, [])


def test_an_empty_append_waits_a_moment_and_leaves_if_nothing_follows() -> None:
    waits, sent = Waits(), []
    coalescer = AppendCoalescer(waits.after, sent.append)
    coalescer.send(empty(1))
    coalescer.send(empty(2))
    coalescer.send(empty(2, to=3))
    assert sent == []
    waits.fire()
    assert sent == [empty(2), empty(2, to=3)]
    assert waits.pending == []


def test_an_append_with_entries_takes_the_place_of_the_empty_one_before_it() -> None:
    waits, sent = Waits(), []
    coalescer = AppendCoalescer(waits.after, sent.append)
    full = AppendEntries(1, 2, 1, 1, 5, 4, [Entry(1, 6)])
    coalescer.send(empty(3))
    coalescer.send(full)
    waits.fire()
    assert sent == [full]
