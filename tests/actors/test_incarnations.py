"""How actors begin, crash, are started again, and end."""

from __future__ import annotations

from typing import Any

import pytest

from actors import (
    Actor,
    Address,
    Backoff,
    CrashReport,
    Reply,
    Restart,
    RestartPolicy,
    Runtime,
    Strategy,
)
from actors.errors import GaveUp
from tests.actors.world import AT_ONCE, Bomb, Do, Note, Probe, Question, World, notes, outcome


def family(strategy: Strategy, journal: list[str], names: str = "abc", **policy: Any) -> type[Actor]:
    """A parent whose children write into a journal when they start and stop."""

    class Child(Actor):
        @property
        def name(self) -> str:
            return self.context.address.actor.rpartition("/")[2]

        def on_start(self) -> None:
            journal.append(f"start {self.name}")

        def on_stop(self) -> None:
            journal.append(f"stop {self.name}")

        def on_bomb(self, bomb: Bomb) -> None:
            raise RuntimeError(f"boom in {self.name}")

        def on_do(self, do: Do) -> None:
            do.call(self)

        handlers = {Bomb: on_bomb, Do: on_do}

    class Parent(Child):
        supervision = RestartPolicy(strategy=strategy, **{"backoff": AT_ONCE, **policy})

        def on_start(self) -> None:
            super().on_start()
            for name in names:
                self.context.spawn(Child, name)

        def on_crash_report(self, report: CrashReport) -> None:
            journal.append(f"report {report.address.actor}")

        handlers = {**Child.handlers, CrashReport: on_crash_report}

    return Parent


def start_family(world: World, strategy: Strategy, **policy: Any) -> tuple[Runtime, list[str]]:
    journal: list[str] = []
    runtime = world.process("p", supervision=RestartPolicy(max_restarts=1, backoff=AT_ONCE))
    runtime.spawn(family(strategy, journal, **policy), "parent")
    world.settle()
    assert journal == ["start parent", "start a", "start b", "start c"]
    journal.clear()
    return runtime, journal


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["stop b", "start b"]),
        (Strategy.ONE_FOR_ALL, ["stop b", "stop c", "stop a", "start a", "start b", "start c"]),
        (Strategy.REST_FOR_ONE, ["stop b", "stop c", "start b", "start c"]),
    ],
)
def test_a_crash_restarts_whom_the_strategy_names(strategy: Strategy, expected: list[str]) -> None:
    world = World()
    runtime, journal = start_family(world, strategy)
    runtime.tell(Address("p", "parent/b"), Bomb())
    world.settle()
    assert [line for line in journal if "report" not in line] == expected


def test_the_failing_message_is_not_handled_again_and_those_behind_it_are() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    for message in (Note("before"), Bomb(), Note("behind")):
        a.tell(address, message)
    world.settle()
    assert seen == [Note("before"), "stop", "restart after RuntimeError: boom", Note("behind")]
    assert len(world.crashes) == 1


def test_a_crash_is_reported_with_its_traceback_to_the_hook_and_the_parent() -> None:
    world = World()
    runtime, journal = start_family(world, Strategy.ONE_FOR_ONE)
    runtime.tell(Address("p", "parent/b"), Bomb())
    world.settle()
    (report,) = world.crashes
    assert (str(report.address), report.doing, report.error) == (
        "p/parent/b",
        "Bomb",
        "RuntimeError: boom in b",
    )
    assert "in on_bomb" in report.traceback
    assert report.consequence == "it is started again in 0.000 s"
    assert "report parent/b" in journal


def test_a_crash_without_a_hook_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from actors.failures.crash_reports import print_crash

    print_crash(CrashReport.of(Address("a", "b"), "Note", ValueError("bad"), "it is not started again"))
    assert "actor a/b crashed in Note; it is not started again\nValueError: bad" in capsys.readouterr().err


def test_a_restart_waits_for_its_backoff_and_loses_nothing_meanwhile() -> None:
    world = World()
    a = world.process("a", supervision=RestartPolicy(backoff=Backoff(first_seconds=1.0, jitter=0.0)))
    address, seen = world.probe(a)
    a.tell(address, Bomb())
    a.tell(address, Note("patience"))
    world.advance(0.999)
    assert notes(seen) == []
    world.advance(0.001)
    assert notes(seen) == ["patience"]
    assert a.inspect("probe").restarts == 1


