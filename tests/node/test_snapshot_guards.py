"""Snapshots and acknowledgements that a node ignores: stale ones, and those of other clusters or
transfers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from raft.core.messages import InstallSnapshot
from raft.core.progress import ProgressState
from raft.core.types import ConfState, Role, Snapshot
from raft.node.applier import Applier
from raft.node.snapshots.contents import State
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.snapshots.sender import Transfers
from raft.node.snapshots.taker import Snapshotter
from raft.node.worker import InlineWorker
from raft.protocol.registry import SnapshotChunk, SnapshotProgress, address_of
from raft.storage.snapshots import sealed
from tests.node.cluster import Cluster, Events

VOTERS = ConfState(voters=(1, 2, 3))


# -- of one's own -----------------------------------------------------------------------------------


class Taking:
    """A snapshotter whose machine stands at 10; the worker waits."""

    def __init__(self, newest: int, bytes_max: int = 0) -> None:
        self.newest = Snapshot(newest, 1, VOTERS)
        self.accepted: list[int] = []
        self.told: list[int] = []
        self.worker = InlineWorker(lambda work: work.deliver())
        self.worker.holding = True
        self.log = SimpleNamespace(
            unstable_snapshot=None,
            term=lambda index: 1,
            snapshot=lambda: self.newest,
            first_index=lambda: 1,
            write_snapshot=lambda snapshot, rest: None,
            accept_snapshot=lambda snapshot: self.accepted.append(snapshot.index),
            accept_compaction=lambda index: None,
            release=lambda index: None,
        )
        self.applier = SimpleNamespace(
            applied=10, bytes_applied=0, freeze=lambda begin, then: begin() and then(iter((b"",)))
        )
        tracker = SimpleNamespace(configuration=SimpleNamespace(conf_state=lambda: VOTERS))
        raft: Any = SimpleNamespace(log=self.log, tracker=tracker)
        log: Any = self.log
        self.snapshotter = Snapshotter(
            raft=raft,
            log=log,
            applier=self.applier,  # type: ignore[arg-type]
            worker=self.worker,
            state=State,
            held=lambda: None,
            policy=SnapshotPolicy(entries_max=0, bytes_max=bytes_max, entries_kept=0),
            journal=Events(),
            now=lambda: 0.0,
        )
        self.snapshotter.take(lambda index, _reason: self.told.append(index))

    def go(self) -> None:
        self.snapshotter.consider()


def test_a_snapshot_that_would_hold_no_more_than_the_newest_is_not_written() -> None:
    taking = Taking(newest=10)
    taking.go()
    assert taking.worker.waiting == 0
    assert taking.told == [10]


def test_no_snapshot_is_taken_while_a_leaders_is_being_restored() -> None:
    taking = Taking(newest=5)
    taking.log.unstable_snapshot = Snapshot(20, 2, VOTERS)
    taking.go()
    assert taking.worker.waiting == 0
    assert taking.told == [5]


def test_a_snapshot_overtaken_by_a_leaders_is_discarded() -> None:
    taking = Taking(newest=5)
    taking.go()
    taking.newest = Snapshot(20, 2, VOTERS)
    taking.worker.do_next()
    assert taking.accepted == []
    assert taking.told == [20]


def test_what_was_applied_before_a_leaders_snapshot_makes_no_snapshot_due() -> None:
    taking = Taking(newest=10, bytes_max=100)
    taking.go()
    taking.applier.bytes_applied = 1000
    taking.newest = Snapshot(20, 2, VOTERS)
    taking.snapshotter.installed()
    taking.applier.applied = 21
    taking.go()
    assert taking.worker.waiting == 0
    taking.applier.bytes_applied += 100
    taking.go()
    assert taking.worker.waiting == 1


# -- installed --------------------------------------------------------------------------------------


def test_a_snapshot_older_than_the_machine_is_not_restored() -> None:
    restored: list[object] = []
    machine: Any = SimpleNamespace(restore_apart=lambda parts: list(parts))
    waiters: Any = SimpleNamespace(restored=restored.append)
    applier = Applier(
        machine=machine, applied=10, waiters=waiters, on_config=restored.append,
        answer=restored.append, slow=InlineWorker(lambda work: work.deliver()),
        own_machine=SimpleNamespace(restore=restored.extend, commands=0), again=lambda: None,  # type: ignore[arg-type]
    )  # fmt: skip
    for index in (9, 10):
        applier.restore(index, [b"old"])
    assert restored == []
    applier.restore(11, [b"new"])
    assert restored == [b"new", 11]
    assert applier.applied == 11


def test_chunks_and_acknowledgements_of_unknown_nodes_are_ignored() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    node = cluster[cluster.followers()[0]]
    term = node.raft.term
    heard: list[object] = []
    node.actor.components.snapshots.chunk = heard.append  # type: ignore[method-assign]
    node.actor.components.snapshots.transfers.progress = heard.append  # type: ignore[method-assign]
    for message in (
        SnapshotChunk(leader, node.node, term, 99, term, VOTERS, 0, 0, 0, b"", 0),
        SnapshotProgress(leader, node.node, term, 99, 7),
    ):
        cluster.client.tell(address_of(node.node), message)
        cluster.network.settle()
        assert heard == []
        cluster[leader].runtime.tell(address_of(node.node), message)
        cluster.network.settle()
        assert heard == [message], "from the leader's process it counts"
        heard.clear()


# -- sent -------------------------------------------------------------------------------------------


class Sending:
    """A leader of term 3 that sends 100 bytes at index 10 to node 2."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, bool]] = []
        self.progress = SimpleNamespace(state=ProgressState.SNAPSHOT, pending_snapshot=10)
        self.raft: Any = SimpleNamespace(
            role=Role.LEADER, term=3, tracker=SimpleNamespace(progress={2: self.progress}),
            report_snapshot=lambda peer, ok: self.ended.append((peer, ok)),
        )  # fmt: skip
        self.clock = 0.0
        self.later: list[Any] = []
        self.sent: list[int] = []
        context: Any = SimpleNamespace(
            now=lambda: self.clock,
            tell=lambda to, chunk: self.sent.append(chunk.offset),
            after=lambda _, call: self.later.append(call),
        )
        self.events = Events()
        self.damaged: list[Snapshot] = []
        self.transfers = Transfers(
            self.raft, context, self.events,
            resend_seconds=1.0, give_up_seconds=5.0, damaged=self.damaged.append,
        )  # fmt: skip
        self.transfers.begin(InstallSnapshot(1, 2, 3, sealed(Snapshot(10, 2, VOTERS, bytes(100)))))

    def hear(self, received: int = 100, term: int = 3, index: int = 10) -> None:
        self.transfers.progress(SnapshotProgress(2, 1, term, index, received))


