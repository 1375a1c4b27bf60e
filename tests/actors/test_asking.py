"""Questions, their replies, and all the ways in which a reply does not come."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Actor, Address, Inspect, Reply, Restart
from actors.errors import AskTimeout, TargetDown, Undeliverable
from actors.transport.faults import Fault
from tests.actors.world import Answer, Bomb, Do, Note, Probe, Question, World, echo, outcome


def silent(probe: Probe, question: Question) -> None:
    """Keep the right to answer, and don't use it."""
    probe.context.reply_handle()


@pytest.mark.parametrize("target", ["a", "b"])
def test_a_reply_ends_an_ask_here_and_across_processes(target: str) -> None:
    world = World()
    runtimes = {"a": world.process("a", "b"), "b": world.process("b")}
    there, _ = world.probe(runtimes[target], on_question=echo)
    ends = outcome(runtimes["a"].ask(there, Question("?"), 1.0))
    world.settle()
    assert ends == [Answer("?")]


def test_an_actor_hears_a_reply_in_its_own_turn() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=echo)
    asker, seen = world.probe(a, "asker")
    world.do(
        a, asker, lambda probe: probe.context.ask(there, Question("?"), 1.0).then(probe.on_any, probe.on_any)
    )
    assert seen == [Answer("?")]


def test_an_ask_of_the_program_leaves_before_the_first_wait_for_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=echo)
    a.tell(Address("ghost", "x"), Note("for none"))
    pending = a.ask(there, Question("?"), 1.0)
    at_first: list[dict[Address, str]] = []

    def wait(_timeout_seconds: float | None) -> None:
        at_first.append(dict(a.office.refused_tells.by_no_actor))
        b.run_turn()

    monkeypatch.setattr(a.transport, "poll", wait)
    assert a.run_until(pending, 1.0)
    assert pending.result() == Answer("?")
    assert at_first == [{Address("ghost", "x"): "peer unknown"}]


def test_an_ask_of_the_program_that_cannot_leave_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    a = world.process("a")
    pending = a.ask(Address("ghost", "x"), Question("?"), 1.0)
    monkeypatch.setattr(a.transport, "poll", lambda _timeout_seconds: pytest.fail("it waits"))
    assert a.run_until(pending, 1.0)
    assert isinstance(pending.failure, Undeliverable)


def test_an_ask_ends_when_its_time_is_up_and_not_before() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=silent)
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.advance(0.999)
    assert ends == []
    world.advance(0.001)
    assert [type(end) for end in ends] == [AskTimeout]


def test_each_of_many_asks_ends_at_its_own_time() -> None:
    world = World()
    a = world.process("a")
    there, _ = world.probe(a, on_question=silent)
    began = world.clock.now()
    ended: list[tuple[float, float]] = []
    for seconds in (3.0, 1.0, 2.0, 1.0):
        pending = a.ask(there, Question("?"), seconds)
        pending.then(print, lambda _, seconds=seconds: ended.append((seconds, world.clock.now() - began)))
    for _ in range(8):
        world.advance(0.5)
    assert ended == [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


@pytest.mark.parametrize("target", ["a", "b"])
def test_an_ask_ends_early_when_the_actor_that_owes_the_answer_stops(target: str) -> None:
    world = World()
    runtimes = {"a": world.process("a", "b"), "b": world.process("b")}
    there, _ = world.probe(runtimes[target], on_question=silent)
    ends = outcome(runtimes["a"].ask(there, Question("?"), 1.0))
    world.settle()
    world.do(runtimes[target], there, lambda probe: probe.context.stop())
    assert [type(end) for end in ends] == [TargetDown]


def test_an_ask_ends_early_when_the_actor_that_owes_the_answer_crashes() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=silent)
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.settle()
    b.tell(there, Bomb())
    world.settle()
    assert [type(end) for end in ends] == [TargetDown]


def test_an_ask_that_makes_its_handler_crash_ends_early() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b)
    ends = outcome(a.ask(there, Bomb(), 1.0))
    world.settle()
    assert [type(end) for end in ends] == [TargetDown]


def test_an_ask_that_waits_in_the_mailbox_of_an_actor_that_stops_was_not_delivered() -> None:
    world = World()
    a = world.process("a")
    there, seen = world.probe(a, on_question=echo)
    a.tell(there, Do(lambda probe: probe.context.stop()))
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.settle()
    assert [type(end) for end in ends] == [Undeliverable]
    assert Question("?") not in seen


