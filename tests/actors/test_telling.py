"""Messages between actors of one process and of several."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, Address, MailboxPolicy, Overflow
from actors.errors import BadAddress, NameTaken, RuntimeStopped, UnknownActor, UnregisteredMessage
from actors.lifecycle import BATCH_MESSAGES_MAX, TURN_MESSAGES_MAX
from tests.actors.world import Answer, Do, Handshake, Note, Probe, Question, World, echo, notes


def test_a_message_told_in_the_same_process_is_the_very_object() -> None:
    world = World()
    runtime = world.process("a")
    address, seen = world.probe(runtime)
    note = Note("hello")
    runtime.tell(address, note)
    world.settle()
    assert seen[0] is note


def test_a_message_crosses_processes_with_its_sender() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    here, _ = world.probe(a, "here")
    there, _ = world.probe(b, "there")
    senders: list[Address | None] = []
    world.do(
        b,
        there,
        lambda probe: probe.context.become({Note: lambda probe, _: senders.append(probe.context.sender)}),
    )
    world.do(a, here, lambda probe: probe.context.tell(there, Note("hello")))
    assert senders == [here]


def test_an_address_can_be_sent_and_used() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, seen = world.probe(b, "there")
    third, heard = world.probe(a, "third")
    a.tell(there, Handshake(third))
    world.settle()
    b.tell(seen[0].other, Note("pleased to meet you"))
    world.settle()
    assert notes(heard) == ["pleased to meet you"]


def test_an_address_reads_back_what_it_wrote() -> None:
    address = Address("n1", "raft/disk")
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "n1", "/raft", "n1/", "n 1/raft", "n#1/raft", "n1/raft//x", "n1/a b", "x" * 65 + "/a"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        Address.parse(text)


def test_a_message_to_a_missing_actor_is_a_dead_letter_with_its_reason() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    a.tell(Address("a", "missing"), Note("here"))
    a.tell(Address("b", "missing"), Note("there"))
    a.tell(Address("c", "missing"), Note("where"))
    world.settle()
    assert a.dead_letters.counts == {"no such actor": 1, "peer unknown": 1}
    assert b.dead_letters.counts == {"no such actor": 1}
    assert b.dead_letters.recent[0].kind == "Note"


def test_a_message_without_a_handler_is_a_dead_letter() -> None:
    world = World()
    a = world.process("a")
    address = a.spawn(Actor, "deaf")
    a.tell(address, Note("hello?"))
    world.settle()
    assert a.dead_letters.counts == {"no handler": 1}


def test_a_handler_is_found_by_the_exact_type() -> None:
    class Special(Note):
        pass

    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    a.tell(address, Special("x"))
    world.settle()
    assert (seen, a.dead_letters.counts) == ([], {"no handler": 1})


def test_a_message_without_a_tag_cannot_leave_the_process_and_says_so_to_its_sender() -> None:
    world = World()
    a = world.process("a", "b")
    world.process("b")
    with pytest.raises(UnregisteredMessage, match="Do has no tag"):
        a.tell(Address("b", "probe"), Do(print))


def test_a_message_that_cannot_be_encoded_leaves_the_others_of_its_frame_whole() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, seen = world.probe(b)
    a.tell(there, Note("first"))
    with pytest.raises(Exception, match="cannot be encoded"):
        a.tell(there, Note(object()))  # type: ignore[arg-type]
    a.tell(there, Note("second"))
    world.settle()
    assert notes(seen) == ["first", "second"]


def test_one_turn_sends_one_frame_to_each_process() -> None:
    world = World()
    a = world.process("a", "b", "c")
    world.process("b"), world.process("c")
    world.settle()
    sent: list[str] = []
    inner = world.faults["a"].inner
    send = inner.send
    inner.send = lambda process, payload: sent.append(process) or send(process, payload)  # type: ignore
    for _ in range(10):
        a.tell(Address("b", "x"), Note(""))
        a.tell(Address("c", "x"), Note(""))
    world.settle()
    assert sorted(sent) == ["b", "c"]


@given(st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 9)), max_size=60), st.integers(1, 5))
def test_what_one_actor_tells_another_arrives_in_order(sends: list[tuple[str, int]], turns: int) -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    probes = {name: world.probe(b, name) for name in "xy"}
    for number, (name, text) in enumerate(sends):
        a.tell(probes[name][0], Note(str(text)))
        if number % turns == 0:
            a.run_turn()
    world.settle()
    for name in "xy":
        assert notes(probes[name][1]) == [str(text) for to, text in sends if to == name]


@given(
    st.lists(st.sampled_from(["put", "take", "urgent"]), max_size=80),
    st.integers(1, 5),
    st.sampled_from(Overflow),
)
def test_a_mailbox_keeps_order_and_bound(steps: list[str], messages_max: int, overflow: Overflow) -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a, mailbox=MailboxPolicy(messages_max=messages_max, overflow=overflow))
    expected: list[str] = []
    waiting: list[str] = []
    lost = 0
    for number, step in enumerate(steps):
        if step == "put":
            a.tell(address, Note(str(number)))
            waiting.append(str(number))
            if len(waiting) > messages_max:
                waiting.pop(-1 if overflow is Overflow.DROP_NEWEST else 0)
                lost += 1
        elif step == "take":
            world.settle()
            expected += waiting
            waiting.clear()
    world.settle()
    assert notes(seen) == expected + waiting
    assert a.dead_letters.counts["mailbox full"] == lost == a.inspect("probe").dropped


def test_the_end_of_a_watched_actor_overtakes_what_waits() -> None:
    world = World()
    a = world.process("a")
    watcher, seen = world.probe(a, "watcher")
    mortal, _ = world.probe(a, "mortal")
    world.do(a, watcher, lambda probe: probe.context.watch(mortal))
    a.tell(mortal, Do(lambda probe: probe.context.stop()))
    for number in range(3):
        a.tell(watcher, Note(str(number)))
    world.settle()
    assert type(seen[0]).__name__ == "Terminated"
    assert notes(seen) == ["0", "1", "2"]


def test_a_full_mailbox_still_takes_what_the_actor_itself_has_caused() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a, mailbox=MailboxPolicy(messages_max=2))
    other, _ = world.probe(a, "other", on_question=echo)

    def fill(probe: Probe) -> None:
        probe.context.after(0, Note("timer"))
        probe.context.post(Note("post"))
        probe.context.tell(address, Note("told"))
        probe.context.tell(address, Note("told again"))
        a.tell(address, Note("lost"))
        probe.context.ask(other, Question("reply"), 1.0).then(seen.append, seen.append)

    world.do(a, address, fill)
    assert sorted(notes(seen)) == ["post", "timer", "told", "told again"]
    assert Answer("reply") in seen
    assert a.dead_letters.counts == {"mailbox full": 1}


def test_two_actors_that_keep_each_other_busy_do_not_keep_a_timer_from_firing() -> None:
    world = World()
    a = world.process("a")
    fired: list[int] = []

    class Player(Actor):
        def on_start(self) -> None:
            self.context.after(0, lambda: fired.append(1))

        def on_note(self, note: Note) -> None:
            self.context.tell(Address("a", "pong" if self.context.address.actor == "ping" else "ping"), note)

        handlers = {Note: on_note}

    ping, _ = a.spawn(Player, "ping"), a.spawn(Player, "pong")
    a.tell(ping, Note("for ever"))
    assert a.run_turn() >= TURN_MESSAGES_MAX
    assert len(fired) == 2


def test_an_actor_with_much_to_do_lets_the_others_have_their_turn() -> None:
    world = World()
    a = world.process("a")
    order: list[str] = []

    class Worker(Actor):
        def on_note(self, note: Note) -> None:
            order.append(note.text)

        handlers = {Note: on_note}

    for name in ("busy", "idle"):
        a.spawn(Worker, name)
    for _ in range(BATCH_MESSAGES_MAX + 1):
        a.tell(Address("a", "busy"), Note("busy"))
    a.tell(Address("a", "idle"), Note("idle"))
    world.settle()
    assert order.index("idle") == BATCH_MESSAGES_MAX


def test_the_end_of_a_turn_is_told_once_to_those_who_did_something_and_before_anything_leaves() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    _, seen = world.probe(b)
    ends: list[str] = []

    class Batching(Actor):
        def on_note(self, note: Note) -> None:
            self.context.after(0.0, lambda: None)  # Due in this very turn, which is one all the same.

        def on_turn_end(self) -> None:
            ends.append(self.context.address.actor)
            self.context.tell(Address("b", "probe"), Note("batch"))

        handlers = {Note: on_note}

    for name in ("one", "two"):
        a.spawn(Batching, name)
    world.settle()
    ends.clear()
    seen.clear()
    for _ in range(5):
        a.tell(Address("a", "two"), Note(""))
    a.run_turn()
    b.run_turn()
    assert (ends, notes(seen)) == (["two"], ["batch"])


def test_become_changes_the_table_and_unbecome_takes_it_back() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    shouted: list[str] = []
    a.tell(
        address,
        Do(
            lambda probe: probe.context.become(
                {Note: lambda _, note: shouted.append(note.text.upper()), Do: Probe.on_do}
            )
        ),
    )
    a.tell(address, Note("quiet"))
    a.tell(address, Do(lambda probe: probe.context.unbecome()))
    a.tell(address, Note("normal"))
    world.settle()
    assert (shouted, notes(seen)) == (["QUIET"], ["normal"])


def test_what_was_stashed_comes_next_and_in_order() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)

    def wait(probe: Any) -> None:
        probe.context.become({Note: lambda probe, _: probe.context.stash(), Answer: ready})

    def ready(probe: Any, _: Answer) -> None:
        probe.context.unbecome()
        probe.context.unstash_all()

    world.do(a, address, wait)
    for message in (Note("1"), Note("2"), Answer("ready"), Note("3")):
        a.tell(address, message)
    world.settle()
    assert notes(seen) == ["1", "2", "3"]


def test_a_stash_is_as_bounded_as_the_mailbox() -> None:
    world = World()
    a = world.process("a")
    address, _ = world.probe(a, mailbox=MailboxPolicy(messages_max=2))
    world.do(a, address, lambda probe: probe.context.become({Note: lambda probe, _: probe.context.stash()}))
    for number in range(3):
        a.tell(address, Note(str(number)))
        world.settle()
    assert a.inspect("probe").stashed == 2
    assert a.dead_letters.counts == {"stash full": 1}


def test_a_post_from_another_thread_wakes_the_loop() -> None:
    import threading

    from actors import Runtime
    from actors.transport.loopback import LoopbackNetwork
    from tests.actors.world import REGISTRY

    runtime = Runtime("a", transport=LoopbackNetwork().transport("a"), registry=REGISTRY)
    seen: list[Any] = []
    address = runtime.spawn(lambda: Probe(seen), "probe")
    thread = threading.Thread(target=lambda: runtime.post(address, Note("from afar")))
    thread.start()
    assert runtime.run_until(lambda: notes(seen) == ["from afar"], timeout_seconds=60)
    thread.join()


def test_a_reply_to_a_tell_is_a_tell_and_without_an_asker_a_dead_letter() -> None:
    world = World()
    a = world.process("a")
    one, heard = world.probe(a, "one")
    two, _ = world.probe(a, "two", on_question=lambda probe, _: probe.context.reply(Answer("back")))
    world.do(a, one, lambda probe: probe.context.tell(two, Question("?")))
    assert heard == [Answer("back")]
    a.tell(two, Question("?"))
    world.settle()
    assert a.dead_letters.counts == {"no reply expected": 1}


def test_a_name_is_taken_while_its_actor_lives_and_free_afterwards() -> None:
    world = World()
    a = world.process("a")
    address, _ = world.probe(a)
    with pytest.raises(NameTaken):
        world.probe(a)
    world.do(a, address, lambda probe: probe.context.stop())
    world.probe(a)


def test_only_a_parent_stops_its_child() -> None:
    world = World()
    a = world.process("a")
    one, _ = world.probe(a, "one")
    two, _ = world.probe(a, "two")
    world.do(a, one, lambda probe: probe.context.stop(two))
    assert "UnknownActor" in world.crashes[0].error
    assert "two" in a.actors
    with pytest.raises(UnknownActor):
        a.inspect("three")


def test_a_stopped_runtime_starts_no_actor() -> None:
    world = World()
    a = world.process("a")
    a.stop()
    world.settle()
    with pytest.raises(RuntimeStopped):
        a.spawn(Actor, "late")
