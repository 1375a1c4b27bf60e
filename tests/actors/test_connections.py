"""What strangers may cost a listening process: descriptors and memory, each with its bound."""

from __future__ import annotations

import errno
import os
import resource
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from actors.transport import connections
from actors.transport.connections import LOOK_SECONDS, QUIET_LOOK_SECONDS, Connections
from actors.transport.frames import FrameKind, FrameWriter
from actors.transport.log import log_by_loguru
from actors.transport.sockets import Tuning
from actors.transport.zeromq import ZeroMqTransport
from tests.actors.net import WAIT_SECONDS, Net, a_net

TCP = "tcp://127.0.0.1:*"
GREETING = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00NULL".ljust(64, b"\0")
READY = b"\x04\x29\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
MIB = 1024 * 1024
WORST = "cut off: answers not read, the most of all connections"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with a_net(tmp_path) as net:
        yield net


def connection(node: ZeroMqTransport) -> socket.socket:
    kind, _, where = str(node.endpoint).partition("://")
    if kind == "ipc":
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(where)
        return raw
    host, port = where.split(":")
    return socket.create_connection((host, int(port)))


def greeted(node: ZeroMqTransport) -> socket.socket:
    """A connection on which both sides have greeted each other."""
    raw = connection(node)
    raw.sendall(GREETING + READY)
    raw.settimeout(WAIT_SECONDS)
    heard = b""
    while len(heard) < len(GREETING) + 2 or len(heard) < len(GREETING) + 2 + heard[len(GREETING) + 1]:
        heard += raw.recv(4096)
    return raw


def part(size: int) -> bytes:
    """A part of a message, after which another one follows."""
    return b"\x03" + struct.pack(">Q", size) + bytes(size)


def is_closed(raw: socket.socket) -> bool:
    raw.setblocking(False)
    try:
        while raw.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize("endpoint", [TCP, None])
def test_a_message_that_never_ends_cuts_its_sender_off(net: Net, endpoint: str | None) -> None:
    node = net.node("n1", endpoint=endpoint, tuning=Tuning(held_bytes_max=32 * MIB))
    guest = net.guest("n2")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2"))
    endless = greeted(node)
    endless.settimeout(5.0)
    piece, reason = part(MIB), "cut off: sent more than can be handled"
    with suppress(OSError):
        for _ in range(400):
            endless.sendall(piece)
            node.poll(0.0)
            net.events["n1"] += node.receive()
    net.run(lambda: reason in node.counters)
    assert node.counters[reason] == 1
    assert net.run(lambda: is_closed(endless))
    assert guest.send("n1", b"still there") is None
    assert net.run(lambda: net.payloads("n1") == [b"still there"])
    endless.close()


@pytest.mark.parametrize("endpoint", [TCP, None])
def test_answers_that_are_not_read_are_bounded_and_their_asker_is_cut_off(
    net: Net, endpoint: str | None
) -> None:
    node = net.node("n1", endpoint=endpoint, tuning=Tuning(unread_bytes_max=8 * MIB))
    deaf = greeted(node)
    hello = FrameWriter("test", "deaf", 1).write(0, FrameKind.HELLO, b"")
    deaf.sendall(b"\x00" + bytes([len(hello)]) + hello)
    assert net.run(lambda: net.is_up("n1", "deaf"))
    refusals: list[str | None] = []

    def is_refused() -> bool:
        refusals.append(node.send("deaf", bytes(MIB)))
        return refusals[-1] == "not read there"

    assert net.run(is_refused)
    assert refusals.count(None) <= 64 + 20
    assert node.counters["cut off: answers not read"] == 1
    deaf.close()


@pytest.mark.parametrize("endpoint", [TCP, None])
def test_what_all_leave_unread_together_is_bounded_and_who_leaves_the_most_is_cut_off(
    net: Net, endpoint: str | None
) -> None:
    node = net.node("n1", endpoint=endpoint, tuning=Tuning(unread_all_bytes_max=40 * MIB))
    names = [f"deaf{number}" for number in range(4)]
    deaf = [greeted(node) for _ in names]
    for name, raw in zip(names, deaf, strict=True):
        hello = FrameWriter("test", name, 1).write(0, FrameKind.HELLO, b"")
        raw.sendall(b"\x00" + bytes([len(hello)]) + hello)
    assert net.run(lambda: all(net.is_up("n1", name) for name in names))

    def is_bounded() -> bool:
        for name in [names[0], *names]:  # The first of them is told the most.
            node.send(name, bytes(MIB))
        return node.counters[WORST] > 0

    assert net.run(is_bounded)
    assert net.run(lambda: is_closed(deaf[0]))
    assert not any(is_closed(raw) for raw in deaf[1:])
    assert [node.counters[WORST], node.counters["cut off: answers not read"]] == [1, 0]
    for raw in deaf:
        raw.close()


@pytest.mark.parametrize("limit", ["held_bytes_max", "held_all_bytes_max"])
def test_what_all_send_together_and_no_frame_brings_is_bounded(net: Net, limit: str) -> None:
    node = net.node("n1", endpoint=TCP, tuning=Tuning(**{limit: 24 * MIB}))
    endless = [greeted(node) for _ in range(3)]
    for raw in endless:
        raw.settimeout(60.0)
    with suppress(OSError):
        for _ in range(40):  # Until it is closed: a slow machine lets some of it pass as heartbeats.
            for raw in [endless[0], *endless]:
                raw.sendall(part(MIB))
                node.poll(0.0)
                net.events["n1"] += node.receive()
    assert net.run(lambda: is_closed(endless[0]))
    by_all = node.counters["cut off: sent more than can be handled, the most of all connections"]
    assert (by_all > 0) == (limit == "held_all_bytes_max")
    for raw in endless:
        raw.close()


