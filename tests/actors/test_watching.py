"""Actors and processes that are watched, and who is told when they end."""

from __future__ import annotations

import pytest

from actors import (
    Address,
    Terminated,
)
from tests.actors.world import Bomb, World


class TestWatching:
    """Death watch: of actors, and of processes."""

    @pytest.mark.parametrize("target", ["a", "b"])
    def test_the_end_of_an_actor_is_told_once_to_who_watches_it(self, target: str) -> None:
        world = World()
        runtimes = {"a": world.process("a", "b"), "b": world.process("b")}
        watcher, seen = world.probe(runtimes["a"], "watcher")
        mortal, _ = world.probe(runtimes[target], "mortal")
        for _ in range(2):
            world.do(runtimes["a"], watcher, lambda probe: probe.context.watch(mortal))
        assert seen == []
        world.do(runtimes[target], mortal, lambda probe: probe.context.stop())
        assert seen == [Terminated(mortal, "stopped itself")]

    def test_a_restart_is_not_an_end(self) -> None:
        world = World()
        a = world.process("a")
        watcher, seen = world.probe(a, "watcher")
        mortal, _ = world.probe(a, "mortal")
        world.do(a, watcher, lambda probe: probe.context.watch(mortal))
        a.tell(mortal, Bomb())
        world.settle()
        assert seen == []

    @pytest.mark.parametrize("target", ["a/missing", "b/missing", "c/missing"])
    def test_to_watch_a_missing_actor_is_to_hear_of_the_end_at_once(self, target: str) -> None:
        world = World()
        a = world.process("a", "b", "c")
        world.process("b")
        watcher, seen = world.probe(a, "watcher")
        world.do(a, watcher, lambda probe: probe.context.watch(Address.parse(target)))
        assert [type(message) for message in seen] == [Terminated]
        assert seen[0].address == Address.parse(target)

    @pytest.mark.parametrize("target", ["a", "b"])
    def test_who_no_longer_watches_hears_nothing(self, target: str) -> None:
        world = World()
        runtimes = {"a": world.process("a", "b"), "b": world.process("b")}
        watcher, seen = world.probe(runtimes["a"], "watcher")
        mortal, _ = world.probe(runtimes[target], "mortal")
        world.do(runtimes["a"], watcher, lambda probe: probe.context.watch(mortal))
        world.do(runtimes["a"], watcher, lambda probe: probe.context.unwatch(mortal))
        assert runtimes[target].office.cells["mortal"].watchers == {}
        world.do(runtimes[target], mortal, lambda probe: probe.context.stop())
        assert seen == []

    def test_the_death_of_a_process_is_the_end_of_those_watched_in_it(self) -> None:
        world = World()
        a, b = world.process("a", "b"), world.process("b")
        watcher, seen = world.probe(a, "watcher")
        mortal, _ = world.probe(b, "mortal")
        world.do(a, watcher, lambda probe: probe.context.watch(mortal))
        world.network.crash("b")
        world.settle()
        assert seen == [Terminated(mortal, "b: crashed")]

    def test_a_process_that_dies_watches_no_actor_any_more(self) -> None:
        world = World()
        a, b = world.process("a", "b"), world.process("b")
        watcher, _ = world.probe(a, "watcher")
        mortal, _ = world.probe(b, "mortal")
        world.do(a, watcher, lambda probe: probe.context.watch(mortal))
        world.network.crash("a")
        world.settle()
        assert b.office.cells["mortal"].watchers == {}

    def test_processes_are_seen_to_come_and_go_with_their_incarnations(self) -> None:
        from actors import ProcessDown, ProcessUp

        world = World()
        a = world.process("a", "b")
        watcher, seen = world.probe(a, "watcher")
        world.do(a, watcher, lambda probe: probe.context.watch_process("b"))
        assert seen == []
        world.process("b")
        world.settle()
        world.network.crash("b")
        world.settle()
        world.process("b")
        world.settle()
        assert seen == [ProcessUp("b", 1), ProcessDown("b", "crashed"), ProcessUp("b", 2)]
        assert a.peers == {"b": 2}

    def test_who_watches_a_process_that_is_up_is_told_so_at_once(self) -> None:
        from actors import ProcessUp

        world = World()
        a = world.process("a", "b")
        world.process("b")
        watcher, seen = world.probe(a, "watcher")
        world.do(a, watcher, lambda probe: probe.context.watch_process("b"))
        assert seen == [ProcessUp("b", 1)]

    def test_a_watcher_that_crashes_watches_no_actor_any_more(self) -> None:
        world = World()
        a = world.process("a", "b")
        world.process("b")
        watcher, seen = world.probe(a, "watcher")
        mortal, _ = world.probe(a, "mortal")
        world.do(a, watcher, lambda probe: probe.context.watch(mortal))
        world.do(a, watcher, lambda probe: probe.context.watch_process("b"))
        a.tell(watcher, Bomb())
        world.settle()
        seen.clear()
        world.do(a, mortal, lambda probe: probe.context.stop())
        world.network.crash("b")
        world.settle()
        assert seen == []
