"""Names and groups, known in all processes of a system."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Address, Runtime
from actors.envelope import GroupChanged, MonitorName, NameChanged, Register
from actors.errors import ActorsError, AskRefused
from actors.patterns.directory import DIRECTORY, Directory
from tests.actors.world import Bomb, Note, Probe, World, notes, outcome

WHERE = Address("hub", DIRECTORY)


def told(seen: list[Any]) -> list[Any]:
    return [message for message in seen if type(message) in (NameChanged, GroupChanged)]


class House:
    """A directory in the process `hub`, and processes that are connected to it and to each other."""

    def __init__(self) -> None:
        self.world = World()
        self.hub = self.world.process("hub", directory=WHERE)
        self.hub.spawn(Directory, DIRECTORY)
        self.seen: dict[str, list[Any]] = {}

    def process(self, name: str, *connect: str) -> Runtime:
        return self.world.process(name, "hub", *connect, directory=WHERE)

    def probe(self, runtime: Runtime, name: str = "probe") -> Address:
        address, self.seen[runtime.name] = self.world.probe(runtime, name)
        table = {**Probe.handlers, NameChanged: Probe.on_any, GroupChanged: Probe.on_any}
        self.world.do(runtime, address, lambda actor: actor.context.become(table))
        return address

    def ask(self, runtime: Runtime, probe: Address, what: str, *arguments: Any) -> list[Any]:
        """What a call of an actor's directory ends with."""
        ends: list[Any] = []

        def call(actor: Probe) -> None:
            pending = getattr(actor.context.directory, what)(*arguments)
            pending.then(ends.append, ends.append)

        self.world.do(runtime, probe, call)
        return ends


def test_a_name_has_one_holder_whom_every_process_finds() -> None:
    house = House()
    a, b = house.process("a"), house.process("b")
    one, two = house.probe(a), house.probe(b)
    assert house.ask(a, one, "register", "leader") == [NameChanged("leader", one)]
    assert house.ask(a, one, "register", "leader") == [NameChanged("leader", one)]
    (refused,) = house.ask(b, two, "register", "leader")
    assert isinstance(refused, AskRefused)
    assert "'leader' is taken by a/probe" in str(refused)
    assert house.ask(b, two, "where_is", "leader") == [NameChanged("leader", one)]
    assert house.ask(b, two, "where_is", "missing") == [NameChanged("missing", None)]


def test_those_who_monitor_a_name_are_told_whenever_its_holder_changes() -> None:
    house = House()
    a, b, c = (house.process(name) for name in "abc")
    one, two, three = house.probe(a), house.probe(b), house.probe(c)
    house.ask(c, three, "monitor_name", "leader")
    house.ask(a, one, "register", "leader")
    house.world.network.crash("a")
    house.world.settle()
    house.ask(b, two, "register", "leader")
    house.ask(b, two, "unregister", "leader")
    holders = [message.holder for message in told(house.seen["c"])]
    assert holders == [None, one, None, two, None]


def test_a_holder_that_restarts_keeps_its_name_and_one_that_stops_loses_it() -> None:
    house = House()
    a = house.process("a")
    one = house.probe(a)
    house.ask(a, one, "register", "leader")
    a.tell(one, Bomb())
    house.world.settle()
    assert house.ask(a, one, "where_is", "leader") == [NameChanged("leader", one)]
    house.world.do(a, one, lambda actor: actor.context.stop())
    two = house.probe(a, "another")
    assert house.ask(a, two, "where_is", "leader") == [NameChanged("leader", None)]


