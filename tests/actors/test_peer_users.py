"""Loopback TCP without keys: only processes of this user, or root's, are heard and spoken to."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.transport.connections import Connections
from actors.transport.frames import FrameKind, FrameWriter
from actors.transport.log import Log, log_by_loguru
from actors.transport.peer_users import Users
from actors.transport.zeromq import ZeroMqTransport
from tests.actors.net import Net, a_net
from tests.actors.test_connections import greeted

TCP = "tcp://127.0.0.1:*"
UNPRIVILEGED = 65534
CUT = "cut off: another user's, who needs a key to be heard"


class Suspicious(Users):
    """Takes all processes of this test for another user's."""

    def __init__(self, log: Log = log_by_loguru) -> None:
        super().__init__(log)
        self._trusted = {4711}


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with a_net(tmp_path) as net:
        yield net


def hello(raw: socket.socket, name: str, incarnation: int) -> None:
    """Say hello as that process does."""
    frame = FrameWriter("test", name, incarnation).write(0, FrameKind.HELLO, b"")
    raw.sendall(b"\x00" + bytes([len(frame)]) + frame)


@contextmanager
def as_another_user(work: Callable[[], None]) -> Iterator[None]:
    """Let a child that has become another user do something; it is killed afterwards."""
    child = os.fork()
    if child == 0:
        try:
            os.setuid(UNPRIVILEGED)
            work()
            signal.pause()
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@needs_root
def test_a_process_of_another_user_cannot_take_a_members_name(net: Net) -> None:
    one, two = net.node("n1", endpoint=TCP), net.node("n2", endpoint=TCP)

    def pending_ask() -> None:
        hello(greeted(one), "n2", 1_000)

    with as_another_user(pending_ask):
        assert net.run(lambda: one.counters[CUT] == 1)
        one.connect("n2", str(two.endpoint))
        two.connect("n1", str(one.endpoint))
        assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))
    assert one.counters["older incarnation"] == 0


@needs_root
def test_a_process_of_another_user_cannot_stand_in_a_members_place(net: Net) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    ready, tell = os.pipe()

    def stand_in() -> None:
        transport = ZeroMqTransport("n2", 1_000, cluster="test", endpoint=endpoint)
        os.write(tell, b"!")
        while True:
            transport.poll(None)
            transport.receive()

    one = net.node("n1", endpoint=TCP)
    with as_another_user(stand_in):
        assert os.read(ready, 1) == b"!"
        one.connect("n2", endpoint)
        assert net.run(lambda: one.counters["another user listens there"] > 0)
    assert not net.is_up("n1", "n2")
    two = net.node("n2", endpoint=endpoint)
    two.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))
    for end in (ready, tell):
        os.close(end)


def test_who_connects_as_another_user_is_cut_off(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.transport.zeromq.Users", Suspicious)
    one = net.node("n1", endpoint=TCP)
    net.guest("n2").connect("n1", str(one.endpoint))
    assert net.run(lambda: one.counters[CUT] > 0)
    assert not net.is_up("n1", "n2")


def test_where_another_user_listens_nothing_is_said(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.transport.links.Users", Suspicious)
    one, guest = net.node("n1", endpoint=TCP), net.guest("n2")
    guest.connect("n1", str(one.endpoint))
    assert net.run(lambda: guest.counters["another user listens there"] > 0)
    assert not net.is_up("n2", "n1")


def test_one_that_has_closed_its_end_and_greets_all_the_same_is_told_nothing(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hear still, and whose it is cannot be found out any more."""
    monkeypatch.setattr("actors.transport.links.Users.trusts", lambda *_: None)
    one, guest = net.node("n1", endpoint=TCP), net.guest("n2")
    guest.connect("n1", str(one.endpoint))
    assert net.run(lambda: guest.counters["another user listens there"] > 0)
    assert not net.is_up("n2", "n1")


def test_who_has_gone_before_it_could_be_asked_about_is_not_heard(net: Net) -> None:
    one = net.node("n1", endpoint=TCP)
    raw = greeted(one)
    hello(raw, "n2", 1_000)
    raw.close()
    assert net.run(lambda: one.counters["of one that was cut off"] == 1)
    assert net.events["n1"] == []


def test_a_system_that_does_not_tell_users_apart_is_lived_with(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("actors.transport.peer_users._user_at_other_end", unknown)
    one, guest = net.node("n1", endpoint=TCP), net.guest("n2")
    guest.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Both ends of a connection, and the port at which the second listens."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
        server.accept()[0] as other,
    ):
        yield one, other, server.getsockname()[1]


def test_another_connection_that_has_the_descriptor_by_now_vouches_for_nothing(
    pair: tuple[socket.socket, socket.socket, int],
) -> None:
    one, other, port = pair
    for end in (one, other):
        assert not Users(log_by_loguru).is_stranger(end.fileno(), port)
        assert Users(log_by_loguru).is_stranger(end.fileno(), port + 1)


def test_one_that_has_closed_its_end_is_of_no_user_not_of_root(
    pair: tuple[socket.socket, socket.socket, int],
) -> None:
    one, other, port = pair
    one.close()
    assert Users(log_by_loguru).is_stranger(other.fileno(), port)


@pytest.fixture
def connections() -> Iterator[Connections]:
    limits = dict.fromkeys(
        ("held_bytes_max", "unread_bytes_max", "held_all_bytes_max", "unread_all_bytes_max"), 1 << 30
    )
    connections = Connections(Counter(), log_by_loguru, connections_max=64, **limits)
    connections.is_stranger = lambda _descriptor: False
    yield connections
    connections.close()


def test_a_frame_of_one_that_has_gone_is_not_laid_to_who_has_its_descriptor_now(
    connections: Connections,
) -> None:
    descriptor = 9_999
    connections.accepted(descriptor)
    connections.gone(descriptor)
    connections.accepted(descriptor)
    assert connections.meet(b"before", descriptor, "").cut
    connections.gone(descriptor)  # It was cut off, and comes again.
    connections.nothing_is_unread()
    connections.accepted(descriptor)
    assert not connections.meet(b"now", descriptor, "").cut


def test_the_last_words_of_one_that_was_known_are_still_its_own(connections: Connections) -> None:
    descriptor = 9_999
    connections.accepted(descriptor)
    known = connections.meet(b"route", descriptor, "")
    connections.gone(descriptor)
    assert connections.of(b"route") is known
    connections.nothing_is_unread()
    assert connections.of(b"route") is None
