"""Open watches: pushed events, acknowledgements, flow control and closing."""

from __future__ import annotations

from typing import Any

import pytest

from actors.actor import Actor
from raft.client.calls.application import question_bytes
from raft.machines.codec import decode_answer, encode_call
from raft.machines.commands import Call, Compact, WatchKeys
from raft.machines.results import Compacted, Events
from raft.node.requests import pushed_watches
from raft.protocol.client import (
    CloseWatch,
    Command,
    Invalid,
    OpenWatch,
    Refused,
    WatchAck,
    WatchEnded,
    WatchEvents,
    WatchOpened,
)
from raft.protocol.registry import CLIENT_ACTOR, address_of
from tests.node.cluster import Cluster

ALL = question_bytes(WatchKeys(1, b"", None))


class Reader:
    """A client's process that keeps what it is told, and confirms it if it is to."""

    def __init__(self, cluster: Cluster, *, confirms: bool = True) -> None:
        self.told: list[WatchEvents] = []
        self.ended: list[WatchEnded] = []
        self.cluster = cluster
        reader = self

        class Connection(Actor):
            def on_told(self, message: WatchEvents) -> None:
                reader.told.append(message)
                if confirms and self.context.sender is not None:
                    self.context.tell(self.context.sender, WatchAck(message.number, 1))

            handlers = {WatchEvents: on_told, WatchEnded: lambda _, message: reader.ended.append(message)}

        cluster.client.spawn(Connection, CLIENT_ACTOR)

    def open(self, node: int, number: int = 1, body: bytes = ALL) -> Any:
        return self.cluster.answer(node, OpenWatch(number, body))

    def say(self, node: int, message: object) -> None:
        self.cluster.client.tell(address_of(node), message)
        self.cluster.network.settle()

    @property
    def keys(self) -> list[bytes]:
        answers = [decode_answer(told.result) for told in self.told]
        return [event.key for answer in answers if isinstance(answer, Events) for event in answer.events]


def put(cluster: Cluster, *names: str) -> None:
    for name in names:
        cluster.put(cluster.elect(), name.encode(), b"")
    cluster.network.settle()


def many(first: int, count: int) -> list[str]:
    return [f"k{number:03}" for number in range(first, first + count)]


def test_a_watch_gets_each_change_once_and_in_order() -> None:
    cluster = Cluster(3)
    put(cluster, "a", "b")
    reader = Reader(cluster)
    assert isinstance(reader.open(cluster.followers()[0]), WatchOpened)
    put(cluster, "c", "d")
    cluster.advance(0.5)
    assert reader.keys == [b"a", b"b", b"c", b"d"]


def test_every_answer_begins_where_the_one_before_ended() -> None:
    cluster = Cluster(3)
    reader = Reader(cluster)
    reader.open(cluster.elect())
    put(cluster, "a", "b")
    cluster.advance(3 * pushed_watches.PROGRESS_SECONDS)
    put(cluster, "c")
    place = 1, 0
    for told in reader.told:
        assert (told.revision, told.skip) == place
        answer = decode_answer(told.result)
        assert isinstance(answer, Events)
        place = answer.next, answer.skip
    assert reader.keys == [b"a", b"b", b"c"]


def test_an_idle_watch_gets_progress_messages() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster)
    reader.open(cluster.elect())
    cluster.advance(3.5 * pushed_watches.PROGRESS_SECONDS)
    assert 2 <= len(reader.told) <= 4
    assert reader.keys == []


def test_a_watch_without_acknowledgements_is_paused_and_continues_after_one() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster, confirms=False)
    reader.open(cluster.elect())
    put(cluster, *many(0, pushed_watches.UNACKED_MAX + 10))
    assert len(reader.told) == pushed_watches.UNACKED_MAX
    reader.say(1, WatchAck(1, pushed_watches.UNACKED_MAX))
    cluster.advance(0.1)
    assert reader.keys == [name.encode() for name in many(0, pushed_watches.UNACKED_MAX + 10)]


def test_a_watch_paused_for_too_long_gets_compacted() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster, confirms=False)
    reader.open(cluster.elect())
    put(cluster, *many(0, pushed_watches.UNACKED_MAX + 10))
    revision = cluster[1].machine.history.revision
    cluster.answer(1, Command(encode_call(Call(0, 0, 0, Compact(revision)))))
    reader.say(1, WatchAck(1, pushed_watches.UNACKED_MAX))
    cluster.advance(0.1)
    assert decode_answer(reader.told[-1].result) == Compacted(revision)
    put(cluster, "later")
    assert b"later" not in reader.keys, "the watch is gone"


def test_a_closed_watch_gets_no_more_events() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster)
    reader.open(cluster.elect())
    reader.say(1, CloseWatch(1))
    put(cluster, "a")
    assert reader.keys == []


def test_a_watch_at_a_node_without_a_leader_is_ended_or_refused() -> None:
    cluster = Cluster(3)
    leader = cluster.elect()
    lonely, other = cluster.followers()
    reader = Reader(cluster)
    reader.open(lonely)
    cluster[lonely].cut(leader, other)
    for node in (leader, other):
        cluster[node].cut(lonely)
    cluster.advance(5.0)
    assert [ended.number for ended in reader.ended] == [1]
    assert isinstance(reader.open(lonely, 2), Refused)


def test_a_node_that_stops_ends_its_watches() -> None:
    cluster = Cluster(3)
    reader = Reader(cluster)
    node = next(iter(set(cluster.ids) - {cluster.elect()}))
    reader.open(node)
    cluster[node].stop()
    cluster.advance(1.0)
    assert [ended.number for ended in reader.ended] == [1]


def test_the_watches_of_a_disconnected_client_are_closed() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster)
    reader.open(cluster.elect())
    watches = cluster[1].actor.components.machine_services.pushed_watches.watches
    assert watches
    cluster.network.crash("client")
    cluster.advance(1.0)
    assert not watches


def test_a_watch_without_acknowledgements_for_a_minute_is_closed() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster, confirms=False)
    reader.open(cluster.elect())
    cluster.advance(pushed_watches.FORGET_SECONDS + 1)
    assert [ended.number for ended in reader.ended] == [1]


def test_one_client_cannot_take_all_watches_of_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed_watches, "OPEN_BY_ONE_MAX", 2)
    cluster = Cluster(1)
    reader = Reader(cluster)
    cluster.elect()
    answers = [reader.open(1, number) for number in (1, 2, 3)]
    assert [type(answer) for answer in answers] == [WatchOpened, WatchOpened, Refused]


def test_an_invalid_watch_is_refused() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster)
    cluster.elect()
    assert isinstance(reader.open(1, body=b"\xc1"), Invalid)


def test_a_client_that_watches_from_long_ago_costs_no_long_turn() -> None:
    cluster = Cluster(1)
    reader = Reader(cluster)
    put(cluster, *many(0, 30))
    reader.open(cluster.elect(), body=question_bytes(WatchKeys(1, b"", None, limit=10)))
    cluster.network.settle()
    assert [len(decode_answer(told.result).events) for told in reader.told] == [10, 10, 10]
