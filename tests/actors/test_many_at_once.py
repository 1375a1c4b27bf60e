"""Many messages of one turn: taken in, answered and encoded together, as if they came one after the other."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Address, CrashReport, MailboxPolicy, Overflow, Reply, Runtime
from actors.codec import FrameBuilder, read_envelopes
from actors.errors import TargetDown
from actors.failures.dead_letters import Reason
from actors.transport.outbox import FRAME_BYTES_SOFT_MAX
from tests.actors.world import REGISTRY, Answer, Note, Probe, Question, World, echo, notes, outcome

SURROGATE = "\ud800"


def asked(world: World, count: int) -> tuple[Runtime, list[list[Any]], list[tuple[Reply, Question]], Address]:
    """So many asks of one process, whose replies the actor in another one keeps."""
    a, b = world.process("a", "b"), world.process("b")
    kept: list[tuple[Reply, Question]] = []
    there, _ = world.probe(b, on_question=lambda probe, it: kept.append((probe.context.reply_handle(), it)))
    ends = [outcome(a.ask(there, Question(str(number)), 60.0)) for number in range(count)]
    world.settle()
    return b, ends, kept, there


def answer(world: World, b: Runtime, there: Address, answers: list[tuple[Reply, object]]) -> None:
    world.do(b, there, lambda probe: probe.context.answer_all(answers))


@pytest.mark.parametrize("count", [1, 15, 16, 300])
def test_answers_that_are_sent_together_each_reach_their_asker(count: int) -> None:
    world = World()
    b, ends, kept, there = asked(world, count)
    answer(world, b, there, [(reply, Answer(it.text)) for reply, it in reversed(kept)])
    assert ends == [[Answer(str(number))] for number in range(count)]
    assert b.inspect("probe").owed == 0


def test_of_answers_that_are_sent_together_those_that_cannot_be_encoded_are_refused_alone() -> None:
    world = World()
    b, ends, kept, there = asked(world, 4)
    messages: list[object] = [Answer("0"), Answer(SURROGATE), Probe([]), Answer("3")]
    answer(world, b, there, [(reply, message) for (reply, _), message in zip(kept, messages, strict=True)])
    assert [ends[0], ends[3]] == [[Answer("0")], [Answer("3")]]
    assert [type(end) for end in (*ends[1], *ends[2])] == [TargetDown, TargetDown]


def test_an_ask_is_answered_once_however_its_answers_are_sent() -> None:
    world = World()
    b, ends, kept, there = asked(world, 3)
    kept[1][0].send(Answer("before"))
    answer(world, b, there, [(reply, Answer("together")) for reply, _ in kept])
    kept[2][0].send(Answer("behind"))
    world.settle()
    assert ends == [[Answer("together")], [Answer("before")], [Answer("together")]]


def test_an_actor_of_the_same_process_is_answered_with_the_very_object() -> None:
    world = World()
    a = world.process("a")
    kept: list[Reply] = []
    here, _ = world.probe(a, on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    ends = outcome(a.ask(here, Question("?"), 1.0))
    world.settle()
    said = Answer("!")
    answer(world, a, here, [(kept[0], said)])
    assert ends[0] is said


def test_what_has_no_asker_is_a_dead_letter_also_among_other_answers() -> None:
    world = World()
    b, ends, kept, there = asked(world, 1)
    b.tell(there, Question("told"))
    world.settle()
    answer(world, b, there, [(reply, Answer(it.text)) for reply, it in kept])
    assert ends == [[Answer("0")]]
    assert b.dead_letters.counts == {str(Reason.NO_REPLY_EXPECTED): 1}


def test_answers_that_are_too_big_for_one_frame_leave_in_several() -> None:
    world = World()
    b, ends, kept, there = asked(world, 3)
    big = "x" * (FRAME_BYTES_SOFT_MAX // 2)
    sizes: list[int] = []
    inner = world.faults["b"].inner
    send = inner.send

    def send_counted(process: str, payload: bytes) -> str | None:
        sizes.append(len(payload))
        return send(process, payload)

    inner.send = send_counted  # type: ignore[method-assign]
    answer(world, b, there, [(reply, Answer(big)) for reply, _ in kept])
    assert ends == [[Answer(big)]] * 3
    assert max(sizes) <= FRAME_BYTES_SOFT_MAX


@pytest.mark.parametrize("count", [1, 15, 16, 65_535, 65_536])
def test_envelopes_that_are_encoded_together_are_read_one_by_one(count: int) -> None:
    frame = FrameBuilder(REGISTRY)
    frame.add("first", "", 1, Note("0"))
    tag = REGISTRY.tag(Note)
    assert frame.add_all([("to", "", -number, tag, Note("")) for number in range(1, count + 1)], 1 << 30)
    frame.add("last", "", 1, Note("0"))
    envelopes, broken = read_envelopes(frame.take())
    assert [envelope.correlation for envelope in envelopes] == [1, *range(-1, -count - 1, -1), 1]
    assert broken == 0


def test_messages_of_one_frame_keep_their_order_among_actors_and_replies() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    one, ones = world.probe(b, "one")
    two, twos = world.probe(b, "two")
    back, _ = world.probe(a, "back", on_question=echo)
    world.settle()
    ends = outcome(b.ask(back, Question("?"), 1.0))
    b.run_turn()
    for number in range(3):
        a.tell(one, Note(f"one {number}"))
        a.tell(two, Note(f"two {number}"))
        a.tell(two, Note(f"two {number} again"))
    world.settle()
    assert notes(ones) == ["one 0", "one 1", "one 2"]
    assert notes(twos) == [f"two {number}{again}" for number in range(3) for again in ("", " again")]
    assert ends == [Answer("?")]


def test_a_message_of_the_runtime_keeps_its_place_among_others_of_its_frame() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, seen = world.probe(b)
    world.settle()
    report = CrashReport(Address("a", "child"), "a letter", "it broke", "", "it starts again")
    for message in (Note("before"), report, Note("behind")):
        a.tell(there, message)
    world.settle()
    assert [type(message) for message in seen if not isinstance(message, str)] == [Note, CrashReport, Note]


def test_a_reply_to_an_actor_keeps_its_place_among_what_it_is_told_in_the_same_frame() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    asker, seen = world.probe(b, "asker")

    def answer_in_between(probe: Probe, _: Question) -> None:
        probe.context.tell(asker, Note("before"))
        probe.context.reply(Answer("!"))
        probe.context.tell(asker, Note("behind"))

    there, _ = world.probe(a, "there", on_question=answer_in_between)
    world.settle()
    world.do(
        b, asker, lambda probe: probe.context.ask(there, Question("?"), 1.0).then(probe.on_any, probe.on_any)
    )
    assert [message for message in seen if not isinstance(message, str)] == [
        Note("before"),
        Answer("!"),
        Note("behind"),
    ]


def test_an_actor_that_a_reply_has_started_gets_what_follows_in_the_same_frame() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    kept: list[Reply] = []
    back, _ = world.probe(a, "back", on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    seen: list[Any] = []
    started = Address("b", "started")
    b.ask(back, Question("?"), 1.0).then(
        lambda _: b.spawn(lambda: Probe(seen), started.actor), lambda failure: pytest.fail(str(failure))
    )
    world.settle()
    a.tell(started, Note("before"))
    kept[0].send(Answer("!"))
    a.tell(started, Note("behind"))
    world.settle()
    assert notes(seen) == ["behind"]
    assert b.dead_letters.counts == {"no such actor": 1}


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [(Overflow.DROP_NEWEST, ["0", "1", "2"]), (Overflow.DROP_OLDEST, ["2", "3", "4"])],
)
def test_a_mailbox_takes_of_many_messages_what_it_would_of_each(overflow: Overflow, kept: list[str]) -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, seen = world.probe(b, mailbox=MailboxPolicy(messages_max=3, overflow=overflow))
    world.settle()
    for number in range(5):
        a.tell(there, Note(str(number)))
    world.settle()
    assert notes(seen) == kept
    assert b.inspect("probe").dropped == 2