def test_answers_that_many_read_are_not_too_many_together(net: Net) -> None:
    node = net.node("n1", endpoint=TCP, tuning=Tuning(unread_all_bytes_max=2 * MIB))
    readers = [f"reader{number}" for number in range(4)]
    for name in readers:
        net.guest(name).connect("n1", str(node.endpoint))
    assert net.run(lambda: all(net.is_up("n1", name) for name in readers))
    for count in range(1, 4):
        for name in readers:
            assert node.send(name, bytes(MIB // 4)) is None
        assert net.run(lambda count=count: all(len(net.payloads(name)) == count for name in readers))  # type: ignore[misc]
    assert not any(reason.startswith("cut off") for reason in node.counters)


def test_answers_that_are_read_are_never_too_many(net: Net) -> None:
    node = net.node("n1", endpoint=TCP, tuning=Tuning(unread_bytes_max=8 * MIB, unread_all_bytes_max=9 * MIB))
    guest = net.guest("reader")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n1", "reader"))
    for count in range(1, 31):
        assert node.send("reader", bytes(MIB)) is None
        assert net.run(lambda count=count: len(net.payloads("reader")) == count)  # type: ignore[misc]
    assert not any(reason.startswith("cut off") for reason in node.counters)


@pytest.mark.parametrize("idle", [True, False])
def test_what_the_protocol_itself_sends_is_laid_to_no_one(net: Net, idle: bool) -> None:
    tuning = Tuning(held_bytes_max=2_000, heartbeat_milliseconds=10)
    node = net.node("n1", endpoint=TCP, tuning=tuning)
    guest = net.guest("n2", tuning=tuning)
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n2", "n1"))
    for _ in range(60):
        if not idle:
            for _ in range(50):
                guest.send("n1", b"")
        for transport in net.transports:
            transport.poll(0.01)
            net.events[transport.name] += transport.receive()
    assert not [reason for reason in node.counters if reason.startswith("cut off")]


def test_those_who_say_nothing_make_way_for_members_and_clients(net: Net) -> None:
    node = net.node("n1", endpoint=TCP, tuning=Tuning(connections_max=64, handshake_milliseconds=60_000))
    silent = [connection(node) for _ in range(40)]
    reason = "cut off: too many connections that say nothing"
    assert net.run(lambda: node.counters.get(reason, 0) == 40 - 16)
    guest = net.guest("n2")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2"))
    assert [is_closed(raw) for raw in silent[:20]] == [True] * 20
    for raw in silent:
        raw.close()


def test_clients_beyond_the_cap_are_cut_off_and_members_are_not(net: Net) -> None:
    node = net.node("n1", endpoint=TCP, tuning=Tuning(connections_max=16))
    guests = [net.guest(f"guest{number}") for number in range(14)]
    for guest in guests:
        guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: node.counters.get("cut off: too many connections", 0) > 0)
    member = net.node("n2", endpoint=TCP)
    node.connect("n2", str(member.endpoint))
    member.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))


def test_without_a_descriptor_a_connection_waits_for_one(net: Net) -> None:
    node, other = net.node("n1"), net.node("n2")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        node.connect("n2", str(other.endpoint))
        assert node.counters["no descriptor for a connection"] == 1
        assert node.send("n2", b"x") == "no descriptor is left for it"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert net.run(lambda: net.is_up("n2", "n1"))


def test_one_turn_reads_no_more_than_so_many_bytes(net: Net) -> None:
    node = net.node("n1", endpoint=TCP, tuning=Tuning(receive_bytes_max=3 * MIB))
    guest = net.guest("n2")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n2", "n1"))
    for _ in range(10):
        assert guest.send("n1", bytes(MIB)) is None
    most = 0
    while len(net.payloads("n1")) < 10:
        node.poll(1.0)
        events = node.receive()
        net.events["n1"] += events
        most = max(most, sum(type(event).__name__ == "Received" for event in events))
    assert most <= 4


def a_book() -> Connections:
    return Connections(
        Counter(),
        log_by_loguru,
        connections_max=64,
        held_bytes_max=64 * MIB,
        unread_bytes_max=64 * MIB,
        held_all_bytes_max=64 * MIB,
        unread_all_bytes_max=64 * MIB,
    )


def test_a_process_is_woken_more_often_only_while_a_connection_holds_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: now[0]))
    book = a_book()
    assert book.due_seconds() is None

    def due_after_a_look() -> float | None:
        now[0] += LOOK_SECONDS
        book.look()
        return book.due_seconds()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with peer, accepted:
            book.accepted(accepted.fileno())
            assert book.due_seconds() == pytest.approx(LOOK_SECONDS)
            assert due_after_a_look() == pytest.approx(QUIET_LOOK_SECONDS)
            for _ in range(32):
                peer.sendall(bytes(MIB // 16))
                accepted.recv(MIB // 16, socket.MSG_WAITALL)
            assert due_after_a_look() == pytest.approx(LOOK_SECONDS)
    book.close()


def test_without_a_descriptor_for_the_memory_s_size_connections_are_accepted_and_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("io.FileIO", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
    now = [100.0]
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: now[0]))
    book = a_book()
    one, other = socket.socketpair()
    with one, other:
        book.accepted(one.fileno())
        now[0] += LOOK_SECONDS
        book.look()
    assert len(book) == 1
    book.close()
