"""What nodes tell of a watch, kept once for all who follow it."""

from __future__ import annotations

from typing import Any

from raft.client.watches import channels as module
from raft.client.watches.channels import Channel, Channels
from raft.machines.codec import encode_answer
from raft.machines.commands import WatchElection, WatchKeys
from raft.machines.results import Compacted, Events, Removed
from raft.protocol.client import CloseWatch, OpenWatch, WatchAck, WatchEnded, WatchEvents


def watch(revision: int, skip: int = 0) -> WatchKeys:
    return WatchKeys(revision, b"a", b"b", skip=skip)


def events(*revisions: int, next_place: int, skip: int = 0) -> Events:
    return Events(tuple(Removed(b"a", revision) for revision in revisions), next_place, next_place - 1, skip)


class Desk:
    """Channels, and what they say to nodes."""

    def __init__(self) -> None:
        self.said: list[tuple[int, Any]] = []
        self.attended: list[int] = []
        self.channels = Channels(
            lambda node, message: self.said.append((node, message)), self.attended.append
        )

    def open(self, node: int = 1, revision: int = 1) -> tuple[Channel, OpenWatch]:
        channel = self.channels.of(watch(revision))
        return channel, self.channels.begin(channel, node, watch(revision))

    def tell(self, request: OpenWatch, place: int, told: Events | Compacted, node: int = 1) -> None:
        self.channels.told(node, WatchEvents(request.number, place, 0, encode_answer(told)))


def test_all_who_watch_the_same_take_from_one_channel() -> None:
    desk = Desk()
    channel, request = desk.open()
    assert desk.channels.of(watch(7)) is channel
    assert desk.channels.of(WatchElection(1, "e")) is not channel
    desk.tell(request, 1, events(2, next_place=3))
    for _ in range(2):
        assert channel.take(watch(1)) == events(2, next_place=3)
    assert channel.take(watch(3)) is None


def test_those_who_wait_are_called_once_for_what_is_new() -> None:
    desk = Desk()
    channel, request = desk.open()
    calls: list[str] = []
    channel.waiting[lambda: calls.append("called")] = None
    desk.tell(request, 1, events(1, next_place=2))
    desk.tell(request, 2, events(2, next_place=3))
    assert calls == ["called"]


def test_who_begins_in_the_midst_of_an_answer_takes_what_is_later() -> None:
    desk = Desk()
    channel, request = desk.open()
    desk.tell(request, 1, events(1, next_place=2))
    desk.tell(request, 2, events(2, 4, 6, next_place=8))
    assert channel.take(watch(4)) == events(4, 6, next_place=8)
    assert channel.take(watch(5)) == events(6, next_place=8)


def test_a_watch_that_stands_moves_on_though_nothing_happened() -> None:
    desk = Desk()
    channel, request = desk.open()
    desk.tell(request, 1, events(next_place=500))
    assert channel.take(watch(1)) == events(next_place=500)
    assert channel.reaches(watch(500))


def test_what_was_missed_on_the_way_is_noticed_and_the_watch_opened_anew() -> None:
    desk = Desk()
    channel, request = desk.open()
    desk.tell(request, 2, events(2, next_place=3))
    assert channel.node == 0
    assert channel.take(watch(1)) is None
    assert desk.said == [(1, CloseWatch(request.number))]


def test_an_earlier_watch_or_another_node_is_not_believed() -> None:
    desk = Desk()
    channel, before = desk.open(node=1)
    request = desk.channels.begin(channel, 2, watch(1))
    desk.tell(before, 1, events(1, next_place=2))
    desk.tell(request, 1, events(1, next_place=2), node=1)
    assert channel.take(watch(1)) is None
    assert desk.said == [(1, CloseWatch(before.number)), (1, CloseWatch(request.number))]


def test_arrivals_are_confirmed_a_few_at_a_time() -> None:
    desk = Desk()
    _, request = desk.open()
    for revision in range(1, 2 * module.CONFIRMED_AT_ONCE + 2):
        desk.tell(request, revision, events(revision, next_place=revision + 1))
    confirmed = WatchAck(request.number, module.CONFIRMED_AT_ONCE)
    assert desk.said == [(1, confirmed), (1, confirmed)]


def test_who_has_fallen_behind_what_is_kept_has_to_ask() -> None:
    desk = Desk()
    channel, request = desk.open()
    last = module.KEPT_PARTS_MAX + 10
    for revision in range(1, last + 1):
        desk.tell(request, revision, events(revision, next_place=revision + 1))
    assert channel.take(watch(1)) is None
    assert not channel.reaches(watch(1))
    assert channel.take(watch(last)) == events(last, next_place=last + 1)


def test_forgotten_events_are_asked_for_and_not_waited_for() -> None:
    desk = Desk()
    channel, request = desk.open()
    desk.tell(request, 1, Compacted(9))
    assert channel.node == 0
    assert not channel.reaches(watch(9))
    assert channel.reaches(watch(10))


def test_a_node_that_is_gone_ends_or_falls_silent_is_given_up_and_those_who_wait_look_again() -> None:
    for end in ("gone", "ended", "silent"):
        desk = Desk()
        channel, request = desk.open()
        calls: list[str] = []
        channel.waiting[lambda: calls.append(end)] = None  # noqa: B023
        desk.channels.look()
        assert channel.node == 1
        if end == "gone":
            desk.channels.node_down(1)
        elif end == "ended":
            desk.channels.ended(1, WatchEnded(request.number, ""))
        else:
            desk.channels.look()
        assert channel.node == 0
        assert calls == [end]


def test_what_was_kept_serves_on_when_another_node_goes_on_from_there() -> None:
    desk = Desk()
    channel, request = desk.open()
    desk.tell(request, 1, events(1, next_place=2))
    desk.channels.begin(channel, 2, watch(2))
    assert channel.take(watch(1)) == events(1, next_place=2)
    desk.channels.begin(channel, 2, watch(5))
    assert channel.take(watch(1)) is None


def test_a_channel_from_which_nothing_is_taken_is_closed() -> None:
    desk = Desk()
    channel, request = desk.open()
    place = 1
    for look in range(2 * module.IDLE_LOOKS):
        desk.tell(request, place, events(place, next_place=place + 1))
        place += 1
        desk.channels.look()
        if look == module.IDLE_LOOKS - 2:
            channel.take(watch(1))
            assert channel.node == 1, "it is wanted still"
    assert channel.node == 0
    assert desk.said[0] == (1, CloseWatch(request.number))
    again = desk.channels.of(watch(1))
    assert again is not channel
    for _ in range(2 * module.IDLE_LOOKS):
        again.waiting[lambda: None] = None
        desk.channels.look()
    assert desk.channels.of(watch(1)) is again, "an iterator waits"