def test_the_core_is_informed_that_a_snapshot_has_arrived() -> None:
    sending = Sending()
    sending.hear()
    assert sending.ended == [(2, True)]
    assert sending.transfers.oldest is None


@pytest.mark.parametrize("other", [{"term": 2}, {"index": 9}])
def test_an_acknowledgement_of_another_transfer_is_ignored(other: dict[str, int]) -> None:
    sending = Sending()
    sending.hear(**other)
    assert sending.ended == []
    assert sending.transfers.oldest == 10


def no_leader(sending: Sending) -> None:
    sending.raft.role = Role.FOLLOWER


def another_term(sending: Sending) -> None:
    sending.raft.term = 4


def caught_up_otherwise(sending: Sending) -> None:
    sending.progress.state = ProgressState.REPLICATE


def another_snapshot(sending: Sending) -> None:
    sending.progress.pending_snapshot = 30


def no_member(sending: Sending) -> None:
    sending.raft.tracker.progress.clear()


@pytest.mark.parametrize(
    "change", [no_leader, another_term, caught_up_otherwise, another_snapshot, no_member]
)
def test_the_core_is_not_informed_of_a_transfer_that_it_no_longer_wants(change: Any) -> None:
    sending = Sending()
    change(sending)
    sending.hear()
    assert sending.ended == []
    assert "snapshot-sent" not in sending.events.names
    sending.later.pop()()
    assert sending.ended == []
    assert sending.transfers.oldest is None, "and it is let go of"


def test_a_transfer_without_progress_is_finally_given_up() -> None:
    sending = Sending()
    sending.clock = 4.0
    sending.later.pop()()
    assert sending.ended == []
    sending.clock = 6.0
    sending.later.pop()()
    assert sending.ended == [(2, False)]


def test_a_peer_that_is_reachable_again_gets_the_next_chunk_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("raft.node.snapshots.sender.CHUNK_BYTES", 10)
    sending = Sending()
    sending.hear(30)
    assert sending.sent == [0, 30, 40, 50]
    sending.sent.clear()
    sending.transfers.reconnected(3)
    assert sending.sent == [], "to another peer nothing is sent"
    sending.transfers.reconnected(2)
    assert sending.sent == [30], "from where the peer says that it stopped"


def test_the_quicker_chunks_are_acknowledged_the_more_of_them_are_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("raft.node.snapshots.sender.CHUNK_BYTES", 1)
    sending = Sending()
    in_flight = []

    def acknowledge(number: int, after_seconds: float) -> None:
        sending.clock += after_seconds
        sending.hear(number)
        in_flight.append(len(sending.sent) - number)

    for number in range(1, 21):
        acknowledge(number, 0.001)
    assert in_flight == [*range(3, 17), *([16] * 6)], "one more each time, up to a limit"
    in_flight.clear()
    for number in range(21, 40):
        acknowledge(number, 0.06)  # A twentieth of the shortest election timeout is 50 ms.
    assert in_flight == [*range(15, 7, -1), *([8] * 0), *range(7, 1, -1), *([2] * 5)], "half as many may be"


def test_a_transfer_continues_when_the_peer_is_reachable_again() -> None:
    cluster = Cluster(3)
    leader = cluster[cluster.elect()]
    peer = cluster.followers()[0]
    heard: list[int] = []
    leader.actor.components.snapshots.transfers.reconnected = heard.append  # type: ignore[method-assign]
    cluster[peer].kill()
    cluster.network.settle()
    cluster[peer].start()
    cluster.until(lambda: heard == [peer], 5.0)