def test_an_ask_ends_early_when_the_process_of_its_target_goes_down() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=silent)
    ends = outcome(a.ask(there, Question("?"), 60.0))
    world.settle()
    world.network.crash("b")
    world.settle()
    assert [type(end) for end in ends] == [TargetDown]


@pytest.mark.parametrize("target", ["a/missing", "b/missing", "c/missing"])
def test_an_ask_of_a_missing_actor_was_not_delivered(target: str) -> None:
    world = World()
    a = world.process("a", "b", "c")
    world.process("b")
    ends = outcome(a.ask(Address.parse(target), Question("?"), 1.0))
    world.settle()
    assert [type(end) for end in ends] == [Undeliverable]


def test_an_ask_without_a_handler_was_not_delivered() -> None:
    world = World()
    a = world.process("a")
    ends = outcome(a.ask(a.spawn(Actor, "deaf"), Question("?"), 1.0))
    world.settle()
    assert [type(end) for end in ends] == [Undeliverable]


def test_an_ask_that_its_handler_forgets_to_answer_fails_at_once() -> None:
    world = World()
    a = world.process("a")
    there, _ = world.probe(a)
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.settle()
    assert [type(end) for end in ends] == [TargetDown]


def test_an_ask_that_was_stashed_can_be_answered_later() -> None:
    world = World()
    a = world.process("a")
    patience = [True]

    def first_stash(probe: Probe, question: Question) -> None:
        if patience:
            probe.context.stash()
        else:
            echo(probe, question)

    there, _ = world.probe(a, on_question=first_stash)
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.settle()
    patience.clear()
    world.do(a, there, lambda probe: probe.context.unstash_all())
    assert ends == [Answer("?")]


