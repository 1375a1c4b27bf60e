"""Routers: whom they choose, and what becomes of what a dead worker had in its hands."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from actors import Address, Runtime
from actors.errors import AskTimeout, NoWorkers, TargetDown, Undeliverable
from actors.patterns.routing import Router, Routing
from tests.actors.world import Answer, Note, Probe, Question, World, echo, notes, outcome


def keep(probe: Probe, question: Question) -> None:
    """Never answer, and keep the right to."""
    probe.context.reply_handle()


class Team:
    """Workers in processes of their own, and a program that asks them."""

    def __init__(self, size: int, on_question: Any = echo) -> None:
        self.world = World()
        self.parent = self.world.process("parent")
        self.seen: dict[Address, list[Any]] = {}
        self.on_question = on_question
        for number in range(1, size + 1):
            self.start(f"w{number}")
        self.world.settle()

    def start(self, name: str) -> Runtime:
        worker = self.world.process(name, "parent")
        address, seen = self.world.probe(worker, on_question=self.on_question)
        self.seen[address] = seen
        return worker

    def router(self, routing: Routing = Routing.ROUND_ROBIN) -> Router:
        up = lambda member: member.process in self.parent.peers  # noqa: E731
        return Router(self.parent, self.seen, routing, is_up=up)

    def counts(self) -> list[int]:
        return [sum(type(message) is Question for message in seen) for seen in self.seen.values()]


def test_round_robin_takes_turns_and_skips_who_cannot_be_reached() -> None:
    team = Team(3)
    router = team.router()
    for _ in range(6):
        router.ask(Question("?"), 1.0)
    team.world.settle()
    assert team.counts() == [2, 2, 2]
    team.world.network.crash("w2")
    team.world.settle()
    for _ in range(4):
        router.ask(Question("?"), 1.0)
    team.world.settle()
    assert team.counts() == [4, 2, 4]


def test_the_least_loaded_is_who_has_the_fewest_asks_open() -> None:
    team = Team(2, on_question=keep)
    router = team.router(Routing.LEAST_LOADED)
    one, two = team.seen
    asks = [router.ask(Question("?"), 10.0) for _ in range(4)]
    team.world.settle()
    assert [router.load(one), router.load(two)] == [2, 2]
    for pending in asks:
        if pending.target == one:
            pending.cancel()
    assert [router.load(one), router.load(two)] == [0, 2]
    assert {router.choose() for _ in range(4)} == {one}


def test_a_key_belongs_to_one_member_and_few_keys_move_when_one_joins() -> None:
    team = Team(5)
    router = team.router(Routing.CONSISTENT_HASH)
    *others, new = router.members
    router.update(others)
    keys = [f"key {number}" for number in range(1000)]
    before = {key: router.choose(key) for key in keys}
    assert before == {key: router.choose(key) for key in keys}
    assert min(Counter(before.values()).values()) > 100
    router.update([*others, new])
    moved = {key for key in keys if router.choose(key) != before[key]}
    assert {router.choose(key) for key in moved} == {new}
    assert 100 < len(moved) < 350
    with pytest.raises(ValueError, match="needs a key"):
        router.ask(Question("?"), 1.0)


def test_what_a_dead_worker_had_in_its_hands_is_told_as_failed() -> None:
    team = Team(2, on_question=keep)
    ends = outcome(team.router().ask(Question("?"), 10.0))
    team.world.settle()
    team.world.network.crash("w1")
    team.world.settle()
    assert [type(end) for end in ends] == [TargetDown]


def test_it_is_done_again_by_another_one_where_the_caller_said_that_it_may_be() -> None:
    team = Team(1, on_question=keep)
    team.on_question = echo
    team.start("w2")
    router = team.router()
    ends = outcome(router.ask(Question("?"), 10.0, retries=1))
    team.world.settle()
    team.world.network.crash("w1")
    team.world.advance(1.0)
    assert ends == [Answer("?")]
    assert team.counts() == [1, 1]
    assert [router.load(member) for member in team.seen] == [0, 0]


def test_retries_are_used_up() -> None:
    team = Team(2, on_question=keep)
    ends = outcome(team.router().ask(Question("?"), 10.0, retries=1))
    for name in ("w1", "w2"):
        team.world.advance(0.1)
        team.world.network.crash(name)
    team.world.advance(0.1)
    assert [type(end) for end in ends] == [TargetDown]


def test_an_ask_waits_while_all_are_restarted_and_says_so_when_its_time_is_up() -> None:
    team = Team(1)
    team.world.network.crash("w1")
    team.world.settle()
    router = team.router()
    ends = outcome(router.ask(Question("?"), 10.0))
    team.world.advance(1.0)
    assert ends == []
    team.start("w1")
    team.world.advance(1.0)
    assert ends == [Answer("?")]
    team.world.network.crash("w1")
    team.world.settle()
    with pytest.raises(Undeliverable, match="none of the 1 members of the router can be reached"):
        router.choose()
    ends = outcome(router.ask(Question("?"), 2.0))
    team.world.advance(3.0)
    assert [type(end) for end in ends] == [AskTimeout]


def test_a_router_without_members_says_so_at_once() -> None:
    team = Team(0)
    router = team.router()
    ends = outcome(router.ask(Question("?"), 10.0))
    assert [type(end) for end in ends] == [NoWorkers]
    with pytest.raises(NoWorkers, match="has no members"):
        router.tell(Note("?"))
    assert router.tell_all(Note("?")) == 0


def test_a_member_is_drained_before_it_is_let_go() -> None:
    team = Team(2, on_question=keep)
    router = team.router()
    pending = router.ask(Question("?"), 10.0)
    team.world.settle()
    drained: list[str] = []
    router.drain(pending.target, lambda: drained.append("first"))
    (other,) = router.members
    router.drain(other, lambda: drained.append("second"))
    assert drained == ["second"]
    pending.cancel()
    assert drained == ["second", "first"]


def test_all_are_told() -> None:
    team = Team(2)
    assert team.router().tell_all(Note("x")) == 2
    team.router().tell(Note("y"))
    team.world.settle()
    assert [notes(seen) for seen in team.seen.values()] == [["x", "y"], ["x"]]