def test_groups_are_joined_left_told_and_watched() -> None:
    house = House()
    a, b = house.process("a", "b"), house.process("b")
    one, two = house.probe(a), house.probe(b)
    house.ask(a, one, "monitor_group", "workers")
    assert house.ask(a, one, "join", "workers") == [GroupChanged("workers", (one,))]
    assert house.ask(b, two, "join", "workers") == [GroupChanged("workers", (one, two))]
    assert house.ask(a, one, "tell_all", "workers", Note("hello")) == [GroupChanged("workers", (one, two))]
    assert [notes(house.seen[name]) for name in "ab"] == [["hello"], ["hello"]]
    assert house.ask(a, one, "leave", "workers") == [GroupChanged("workers", (two,))]
    house.world.network.crash("b")
    house.world.settle()
    members = [message.members for message in told(house.seen["a"])]
    assert members == [(), (one,), (one, two), (two,), ()]
    assert house.ask(a, one, "tell_all", "workers", Note("?")) == [GroupChanged("workers", ())]


def test_no_process_registers_actors_of_another() -> None:
    house = House()
    a = house.process("a")
    house.probe(a)
    for message in (Register("leader", Address("b", "probe")), MonitorName("leader", Address("b", "probe"))):
        ends = outcome(a.ask(WHERE, message, 1.0))
        house.world.settle()
        assert isinstance(ends[0], AskRefused)
        assert "not an actor of a" in str(ends[0])


def test_the_directory_is_waited_for_until_it_can_be_reached() -> None:
    world = World()
    a = world.process("a", "hub", directory=WHERE)
    probe, _ = world.probe(a)
    ends: list[Any] = []
    world.do(a, probe, lambda actor: actor.context.directory.join("g").then(ends.append, ends.append))
    world.advance(1.0)
    assert ends == []
    hub = world.process("hub", directory=WHERE)
    hub.spawn(Directory, DIRECTORY)
    world.advance(1.0)
    assert ends == [GroupChanged("g", (probe,))]


def test_a_runtime_without_a_directory_says_so() -> None:
    world = World()
    a = world.process("a")
    probe, _ = world.probe(a)
    with pytest.raises(ActorsError, match="has no directory"):
        _ = a.office.cells[probe.actor].context.directory


def test_after_a_cut_the_same_incarnation_is_in_its_groups_and_has_the_names_that_are_still_free() -> None:
    house = House()
    a, b = house.process("a"), house.process("b")
    one, two = house.probe(a), house.probe(b)
    house.ask(a, one, "join", "workers")
    house.ask(a, one, "register", "kept")
    house.ask(a, one, "register", "lost")
    house.ask(a, one, "monitor_group", "workers")
    house.ask(a, one, "monitor_name", "lost")
    house.world.network.part("a", "hub")
    house.world.settle()
    assert house.ask(b, two, "members", "workers") == [GroupChanged("workers", ())]
    house.ask(b, two, "register", "lost")
    house.seen["a"].clear()
    house.world.network.introduce("a", "hub")
    house.world.settle()
    assert house.ask(b, two, "members", "workers") == [GroupChanged("workers", (one,))]
    assert house.ask(b, two, "where_is", "kept") == [NameChanged("kept", one)]
    assert house.ask(b, two, "where_is", "lost") == [NameChanged("lost", two)]
    house.ask(b, two, "unregister", "lost")
    house.ask(b, two, "join", "workers")
    news = told(house.seen["a"])
    assert news[-1] == GroupChanged("workers", (one, two)), "it is told of changes again"
    assert NameChanged("lost", None) in news


def test_what_has_ended_during_a_cut_and_what_is_another_incarnation_is_in_no_group() -> None:
    house = House()
    a, b = house.process("a"), house.process("b")
    one, two = house.probe(a), house.probe(b)
    house.ask(a, one, "join", "workers")
    house.ask(b, two, "join", "workers")
    house.world.network.part("a", "hub")
    house.world.settle()
    house.world.do(a, one, lambda actor: actor.context.stop())
    house.world.network.introduce("a", "hub")
    house.world.network.crash("b")
    house.world.settle()
    again = house.process("b")
    three = house.probe(again, "other")
    assert house.ask(again, three, "members", "workers") == [GroupChanged("workers", ())]