def test_too_many_restarts_fail_the_parent_too() -> None:
    world = World()
    runtime, journal = start_family(world, Strategy.ONE_FOR_ONE, max_restarts=0)
    runtime.tell(Address("p", "parent/b"), Bomb())
    world.settle()
    assert [line for line in journal if "report" not in line] == [
        "stop b", "stop c", "stop a", "stop parent", "start parent", "start a", "start b", "start c",
    ]  # fmt: skip
    assert world.crashes[1].error == "GaveUp: parent/b ended after 0 restarts within 30 seconds"


def test_when_the_top_gives_up_everything_stops_and_run_says_so() -> None:
    world = World()
    a = world.process("a", supervision=RestartPolicy(max_restarts=1, backoff=AT_ONCE))
    _, other_seen = world.probe(a, "other")
    address, _ = world.probe(a)
    for _ in range(2):
        a.tell(address, Bomb())
    with pytest.raises(GaveUp, match="probe ended after 1 restarts"):
        a.run()
    assert other_seen == ["stop"]
    assert a.stopped


def test_a_start_that_fails_is_a_crash_like_any_other_and_needs_no_stop() -> None:
    world = World()
    a = world.process("a", supervision=RestartPolicy(max_restarts=3, backoff=AT_ONCE))
    attempts: list[str] = []

    class Fragile(Actor):
        def on_start(self) -> None:
            attempts.append("start")
            if len(attempts) < 3:
                raise OSError("not yet")

        def on_stop(self) -> None:
            attempts.append("stop")

    a.spawn(Fragile, "fragile")
    world.settle()
    assert attempts == ["start", "start", "start"]
    assert [report.doing for report in world.crashes] == ["its start", "its start"]


def test_a_factory_that_fails_is_a_crash_like_any_other() -> None:
    world = World()
    a = world.process("a")

    def factory() -> Actor:
        raise ValueError("no actor today")

    a.spawn(factory, "none", restart=Restart.TEMPORARY)
    world.settle()
    assert world.crashes[0].error == "ValueError: no actor today"
    assert a.actors == ()


@pytest.mark.parametrize("where", ["timer", "reply", "on_turn_end", "reader"])
def test_a_crash_in_a_callback_is_a_crash_of_its_actor(where: str) -> None:
    import os

    world = World()
    a = world.process("a")
    armed = [True]
    read, write = os.pipe()

    class Fragile(Actor):
        def on_start(self) -> None:
            if not armed:
                return
            if where == "timer":
                self.context.after(0, self.fail)
            elif where == "reply":
                self.context.ask(Address("a", "missing"), Question("?"), 1.0).then(print, self.fail)
            elif where == "reader":
                self.context.add_reader(read, self.fail)
                os.write(write, b"x")

        def on_turn_end(self) -> None:
            if where == "on_turn_end" and armed:
                self.fail()

        def fail(self, *arguments: object) -> None:
            armed.clear()
            raise RuntimeError(where)

    a.spawn(Fragile, "fragile")
    world.settle()
    a.run_turn()
    world.settle()
    os.close(read)
    os.close(write)
    assert [report.error for report in world.crashes] == [f"RuntimeError: {where}"]
    assert a.inspect("fragile").restarts == 1


def test_an_actor_that_stops_itself_is_gone_unless_it_is_permanent() -> None:
    world = World()
    a = world.process("a")
    for name, restart in (("mortal", Restart.TRANSIENT), ("permanent", Restart.PERMANENT)):
        address, _ = world.probe(a, name, restart=restart)
        world.do(a, address, lambda probe: probe.context.stop())
    assert a.actors == ("permanent",)
    assert a.inspect("permanent").restarts == 1


def test_what_waits_for_an_actor_that_stops_becomes_dead_letters() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    a.tell(address, Do(lambda probe: probe.context.stop()))
    a.tell(address, Note("too late"))
    world.settle()
    assert seen == ["stop"]
    assert a.dead_letters.counts == {"actor stopped": 1}


def test_a_parent_stops_its_child_at_once_and_grandchildren_first() -> None:
    world = World()
    runtime, journal = start_family(world, Strategy.ONE_FOR_ONE)
    runtime.tell(Address("p", "parent"), Do(lambda parent: parent.context.stop()))
    world.settle()
    assert journal == ["stop c", "stop b", "stop a", "stop parent"]
    assert runtime.actors == ()


def test_a_stopped_child_is_not_started_again() -> None:
    world = World()
    runtime, journal = start_family(world, Strategy.ONE_FOR_ALL)
    child = Address("p", "parent/b")
    runtime.tell(Address("p", "parent"), Do(lambda parent: parent.context.stop(child)))
    world.settle()
    runtime.tell(Address("p", "parent/a"), Bomb())
    world.settle()
    assert journal[0] == "stop b"
    assert "start b" not in journal
    assert "start c" in journal


