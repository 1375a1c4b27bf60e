"""Pulled work: credit between two actors, and pipelines of stages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from actors import Address, ProcessSystem
from actors.errors import ActorsError, AskFailed, TargetDown
from actors.patterns.flow import Outlet, Stage
from actors.processes.child_main import name_class
from tests.actors.workers import TAGS, Text, double, fail, shout
from tests.actors.world import Answer, Probe, Question, World


class Stream:
    """A producer, and a consumer in another process that answers when it is told to."""

    def __init__(self, **options: Any) -> None:
        self.world = World()
        self.a = self.world.process("a", "b")
        self.b = self.world.process("b")
        self.waiting: list[Any] = []
        self.producer, _ = self.world.probe(self.a)
        self.consumer, self.seen = self.world.probe(self.b, on_question=self._keep)
        self.replies: list[Any] = []
        self.outlets: list[Outlet] = []
        self.world.do(self.a, self.producer, lambda actor: self._make(actor, options))

    def _make(self, actor: Probe, options: dict[str, Any]) -> None:
        options.setdefault("window", 3)
        self.outlets.append(Outlet(actor.context, self.consumer, on_reply=self.replies.append, **options))

    def _keep(self, probe: Probe, question: Question) -> None:
        self.waiting.append(probe.context.reply_handle())

    def answer(self, count: int) -> None:
        for _ in range(count):
            self.waiting.pop(0).send(Answer("done"))
        self.b.run_turn()
        self.world.settle()


def questions() -> Iterator[Question]:
    return (Question(str(number)) for number in itertools.count())


def test_a_producer_sends_no_more_than_the_consumer_has_given_credit_for() -> None:
    stream = Stream()
    (outlet,) = stream.outlets
    taken: list[int] = []
    messages = (taken.append(number) or question for number, question in enumerate(questions()))
    stream.world.do(stream.a, stream.producer, lambda actor: outlet.feed(messages))
    assert len(stream.seen) == 3
    assert taken == [0, 1, 2]
    assert outlet.credit == 0
    stream.answer(2)
    assert [question.text for question in stream.seen] == list("01234")
    assert not outlet.offer(Question("one too many"))


def test_what_was_fed_goes_in_order_and_its_end_is_told() -> None:
    stream = Stream()
    (outlet,) = stream.outlets
    ends: list[str] = []

    def feed(actor: Probe) -> None:
        outlet.feed([Question("a"), Question("b")], lambda: ends.append("first"))
        outlet.feed([Question("c"), Question("d")], lambda: ends.append("second"))

    stream.world.do(stream.a, stream.producer, feed)
    assert [question.text for question in stream.seen] == ["a", "b", "c"]
    assert ends == ["first"]
    stream.answer(3)
    assert ends == ["first", "second"]
    stream.answer(1)
    assert len(stream.replies) == 4
    assert outlet.credit == 3


def test_what_a_dead_consumer_had_is_told_and_holds_up_nothing() -> None:
    lost: list[tuple[object, AskFailed]] = []
    stream = Stream(on_failure=lambda message, failure: lost.append((message, failure)))
    (outlet,) = stream.outlets
    stream.world.do(stream.a, stream.producer, lambda actor: outlet.feed([Question("a"), Question("b")]))
    stream.world.network.crash("b")
    stream.world.settle()
    assert [(message, type(failure)) for message, failure in lost] == [
        (Question("a"), TargetDown),
        (Question("b"), TargetDown),
    ]
    assert outlet.credit == 3


def test_a_failure_that_is_not_handled_is_a_crash_of_the_producer() -> None:
    stream = Stream()
    (outlet,) = stream.outlets
    stream.world.do(stream.a, stream.producer, lambda actor: outlet.feed([Question("a")]))
    stream.world.network.crash("b")
    stream.world.settle()
    assert [report.error for report in stream.world.crashes] == ["TargetDown: b: crashed"]


def test_a_window_lets_something_through() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Outlet(None, Address("b", "x"), window=0)  # type: ignore[arg-type]


def unchanged(question: Question) -> Question:
    return question


def test_a_stage_keeps_its_messages_until_the_next_one_is_there() -> None:
    world = World()
    runtime, client = world.process("a"), world.process("c", "a")
    stage = runtime.spawn(lambda: Stage(name_class(unchanged), Address("b", "probe")), "stage")
    answer = client.ask(stage, Question("x"), 60.0)
    world.settle()
    assert not answer.done
    sink = world.process("b")
    world.probe(sink, on_question=lambda probe, question: probe.context.reply(Answer(question.text)))
    runtime.transport.connect("b", "loopback")
    world.settle()
    assert answer.result() == Answer("x")


@pytest.mark.processes
def test_messages_flow_through_stages_in_order_and_a_failing_step_is_told() -> None:
    with ProcessSystem(TAGS) as system:
        pipeline = system.spawn_pipeline("loud", [double, shout], window=4)
        taken: list[int] = []
        messages = (taken.append(number) or Text(f"x{number}") for number in itertools.count())
        results = pipeline.map(messages)
        assert list(itertools.islice(results, 30)) == [f"X{number}" * 2 for number in range(30)]
        results.close()  # type: ignore[attr-defined]
        assert len(taken) < 30 + 4 * 8 + 5
        broken = system.spawn_pipeline("broken", [fail])
        with pytest.raises(TargetDown, match="no taste for salt"):
            list(broken.map(["salt"]))
        with pytest.raises(ActorsError, match="annotate its first parameter"):
            system.spawn_pipeline("vague", [len])
