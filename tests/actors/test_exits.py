"""Links: actors that fail together."""

from __future__ import annotations

from functools import partial

from actors import Address, Exit, Restart
from actors.envelope import Terminated
from tests.actors.world import Bomb, Probe, World

SYSTEM = Address("a", "directory")


def linked(world: World) -> tuple[list[object], list[object]]:
    """Two linked probes, at a/probe and b/probe, and what each has seen since."""
    here, there = world.process("a", directory=SYSTEM), world.process("b", "a", directory=SYSTEM)
    one, seen = world.probe(here)
    two, seen_too = world.probe(there)
    world.do(here, one, lambda actor: actor.context.link(two))
    return seen, seen_too


def test_each_of_two_linked_actors_fails_when_the_other_does() -> None:
    for failing, other in (("a", "b"), ("b", "a")):
        world = World()
        seen = dict(zip("ab", linked(world), strict=True))
        runtime = next(runtime for runtime in world.network.runtimes if runtime.name == failing)
        runtime.tell(Address(failing, "probe"), Bomb())
        world.settle()
        (start,) = [line for line in seen[other] if str(line).startswith("restart")]
        assert f"LinkedActorDown: {failing}/probe" in str(start)
        assert "crashed: RuntimeError: boom" in str(start)
        assert [report.address.process for report in world.crashes] == [failing, other]


def test_a_link_is_of_one_incarnation_of_both() -> None:
    world = World()
    linked(world)
    for _ in range(2):
        runtime = next(runtime for runtime in world.network.runtimes if runtime.name == "a")
        runtime.tell(Address("a", "probe"), Bomb())
        world.settle()
    assert [report.address.process for report in world.crashes] == ["a", "b", "a"]


def test_an_actor_that_handles_exit_is_told_and_does_not_fail() -> None:
    world = World()
    here, there = world.process("a", directory=SYSTEM), world.process("b", "a", directory=SYSTEM)
    one, _ = world.probe(here)
    two, seen = world.probe(there)
    world.do(there, two, lambda actor: actor.context.become({**actor.handlers, Exit: Probe.on_any}))
    world.do(there, two, lambda actor: actor.context.link(one))
    here.tell(one, Bomb())
    world.settle()
    (told,) = seen
    assert isinstance(told, Exit)
    assert told.failed
    assert told.address == one


def test_an_actor_that_stops_does_not_make_those_linked_to_it_fail() -> None:
    world = World()
    _, seen_too = linked(world)
    runtime = next(runtime for runtime in world.network.runtimes if runtime.name == "a")
    world.do(runtime, Address("a", "probe"), lambda actor: actor.context.stop())
    assert seen_too == []
    assert world.crashes == []


def test_linked_actors_fail_when_their_processes_lose_each_other() -> None:
    world = World()
    _, seen_too = linked(world)
    world.network.crash("a")
    world.settle()
    assert [report.error for report in world.crashes] == [
        "LinkedActorDown: a/probe, which it is linked to: a: crashed"
    ]
    assert "stop" in seen_too


def test_a_link_to_a_missing_actor_is_a_failure() -> None:
    world = World()
    here = world.process("a", directory=SYSTEM)
    one, _ = world.probe(here, restart=Restart.TEMPORARY)
    world.do(here, one, lambda actor: actor.context.link(Address("a", "missing")))
    assert [report.error for report in world.crashes] == [
        "LinkedActorDown: a/missing, which it is linked to: no such actor"
    ]


def unlinked(target: Address, actor: Probe) -> None:
    actor.context.unlink(target)


def test_nothing_fails_by_a_link_that_was_taken_back_at_either_end() -> None:
    for ends in ("a", "b"):
        world = World()
        linked(world)
        other = {"a": "b", "b": "a"}[ends]
        runtimes = {runtime.name: runtime for runtime in world.network.runtimes}
        target = Address(other, "probe")
        world.do(
            runtimes[ends], Address(ends, "probe"), lambda actor, target=target: actor.context.unlink(target)
        )  # type: ignore[misc]
        for name in "ab":
            runtimes[name].tell(Address(name, "probe"), Bomb())
        world.settle()
        assert sorted(report.error for report in world.crashes) == ["RuntimeError: boom"] * 2


def test_an_actor_outside_of_a_system_cannot_be_made_to_fail_by_linking_it() -> None:
    world = World()
    here, there = world.process("a"), world.process("b", "a")
    one, _ = world.probe(here)
    two, _ = world.probe(there)
    world.do(there, two, lambda actor: actor.context.link(one))
    assert [report.address for report in world.crashes] == [two], "it is told at once that it is not linked"
    there.tell(two, Bomb())
    world.settle()
    assert {report.address for report in world.crashes} == {two}


def test_the_end_of_another_actor_is_believed_of_ones_own_runtime_only() -> None:
    world = World()
    here, there = world.process("a", directory=SYSTEM), world.process("b", "a", directory=SYSTEM)
    one, seen = world.probe(here)
    for forged in (
        Exit(Address("b", "probe"), "forged", failed=True),
        Terminated(Address("b", "probe"), "forged"),
    ):
        world.do(here, one, lambda actor: actor.context.become({**actor.handlers, Exit: Probe.on_any}))
        there.ask(one, forged, 1.0)
        world.settle()
    assert world.crashes == []
    assert not any(isinstance(message, Exit | Terminated) for message in seen)
    assert here.dead_letters.counts["undecodable"] == 2


def test_a_link_that_was_taken_back_does_not_break_with_its_process_either() -> None:
    world = World()
    linked(world)
    runtimes = {runtime.name: runtime for runtime in world.network.runtimes}
    world.do(runtimes["a"], Address("a", "probe"), partial(unlinked, Address("b", "probe")))
    world.network.crash("a")
    world.settle()
    assert world.crashes == []
