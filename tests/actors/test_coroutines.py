"""`async def` handlers: in a loop that these tests turn themselves, with the clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from actors import Actor, Address, Request, Runtime, answers, handles
from actors.errors import AskFailed, TargetDown
from tests.actors.world import Answer, Bomb, Note, Question, World, echo, outcome


class Ask(Request[str], frozen=True):
    """Ask an actor named so, and answer what it has answered."""

    name: str


class Waiter(Actor):
    """Waits for what its tests let happen."""

    def __init__(self, seen: list[Any], gates: dict[str, asyncio.Event]) -> None:
        self.seen = seen
        self.gates = gates

    @handles(Note)
    async def wait(self, note: Note) -> None:
        self.seen.append(f"begins {note.text}")
        try:
            await self.gates.setdefault(note.text, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.seen.append(f"cancelled {note.text}")
            raise
        self.seen.append(f"ends {note.text} of {self.context.sender}")

    @answers(Ask)
    async def ask(self, ask: Ask) -> str:
        answer = await self.context.ask(Address("b", ask.name), Question("?"), 5.0)
        return f"heard {answer.text}"

    @handles(Question)
    async def answer_itself(self, question: Question) -> None:
        await asyncio.sleep(0)
        self.context.reply(Answer(question.text))
        await asyncio.sleep(0)

    @handles(Answer)
    async def never_answer(self, answer: Answer) -> None:
        await asyncio.sleep(0)

    @handles(Bomb)
    async def explode(self, bomb: Bomb) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("boom")

    @handles(int)
    def count(self, number: int) -> None:
        self.seen.append(number)

    def on_stop(self) -> None:
        self.seen.append("stop")


class Reentrant(Waiter):
    reentrant: ClassVar[bool] = True


class Stage:
    """A world in an asyncio loop."""

    def __init__(self) -> None:
        self.world = World()
        self.a = self.world.process("a")
        self.seen: list[Any] = []
        self.gates: dict[str, asyncio.Event] = {}

    def spawn(self, kind: type[Waiter] = Waiter, runtime: Runtime | None = None) -> Address:
        return (runtime or self.a).spawn(lambda: kind(self.seen, self.gates), "waiter")

    async def settle(self) -> None:
        for _ in range(20):
            self.world.settle()
            await asyncio.sleep(0)

    async def open(self, gate: str) -> None:
        self.gates[gate].set()
        await self.settle()


def on_stage(test: Callable[[Stage], Awaitable[None]]) -> Callable[[], None]:
    async def run() -> None:
        await test(Stage())

    def wrapped() -> None:
        asyncio.run(run())

    return wrapped


async def _messages_wait(stage: Stage) -> None:
    waiter = stage.spawn()
    for note in "xy":
        stage.a.tell(waiter, Note(note))
    stage.a.tell(waiter, 1)
    await stage.settle()
    assert stage.seen == ["begins x"]
    assert stage.a.inspect("waiter").state == "awaiting"
    await stage.open("x")
    assert stage.seen == ["begins x", "ends x of None", "begins y"]
    await stage.open("y")
    assert stage.seen[3:] == ["ends y of None", 1]


test_messages_wait_while_a_handler_awaits = on_stage(_messages_wait)


async def _reentrant(stage: Stage) -> None:
    waiter = stage.spawn(Reentrant)
    probe, _ = stage.world.probe(stage.a)
    stage.world.do(stage.a, probe, lambda actor: actor.context.tell(waiter, Note("x")))
    stage.a.tell(waiter, Note("y"))
    stage.a.tell(waiter, 1)
    await stage.settle()
    assert stage.seen == [1, "begins x", "begins y"]
    await stage.open("x")
    assert stage.seen[3:] == ["ends x of a/probe"], "each goes on with its own message"


test_a_reentrant_actor_handles_others_meanwhile = on_stage(_reentrant)


async def _asks(stage: Stage) -> None:
    stage.world.probe(stage.world.process("b", "a"), "echo", on_question=echo)
    ends = outcome(stage.a.ask(stage.spawn(), Ask("echo"), 5.0))
    await stage.settle()
    assert ends == ["heard ?"]


test_a_handler_awaits_an_ask_and_answers_with_what_it_returns = on_stage(_asks)


async def _failed_ask(stage: Stage) -> None:
    waiter = stage.spawn()
    ends = outcome(stage.a.ask(waiter, Ask("missing"), 5.0))
    await stage.settle()
    (report,) = stage.world.crashes
    assert report.doing == "Ask"
    assert report.error == "Undeliverable: b: unknown"
    assert [type(end) for end in ends] == [TargetDown]


test_an_ask_that_fails_is_raised_and_left_uncaught_is_a_crash = on_stage(_failed_ask)


async def _claims(stage: Stage) -> None:
    for kind in (Waiter, Reentrant):
        waiter = stage.a.spawn(lambda kind=kind: kind(stage.seen, stage.gates), kind.__name__)  # type: ignore[misc]
        answered = [outcome(stage.a.ask(waiter, Question(text), 5.0)) for text in "xy"]
        unanswered = outcome(stage.a.ask(waiter, Answer("?"), 5.0))
        await stage.settle()
        assert answered == [[Answer("x")], [Answer("y")]]
        assert isinstance(unanswered[0], AskFailed)
        assert "not answered" in str(unanswered[0])


test_what_a_coroutine_answers_goes_to_its_own_asker = on_stage(_claims)


async def _crash(stage: Stage) -> None:
    waiter = stage.spawn()
    stage.a.tell(waiter, Bomb())
    stage.a.tell(waiter, 1)
    await stage.settle()
    assert [report.error for report in stage.world.crashes] == ["RuntimeError: boom"]
    assert stage.seen == ["stop", 1]
    assert stage.a.inspect("waiter").restarts == 1


test_an_exception_of_a_coroutine_is_a_crash_of_its_actor = on_stage(_crash)


async def _cancelled(stage: Stage) -> None:
    waiter = stage.spawn()
    stage.a.tell(waiter, Note("x"))
    await stage.settle()
    ends = outcome(stage.a.ask(waiter, Question("?"), 5.0))
    stage.a.stop()
    await stage.settle()
    assert stage.seen == ["begins x", "stop", "cancelled x"]
    assert isinstance(ends[0], AskFailed)
    assert stage.world.crashes == []


test_what_awaits_is_cancelled_when_its_actor_stops = on_stage(_cancelled)


class Stubborn(Waiter):
    @handles(Note)
    async def wait(self, note: Note) -> None:
        while True:
            try:
                await self.gates.setdefault(note.text, asyncio.Event()).wait()
                return
            except asyncio.CancelledError:
                self.seen.append("no")

    @handles(str)
    def restart(self, text: str) -> None:
        self.seen.append(text)


async def _swallowed(stage: Stage) -> None:
    probe, _ = stage.world.probe(stage.a)
    child = Address("a", "probe/waiter")
    spawn = lambda: Stubborn(stage.seen, stage.gates)  # noqa: E731
    stage.world.do(stage.a, probe, lambda actor: actor.context.spawn(spawn, "waiter"))
    stage.a.tell(child, Note("x"))
    await stage.settle()
    stage.world.do(stage.a, probe, lambda actor: actor.context.stop(child))
    stage.world.do(stage.a, probe, lambda actor: actor.context.spawn(spawn, "waiter"))
    stage.a.tell(child, "the next incarnation")
    await stage.settle()
    seen = list(stage.seen)
    await stage.open("x")
    assert sorted(seen) == ["no", "stop", "the next incarnation"]
    assert stage.world.crashes == []
    assert stage.a.inspect("probe/waiter").state == "running"


test_a_coroutine_that_swallows_its_cancellation_holds_up_nothing = on_stage(_swallowed)


async def _stops_itself(stage: Stage) -> None:
    class Leaving(Waiter):
        @handles(Note)
        async def wait(self, note: Note) -> None:
            self.context.stop()
            await asyncio.sleep(0)
            self.seen.append("after stop")

    stage.a.tell(stage.spawn(Leaving), Note("x"))
    await stage.settle()
    assert stage.seen == ["after stop", "stop"]
    assert stage.a.actors == ()


test_an_actor_that_stops_itself_ends_its_present_handler_first = on_stage(_stops_itself)


async def _tasks(stage: Stage) -> None:
    class Ticking(Waiter):
        async def on_start(self) -> None:
            await asyncio.sleep(0)
            self.seen.append("started")
            self.context.create_task(self.tick())

        async def tick(self) -> None:
            await self.gates.setdefault("tick", asyncio.Event()).wait()
            self.context.tell(self.context.address, 7)
            raise ValueError("the tick broke")

    waiter = stage.spawn(Ticking)
    stage.a.tell(waiter, 1)
    await stage.settle()
    assert stage.seen == ["started", 1]
    await stage.open("tick")
    assert [report.error for report in stage.world.crashes] == ["ValueError: the tick broke"] * 6
    assert stage.a.actors == ()


test_a_task_beside_the_handlers_crashes_its_actor_and_a_start_is_waited_for = on_stage(_tasks)


async def _timers(stage: Stage) -> None:
    waiter = stage.spawn()
    stage.a.tell(waiter, Note("x"))
    await stage.settle()
    cell = stage.a.office.cells["waiter"]
    cell.context.after(1.0, lambda: stage.seen.append("timer"))
    stage.world.advance(2.0)
    assert stage.seen == ["begins x"]
    await stage.open("x")
    assert stage.seen[1:] == ["ends x of None", "timer"]


test_a_timer_waits_while_a_handler_awaits = on_stage(_timers)


def test_without_a_loop_the_error_says_what_to_do() -> None:
    world = World()
    runtime = world.process("a")
    waiter = runtime.spawn(lambda: Waiter([], {}), "waiter")
    runtime.tell(waiter, Note("x"))
    world.settle()
    (report,) = world.crashes
    assert "this process has no asyncio loop: spawn the actor with `spawn_process`" in report.error


def test_on_stop_cannot_be_awaited() -> None:
    with pytest.raises(TypeError, match="on_stop cannot be an `async def`"):

        class Wrong(Actor):
            async def on_stop(self) -> None:  # type: ignore[override]
                pass