def test_an_answer_may_be_given_later_and_only_once() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    kept: list[Reply] = []
    there, _ = world.probe(b, on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.settle()
    assert b.inspect("probe").owed == 1
    kept[0].send(Answer("later"))
    kept[0].send(Answer("again"))
    world.settle()
    assert ends == [Answer("later")]
    assert b.inspect("probe").owed == 0
    assert a.dead_letters.total == 0


def test_the_kept_answer_to_a_message_that_was_told_is_a_dead_letter_and_no_crash() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    kept: list[Reply] = []
    there, _ = world.probe(b, on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    a.tell(there, Question("?"))
    world.settle()
    kept[0].send(Answer("too late"))
    world.settle()
    assert b.dead_letters.counts == {"no reply expected": 1}
    assert world.crashes == []


def test_a_second_reply_is_a_dead_letter() -> None:
    world = World()
    a = world.process("a")

    def twice(probe: Probe, question: Question) -> None:
        echo(probe, question)
        echo(probe, question)

    there, _ = world.probe(a, on_question=twice)
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.settle()
    assert ends == [Answer("?")]
    assert a.dead_letters.counts == {"answered before": 1}


def test_a_reply_that_comes_too_late_is_a_dead_letter() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=echo)
    world.faults["b"].add(Fault(to="a", delay_seconds=2.0))
    world.faults["b"].connect("a", "loopback")
    ends = outcome(a.ask(there, Question("?"), 1.0))
    world.advance(3.0)
    assert [type(end) for end in ends] == [AskTimeout]
    assert a.dead_letters.counts == {"reply to nothing open": 1}


def test_a_reply_to_an_earlier_incarnation_finds_nothing_open_in_the_next() -> None:
    world = World()
    a, b = world.process("a"), world.process("b", "a")
    kept: list[Reply] = []
    there, _ = world.probe(b, on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    a.ask(there, Question("old"), 10.0)
    world.settle()
    stale = Reply(kept[0].to, kept[0].correlation, b.office.answer)
    world.network.crash("a")
    world.settle()
    again = world.process("a")
    ends = outcome(again.ask(there, Question("new"), 10.0))
    world.settle()
    stale.send(Answer("to the old"))
    world.settle()
    assert ends == []
    assert again.dead_letters.counts == {"reply to nothing open": 1}


def test_a_reply_from_another_process_than_was_asked_does_not_count() -> None:
    world = World()
    a, b, c = world.process("a", "b", "c"), world.process("b"), world.process("c")
    kept: list[Reply] = []
    there, _ = world.probe(b, on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    ends = outcome(a.ask(there, Question("?"), 10.0))
    world.settle()
    Reply(Address("a", ""), kept[0].correlation, c.office.answer).send(Answer("forged"))
    world.settle()
    assert ends == []
    assert a.dead_letters.counts == {"reply to nothing open": 1}


def test_an_actor_that_crashed_hears_nothing_of_what_its_former_incarnation_asked() -> None:
    world = World()
    a = world.process("a")
    kept: list[Reply] = []
    there, _ = world.probe(a, "there", on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    asker, seen = world.probe(a, "asker")
    world.do(
        a, asker, lambda probe: probe.context.ask(there, Question("?"), 1.0).then(seen.append, seen.append)
    )
    a.tell(asker, Bomb())
    world.settle()
    seen.clear()
    kept[0].send(Answer("?"))
    world.advance(2.0)
    assert seen == []


def test_a_reply_that_was_already_in_the_mailbox_when_its_asker_crashed_is_not_heard_either() -> None:
    world = World()
    a = world.process("a")
    kept: list[Reply] = []
    there, _ = world.probe(a, "there", on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    asker, seen = world.probe(a, "asker")
    world.do(
        a, asker, lambda probe: probe.context.ask(there, Question("?"), 1.0).then(seen.append, seen.append)
    )
    a.tell(asker, Bomb())
    kept[0].send(Answer("?"))
    world.settle()
    assert seen == ["stop", "restart after RuntimeError: boom"]


def test_an_ask_ends_early_when_its_process_is_replaced_before_it_was_seen_to_go() -> None:
    from actors import ProcessDown, ProcessUp
    from actors.transport.base import PeerUp

    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=silent)
    watcher, seen = world.probe(a, "watcher")
    world.do(a, watcher, lambda probe: probe.context.watch_process("b"))
    ends = outcome(a.ask(there, Question("?"), 60.0))
    world.settle()
    a.office.receive(PeerUp("b", 1))
    assert ends == []
    a.office.receive(PeerUp("b", 2))
    world.settle()
    assert [type(end) for end in ends] == [TargetDown]
    assert seen[-2:] == [ProcessDown("b", "replaced by a new incarnation"), ProcessUp("b", 2)]


def test_a_cancelled_ask_calls_neither_callback() -> None:
    world = World()
    a = world.process("a")
    there, _ = world.probe(a, on_question=echo)
    pending = a.ask(there, Question("?"), 1.0)
    ends = outcome(pending)
    pending.cancel()
    world.advance(2.0)
    assert ends == []


def test_the_outcome_can_be_had_without_callbacks() -> None:
    world = World()
    a = world.process("a")
    there, _ = world.probe(a, on_question=echo)
    answered = a.ask(there, Question("?"), 1.0)
    refused = a.ask(Address("a", "missing"), Question("?"), 1.0)
    world.settle()
    assert answered.done and answered.result() == Answer("?")
    with pytest.raises(Undeliverable, match="a/missing: no such actor"):
        refused.result()


def test_an_actor_can_be_inspected_from_another_process_even_while_it_waits_to_be_restarted() -> None:
    from actors import Backoff, RestartPolicy

    world = World()
    a = world.process("a", "b")
    b = world.process("b", supervision=RestartPolicy(backoff=Backoff(first_seconds=1.0)))
    there, _ = world.probe(b)
    b.tell(there, Bomb())
    b.tell(there, Note("waits"))
    world.settle()
    ends: list[Any] = outcome(a.ask(there, Inspect(), 1.0))
    world.settle()
    info = ends[0]
    assert (info.address, info.state, info.mailbox_depth) == (there, "restarting", 1)
    assert info.behaviour == ()
    assert info.last_error == "RuntimeError: boom"


def test_inspection_shows_what_an_actor_does() -> None:
    world = World()
    a = world.process("a")
    address, _ = world.probe(a, restart=Restart.PERMANENT)
    world.do(a, address, lambda probe: probe.context.spawn(Actor, "child"))
    a.tell(address, Note("1"))
    world.settle()
    info = a.inspect("probe")
    assert info.handled == 2
    assert "Note" in info.behaviour
    assert info.children == ("probe/child",)
    assert info.state == "running"
