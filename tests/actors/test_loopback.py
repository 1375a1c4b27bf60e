"""The network inside one process behaves like one between processes."""

from __future__ import annotations

import os

import pytest

from actors import ProcessDown, ProcessUp
from actors.errors import TransportError
from actors.transport.base import PeerDown, PeerUp, Received
from actors.transport.loopback import LoopbackNetwork
from tests.actors.world import Do, Note, World, notes


def test_both_ends_are_told_of_each_other_before_anything_arrives() -> None:
    network = LoopbackNetwork()
    a = network.transport("a")
    a.connect("b", "")
    assert a.send("b", b"early") == "down"
    b = network.transport("b")
    assert a.send("b", b"hello") is None
    assert a.receive() == [PeerUp("b", 1)]
    assert b.receive() == [PeerUp("a", 1), Received("a", 1, b"hello")]


def test_who_was_connected_to_may_answer_and_a_stranger_may_not() -> None:
    network = LoopbackNetwork()
    a, b, c = (network.transport(name) for name in "abc")
    a.connect("b", "")
    assert b.send("a", b"answer") is None
    assert c.send("a", b"who?") == "unknown"


def test_the_next_incarnation_has_a_greater_number_and_hears_nothing_meant_for_the_last() -> None:
    network = LoopbackNetwork()
    a, b = network.transport("a"), network.transport("b")
    a.connect("b", "")
    a.send("b", b"for the first incarnation")
    network.leave("b", "crashed")
    assert a.send("b", b"undeliverable") == "down"
    b = network.transport("b")
    assert b.incarnation == 2
    assert b.receive() == [PeerUp("a", 1)]
    assert a.receive() == [PeerUp("b", 1), PeerDown("b", "crashed"), PeerUp("b", 2)]


def test_a_process_that_lives_has_no_second_incarnation() -> None:
    network = LoopbackNetwork()
    network.transport("a")
    with pytest.raises(TransportError):
        network.transport("a")


def test_a_closed_end_sends_nothing_more_and_may_be_woken() -> None:
    network = LoopbackNetwork()
    a, b = network.transport("a"), network.transport("b")
    a.connect("b", "")
    a.send("b", b"before")
    a.close()
    a.close()
    a.wake()
    assert a.send("b", b"after") == "closed"
    assert b.receive() == [PeerUp("a", 1), Received("a", 1, b"before"), PeerDown("a", "closed")]


def test_to_disconnect_parts_both_unless_the_other_is_connected_too() -> None:
    network = LoopbackNetwork()
    a, b = network.transport("a"), network.transport("b")
    a.connect("b", "")
    b.connect("a", "")
    a.disconnect("b")
    assert a.send("b", b"still") is None
    b.disconnect("a")
    assert a.send("b", b"gone") == "unknown"
    assert a.receive()[-1] == PeerDown("b", "disconnected")


def test_an_inbox_has_a_bound() -> None:
    network = LoopbackNetwork()
    a, _ = network.transport("a"), network.transport("b")
    a.connect("b", "")
    outcomes = {a.send("b", b"flood") for _ in range(20_000)}
    assert outcomes == {None, "full"}


def test_an_actor_connects_reads_and_disconnects() -> None:
    world = World()
    a, _ = world.process("a"), world.process("b")
    address, seen = world.probe(a)
    read, write = os.pipe()

    def begin(probe: object) -> None:
        context = probe.context  # type: ignore[attr-defined]
        context.watch_process("b")
        context.connect("b", "anywhere")
        context.add_reader(read, lambda: seen.append(Note(os.read(read, 9).decode())))

    world.do(a, address, begin)
    os.write(write, b"ready")
    a.run_turn()
    assert notes(seen) == ["ready"]
    world.do(a, address, lambda probe: probe.context.remove_reader(read))
    os.write(write, b"ignored")
    a.tell(address, Do(lambda probe: probe.context.disconnect("b")))
    world.settle()
    os.close(read)
    os.close(write)
    assert [type(message) for message in seen] == [ProcessUp, Note, ProcessDown]


def test_a_reader_ends_with_its_actor() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    read, write = os.pipe()
    world.do(a, address, lambda probe: probe.context.add_reader(read, lambda: seen.append("read")))
    world.do(a, address, lambda probe: probe.context.stop())
    os.write(write, b"x")
    a.run_turn()
    os.close(read)
    os.close(write)
    assert seen == ["stop"]
    assert world.network.ends["a"].readers == {}


def test_run_until_moves_the_time_no_further_than_needed() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    world.do(a, address, lambda probe: probe.context.after(2.0, Note("now")))
    assert world.network.run_until(lambda: bool(seen), 10.0)
    assert world.clock.now() == 2.0
    assert not world.network.run_until(lambda: len(seen) > 1, 10.0)
    assert world.clock.now() == 12.0