def test_a_child_that_is_stopped_while_it_waits_to_be_restarted_stays_away() -> None:
    world = World()
    slow = Backoff(first_seconds=1.0, jitter=0.0)
    runtime, journal = start_family(world, Strategy.ONE_FOR_ONE, backoff=slow)
    child = Address("p", "parent/b")
    runtime.tell(child, Bomb())
    world.settle()
    runtime.tell(Address("p", "parent"), Do(lambda parent: parent.context.stop(child)))
    world.advance(5.0)
    assert "start b" not in journal


def test_a_sibling_whose_turn_to_start_has_not_come_when_another_crashes_is_started_once() -> None:
    world = World()
    slow = Backoff(first_seconds=1.0, jitter=0.0)
    runtime, journal = start_family(world, Strategy.ONE_FOR_ALL, backoff=slow)
    runtime.tell(Address("p", "parent/a"), Bomb())
    runtime.tell(Address("p", "parent/b"), Bomb())
    world.advance(5.0)
    starts = [line for line in journal if line.startswith("start")]
    assert starts == ["start a", "start b", "start a", "start b", "start c"]
    assert [line for line in journal if line.startswith("stop")] == [
        "stop a",
        "stop c",
        "stop b",
        "stop b",
        "stop a",
    ]


def test_a_crash_ends_the_timers_of_its_incarnation() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    world.do(a, address, lambda probe: probe.context.every(1.0, Note("tick")))
    world.advance(2.0)
    a.tell(address, Bomb())
    world.settle()
    seen.clear()
    world.advance(5.0)
    assert seen == []


def test_a_crash_puts_back_what_was_stashed_and_the_former_behaviour() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)
    table = {Note: lambda probe, _: probe.context.stash(), Bomb: Probe.on_bomb}
    world.do(a, address, lambda probe: probe.context.become(table))
    for message in (Note("1"), Note("2"), Bomb(), Note("3")):
        a.tell(address, message)
    world.settle()
    assert notes(seen) == ["1", "2", "3"]


def test_an_error_in_on_stop_is_reported_and_stops_nothing() -> None:
    world = World()
    a = world.process("a")

    class Clumsy(Actor):
        def on_stop(self) -> None:
            raise RuntimeError("while leaving")

    a.spawn(Clumsy, "clumsy")
    world.settle()
    a.stop()
    world.settle()
    assert a.stopped
    assert [(report.doing, report.error) for report in world.crashes] == [
        ("on_stop", "RuntimeError: while leaving")
    ]


def test_last_words_are_sent_before_the_runtime_stops() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    heir, seen = world.probe(b)

    class Dying(Actor):
        def on_stop(self) -> None:
            self.context.tell(heir, Note("all is yours"))

    a.spawn(Dying, "dying")
    world.settle()
    a.stop()
    world.settle()
    assert notes(seen) == ["all is yours"]
    assert a.stopped
    assert a.run_turn() == 0


def test_an_actor_that_is_ending_starts_no_other() -> None:
    world = World()
    a = world.process("a")

    class Stubborn(Actor):
        def on_stop(self) -> None:
            self.context.spawn(Actor, "heir")

    a.spawn(Stubborn, "stubborn")
    world.settle()
    a.stop()
    world.settle()
    assert "RuntimeStopped" in world.crashes[0].error
    assert a.actors == ()


def test_an_ask_open_at_the_stop_of_the_runtime_is_refused_to_the_asker() -> None:
    from actors.errors import TargetDown

    world = World()
    a, b = world.process("a", "b"), world.process("b")
    kept: list[Reply] = []
    there, _ = world.probe(b, on_question=lambda probe, _: kept.append(probe.context.reply_handle()))
    ends = outcome(a.ask(there, Question("?"), 10.0))
    world.settle()
    b.stop()
    world.settle()
    assert [type(end) for end in ends] == [TargetDown]


def test_a_crash_says_that_it_has_taken_back_become() -> None:
    world = World()
    runtime = world.process("a")
    probe, _ = world.probe(runtime)
    world.do(runtime, probe, lambda actor: actor.context.become({**actor.handlers, int: Probe.on_any}))
    runtime.tell(probe, Bomb())
    runtime.tell(probe, Bomb())
    world.settle()
    said = [report.consequence.partition(", ")[2] for report in world.crashes]
    assert said == ["and handles messages by its own table, not by that of `become`", ""]
