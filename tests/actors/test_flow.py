"""How much may wait between two actors, in messages and bytes; senders are told when it is too much."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Address, MailboxPolicy, Overflow, Runtime, Undelivered
from actors.delivery import UNCOUNTED_BYTES_MAX
from actors.errors import Undeliverable
from actors.mailbox import Mailbox
from actors.transport.base import Received
from actors.transport.outbox import ASK_TAKEN_SECONDS, UNTAKEN_BYTES_ASKED, UNTAKEN_BYTES_MAX
from tests.actors.world import Answer, Note, Probe, Question, World, notes, outcome

MIB = 1024 * 1024
BIG = Note("x" * MIB)


class Busy:
    """Keeps a process from taking what it is sent, and counts the bytes that wait for it."""

    def __init__(self, world: World, runtime: Runtime) -> None:
        self._transport = world.faults[runtime.name]
        self._receive = self._transport.inner.receive
        self._transport.receive = list  # type: ignore[method-assign]

    @property
    def waiting_bytes(self) -> int:
        inbox = self._transport.inner.inbox  # type: ignore[attr-defined]
        return sum(len(event.payload) for event in inbox if isinstance(event, Received))

    def end(self) -> None:
        self._transport.receive = self._receive  # type: ignore[method-assign]


def two(**options: Any) -> tuple[World, Runtime, Runtime, Address, list[Any]]:
    """Two processes, and a Probe in the second."""
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, seen = world.probe(b, **options)
    return world, a, b, there, seen


def tell_in_turns(runtime: Runtime, to: Address, count: int) -> None:
    for _ in range(count):
        runtime.tell(to, BIG)
        runtime.run_turn()


def test_a_receiver_that_takes_nothing_is_sent_so_many_bytes_and_no_more() -> None:
    world, a, b, there, seen = two()
    busy = Busy(world, b)
    tell_in_turns(a, there, 200)
    assert UNTAKEN_BYTES_ASKED < busy.waiting_bytes <= UNTAKEN_BYTES_MAX
    assert a.dead_letters.counts["peer full"] > 100
    busy.end()
    world.settle()
    taken = len(seen)
    assert taken + a.dead_letters.counts["peer full"] == 200
    tell_in_turns(a, there, 10)
    world.settle()
    assert len(seen) == taken + 10


def test_a_receiver_that_keeps_up_is_never_refused() -> None:
    world, a, _, there, seen = two()
    for _ in range(200):
        a.tell(there, BIG)
        world.settle()
    assert len(seen) == 200
    assert a.dead_letters.total == 0


def test_a_receiver_is_asked_again_when_its_answer_was_lost() -> None:
    world, a, b, there, seen = two()
    busy = Busy(world, b)
    tell_in_turns(a, there, 100)
    world.faults["b"].inner.inbox.clear()  # type: ignore[attr-defined]
    busy.end()
    world.advance(2 * ASK_TAKEN_SECONDS)
    tell_in_turns(a, there, 1)
    world.settle()
    seen.clear()
    tell_in_turns(a, there, 1)
    world.settle()
    assert len(seen) == 1


def test_a_new_connection_begins_with_nothing_sent() -> None:
    world, a, b, there, _ = two()
    Busy(world, b)
    tell_in_turns(a, there, 100)
    world.network.crash("b")
    world.settle()
    again = world.process("b")
    _, seen = world.probe(again)
    tell_in_turns(a, there, 10)
    world.settle()
    assert len(seen) == 10


@pytest.mark.parametrize("overflow", list(Overflow))
def test_a_mailbox_is_bounded_in_bytes(overflow: Overflow) -> None:
    policy = MailboxPolicy(bytes_max=3 * MIB + 1000, overflow=overflow)
    world, a, b, there, seen = two(mailbox=policy)
    for number in range(6):
        a.tell(there, Note(f"{number}" + "x" * MIB))
    b.transport.poll(0.0)
    a.run_turn()
    for event in b.transport.receive():
        b.office.receive(event)
    mailbox = b.office.cells["probe"].mailbox
    assert len(mailbox) == 3
    assert mailbox.bytes > 3 * MIB
    assert b.dead_letters.counts["mailbox full"] == 3
    world.settle()
    kept = "345" if overflow is Overflow.DROP_OLDEST else "012"
    assert [text[0] for text in notes(seen)] == list(kept)
    assert mailbox.bytes == 0


def test_one_message_always_finds_a_place() -> None:
    world, a, _, there, seen = two(mailbox=MailboxPolicy(bytes_max=0))
    a.tell(there, BIG)
    world.settle()
    assert notes(seen) == [BIG.text]


def test_what_is_put_aside_still_counts() -> None:
    world, a, b, there, _ = two(on_question=lambda probe, _: probe.context.stash())
    a.ask(there, Question("x" * MIB), 30.0)
    world.settle()
    mailbox = b.office.cells["probe"].mailbox
    assert mailbox.bytes > MIB
    probe = b.office.cells["probe"].actor
    probe.answering = lambda probe, _: probe.context.reply(Answer("!"))
    world.do(b, there, lambda probe: probe.context.unstash_all())
    assert mailbox.bytes == 0


def test_a_mailbox_that_is_emptied_counts_nothing() -> None:
    mailbox = Mailbox(MailboxPolicy(messages_max=1, overflow=Overflow.DROP_OLDEST))
    mailbox.put_counted((None, None, 0, 7))
    assert mailbox.put_counted((None, None, 0, 9)) == [(None, None, 0, 7)]
    assert mailbox.bytes == 9
    assert mailbox.put((None, None, 0)) == (None, None, 0, 9)
    assert mailbox.bytes == 0
    mailbox.put_counted((None, None, 0, 9))
    mailbox.clear()
    assert mailbox.bytes == 0


def test_small_messages_are_not_counted_in_bytes() -> None:
    world, a, _, there, seen = two(mailbox=MailboxPolicy(bytes_max=1))
    for _ in range(10):
        a.tell(there, Note("x" * (UNCOUNTED_BYTES_MAX // 2)))
    world.settle()
    assert len(seen) == 10


@pytest.mark.parametrize("sender", ["a", "b"])
def test_a_sender_is_told_once_a_turn_how_much_a_full_mailbox_has_refused(sender: str) -> None:
    world = World()
    runtimes = {"a": world.process("a", "b"), "b": world.process("b")}
    there, _ = world.probe(runtimes["b"], mailbox=MailboxPolicy(messages_max=2))
    here, _ = world.probe(runtimes[sender], "sender")
    told: list[Undelivered] = []
    table = {**Probe.handlers, Undelivered: lambda probe, message: told.append(message)}
    world.do(runtimes[sender], here, lambda probe: probe.context.become(table))

    def tell_much(probe: Probe) -> None:
        for _ in range(7):
            probe.context.tell(there, Note(""))

    world.do(runtimes[sender], here, tell_much)
    assert told == [Undelivered(there, "mailbox full", 5)]


def test_a_sender_is_told_what_the_way_to_a_process_has_refused() -> None:
    world, a, _, there, _ = two()
    here, _ = world.probe(a, "sender")
    told: list[Undelivered] = []
    table = {**Probe.handlers, Undelivered: lambda probe, message: told.append(message)}
    world.do(a, here, lambda probe: probe.context.become(table))
    world.faults["a"].inner.send = lambda process, payload: "full"  # type: ignore[method-assign]
    world.do(a, here, lambda probe: [probe.context.tell(there, Note("")) for _ in range(3)])
    assert told == [Undelivered(there, "peer full", 3)]


def test_a_sender_without_a_handler_for_it_is_told_nothing_and_its_process_counts() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, mailbox=MailboxPolicy(messages_max=2))
    here, seen = world.probe(a, "sender")
    world.do(a, here, lambda probe: [probe.context.tell(there, Note("")) for _ in range(5)])
    assert seen == []
    assert a.dead_letters.counts == {"mailbox full there": 3}


def test_a_stranger_tells_of_no_refusals_by_others() -> None:
    world, a, b, _, _ = two()
    here, _ = world.probe(a, "sender")
    b.tell(here, Undelivered(Address("c", "x"), "mailbox full", 9))
    world.settle()
    assert a.dead_letters.counts == {"undecodable": 1}


def test_a_program_learns_why_what_it_told_was_refused() -> None:
    world, a, _, there, _ = two(mailbox=MailboxPolicy(messages_max=2))
    for _ in range(3):
        a.tell(there, Note(""))
    world.settle()
    assert a.take_refusal(there) == "mailbox full"
    assert a.take_refusal(there) is None
    ends = outcome(a.ask(Address("c", "x"), Question("?"), 1.0))
    a.tell(Address("c", "x"), Note(""))
    world.settle()
    assert isinstance(ends[0], Undeliverable)
    assert a.take_refusal(Address("c", "x")) == "peer unknown"
