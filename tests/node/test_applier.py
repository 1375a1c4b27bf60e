"""The limit on entries applied in one turn, and what does not wait for them."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from raft.client.calls.store import put_request
from raft.core.messages import StorageApply
from raft.core.types import Entry
from raft.machines.application import Application
from raft.node.applier import Applier
from raft.node.log_writer import QUICK_WRITES_MIN
from raft.node.worker import InlineWorker
from raft.protocol.registry import address_of
from tests.node.cluster import Cluster, command

WORK_MAX = 6  # A put counts for two: itself, and the event that it makes.


def test_a_turn_applies_a_limited_amount_for_any_grouping_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raft.node.applier.WORK_PER_TURN_MAX", WORK_MAX)
    for parts in (1, 2, 12):
        waiters: Any = SimpleNamespace(applied=lambda *_: None)
        own_machine: Any = SimpleNamespace(full=False, commands=0, queries=0)
        asked: list[None] = []
        applier = Applier(
            machine=Application(), applied=0, waiters=waiters, on_config=lambda _: None,
            answer=lambda _: None, slow=InlineWorker(lambda work: work.deliver()), own_machine=own_machine,
            again=partial(asked.append, None),
        )  # fmt: skip
        entries = [Entry(1, index, data=put_request(b"k%d" % index, b"v")) for index in range(1, 13)]
        size = len(entries) // parts
        for begin in range(0, len(entries), size):
            applier.apply(StorageApply(1, 1, 1, entries[begin : begin + size], [], 100))
        turns = [applier.applied]
        while applier.applied < len(entries):
            applier.resume()
            turns.append(applier.applied)
        assert turns == [3, 6, 9, 12], f"in {parts} parts"
        assert applier.bytes_applied == 100 * parts
        assert asked, "for another turn"


def test_a_follower_acknowledges_before_it_applies_what_the_same_append_commits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    follower = cluster[next(node for node in cluster.ids if node != leader)]
    for number in range(QUICK_WRITES_MIN + 1):  # From then on the loop itself writes.
        cluster.put(leader, b"k", b"%d" % number)
    done: list[str] = []
    send, begin = follower.transport.send, follower.machine.begin

    def noting_send(process: str, payload: bytes) -> str | None:
        done.append("sent")
        return send(process, payload)

    def noting_begin(*arguments: Any) -> Any:
        done.append("applied")
        return begin(*arguments)

    monkeypatch.setattr(follower.transport, "send", noting_send)
    monkeypatch.setattr(follower.machine, "begin", noting_begin)
    cluster.put(leader, b"k", b"last")
    assert done == ["sent", "applied"]


def test_a_leader_answers_what_is_committed_before_it_writes_what_came_with_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(3)
    leader = cluster[cluster.elect()]
    followers = [cluster[node] for node in cluster.ids if node != leader.node]
    for number in range(QUICK_WRITES_MIN + 1):  # From then on the loop itself writes.
        cluster.put(leader.node, b"k", b"%d" % number)
    for follower in followers:
        follower.disk.holding = True
    first = cluster.ask(leader.node, command(b"k", b"first"))
    assert not first.done
    done: list[str] = []
    send, write = leader.transport.send, leader.log.write

    def noting_send(process: str, payload: bytes) -> str | None:
        done.append("answered" if process == "client" else "appended")
        return send(process, payload)

    def noting_write(*arguments: Any) -> None:
        done.append("written")
        write(*arguments)

    monkeypatch.setattr(leader.transport, "send", noting_send)
    monkeypatch.setattr(leader.log, "write", noting_write)
    cluster.client.ask(address_of(leader.node), command(b"k", b"second"), 5.0)
    cluster.client.run_turn()
    followers[0].disk.do_next()
    followers[0].runtime.run_turn()
    leader.runtime.run_turn()
    assert done == ["appended", "appended", "answered", "written"]
