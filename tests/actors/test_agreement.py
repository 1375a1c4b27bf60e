"""Both ends of a connection agree on what is open between them, whatever one of them has missed."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Address, Reply, Runtime, Terminated
from actors.codec import FrameBuilder
from actors.delivery import PROBE_SECONDS
from actors.envelope import OPEN_ASKS_MAX
from actors.errors import TargetDown
from actors.transport.base import PeerDown, PeerUp, Received
from actors.transport.outbox import KEPT_MESSAGES_MAX, RETRY_SECONDS
from tests.actors.world import REGISTRY, Answer, Bomb, Note, Question, World, notes, outcome


class Full:
    """A transport's send that refuses for as long as it is told to."""

    def __init__(self, world: World, name: str, reason: str = "full") -> None:
        inner = world.faults[name].inner
        self._send = inner.send
        self.reason: str | None = reason
        self.frames: list[bytes] = []
        inner.send = self  # type: ignore[method-assign, assignment]

    def __call__(self, process: str, payload: bytes) -> str | None:
        self.frames.append(payload)
        return self.reason or self._send(process, payload)

    def let_through(self) -> None:
        self.reason = None


def watching() -> tuple[World, Runtime, Runtime, Address, Address, list[Any]]:
    """A watcher in a, and whom it watches in b."""
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    watcher, seen = world.probe(a, "watcher")
    mortal, _ = world.probe(b, "mortal")
    world.do(a, watcher, lambda probe: probe.context.watch(mortal))
    return world, a, b, watcher, mortal, seen


def lose_and_find(runtime: Runtime, process: str, world: World) -> None:
    """One end is told that the other went and came back; the other end notices nothing."""
    runtime.office.receive(PeerDown(process, "silent"))
    runtime.office.receive(PeerUp(process, 1))
    world.settle()


def test_a_watcher_that_was_given_up_without_noticing_is_told_of_the_end_all_the_same() -> None:
    world, _, b, _, mortal, seen = watching()
    lose_and_find(b, "a", world)
    assert seen == []
    world.do(b, mortal, lambda probe: probe.context.stop())
    assert seen == [Terminated(mortal, "stopped itself")]


def test_a_watcher_that_was_given_up_is_told_of_an_end_that_it_missed() -> None:
    world, _, b, _, mortal, seen = watching()
    b.office.receive(PeerDown("a", "silent"))
    world.do(b, mortal, lambda probe: probe.context.stop())
    assert seen == []
    b.office.receive(PeerUp("a", 1))
    world.settle()
    assert seen == [Terminated(mortal, "no such actor")]


def test_who_was_given_up_by_the_watcher_forgets_it() -> None:
    world, a, b, _, _, seen = watching()
    lose_and_find(a, "b", world)
    assert [type(message) for message in seen] == [Terminated]
    assert b.office.cells["mortal"].watchers == {}


def test_an_ask_whose_answer_is_owed_by_a_process_that_gave_the_asker_up_ends_at_once() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    owed: list[Reply] = []
    there, _ = world.probe(b, on_question=lambda probe, _: owed.append(probe.context.reply_handle()))
    ends = [outcome(a.ask(there, Question(str(n)), 30.0)) for n in range(OPEN_ASKS_MAX + 1)]
    world.settle()
    lose_and_find(b, "a", world)
    for end in ends:
        assert isinstance(end[0], TargetDown)
        assert "it was lost" in str(end[0])


def test_an_ask_that_still_waits_in_a_mailbox_or_a_stash_or_as_a_debt_is_not_ended() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    owed: list[Reply] = []

    def put_off(probe: Any, question: Question) -> None:
        if question.text == "stash":
            probe.context.stash()
        else:
            owed.append(probe.context.reply_handle())

    there, _ = world.probe(b, on_question=put_off)
    kept = [outcome(a.ask(there, Question(text), 30.0)) for text in ("stash", "debt")]
    world.settle()
    cell = b.office.cells["probe"]
    from actors.envelope import OpenAsks

    waiting = outcome(a.ask(there, Question("waiting"), 30.0))
    a.flush()
    for event in b.transport.receive():
        b.office.receive(event)
    assert len(cell.mailbox) == 1
    asked = tuple(a.office.asks.open_at("b"))
    told = FrameBuilder(REGISTRY)
    told.add("", "", 0, OpenAsks(asked))
    b.office.receive(Received("a", 1, told.take()))
    world.settle()
    assert (kept, waiting) == ([[], []], [])
    world.do(b, there, lambda probe: probe.context.unstash_all())
    for reply in owed:
        reply.send(Answer("late"))
    world.settle()
    assert kept[1] == [Answer("late")]


def test_a_new_incarnation_is_asked_nothing_again() -> None:
    world, a, _, _, _, seen = watching()
    world.network.crash("b")
    world.settle()
    assert [type(message) for message in seen] == [Terminated]
    full = Full(world, "a")
    world.process("b")
    world.settle()
    assert full.frames == []
    assert a.peers == {"b": 2}


def test_an_end_is_told_once_a_full_peer_has_room_again() -> None:
    world, _, b, _, mortal, seen = watching()
    full = Full(world, "b")
    world.do(b, mortal, lambda probe: probe.context.stop())
    world.advance(3 * RETRY_SECONDS)
    assert seen == []
    full.let_through()
    world.advance(RETRY_SECONDS)
    assert seen == [Terminated(mortal, "stopped itself")]
    assert b.dead_letters.total == 0


def test_to_watch_an_actor_whose_process_is_full_does_not_end_it() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    watcher, seen = world.probe(a, "watcher")
    mortal, _ = world.probe(b, "mortal")
    full = Full(world, "a")
    world.do(a, watcher, lambda probe: probe.context.watch(mortal))
    assert seen == []
    full.let_through()
    world.advance(RETRY_SECONDS)
    world.do(b, mortal, lambda probe: probe.context.stop())
    assert seen == [Terminated(mortal, "stopped itself")]


def test_unwatch_behind_a_watch_that_waits_does_not_overtake_it() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    watcher, _ = world.probe(a, "watcher")
    mortal, _ = world.probe(b, "mortal")
    full = Full(world, "a")
    world.do(a, watcher, lambda probe: probe.context.watch(mortal))
    full.let_through()
    world.do(a, watcher, lambda probe: probe.context.unwatch(mortal))
    world.advance(RETRY_SECONDS)
    assert b.office.cells["mortal"].watchers == {}


def test_an_answer_that_found_its_asker_full_is_said_to_be_lost() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=lambda probe, _: probe.context.reply(Answer("!")))
    full = Full(world, "b")
    ends = outcome(a.ask(there, Question("?"), 30.0))
    world.settle()
    assert ends == []
    full.let_through()
    world.advance(RETRY_SECONDS)
    assert isinstance(ends[0], TargetDown)
    assert "its answer could not be sent" in str(ends[0])


def test_a_refusal_that_found_its_asker_full_comes_later() -> None:
    world = World()
    a = world.process("a", "b")
    world.process("b")
    world.settle()
    full = Full(world, "b")
    ends = outcome(a.ask(Address("b", "missing"), Question("?"), 30.0))
    world.settle()
    full.let_through()
    world.advance(RETRY_SECONDS)
    assert "no such actor" in str(ends[0])


def test_a_crash_report_that_found_a_full_peer_comes_later() -> None:
    from actors import CrashReport

    def pass_on(report: CrashReport) -> None:
        b.tell(told, report)

    world = World()
    a, b = world.process("a", "b"), world.process("b", on_crash=pass_on)
    told, seen = world.probe(a, "told")
    crashing, _ = world.probe(b)
    full = Full(world, "b")
    b.tell(crashing, Bomb())
    world.settle()
    full.let_through()
    world.advance(RETRY_SECONDS)
    assert [type(message) for message in seen] == [CrashReport]


def test_what_waits_for_a_full_peer_is_bounded_and_whatever_overflows_is_made_up_for() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    watcher, seen = world.probe(a, "watcher")
    mortal, _ = world.probe(b, "mortal")
    world.do(a, watcher, lambda probe: probe.context.watch(mortal))
    full = Full(world, "b")
    world.do(b, mortal, lambda probe: probe.context.stop())
    ends = []
    for _ in range(KEPT_MESSAGES_MAX // 1000 + 1):
        ends += [outcome(a.ask(Address("b", "missing"), Question("?"), 30.0)) for _ in range(1000)]
        world.settle()
    assert b.office.outbox.kept == {"a": 1}
    full.let_through()
    world.advance(RETRY_SECONDS)
    assert all(isinstance(end[0], TargetDown) for end in ends)
    assert [message.address for message in seen] == [mortal]
    assert b.office.outbox.kept == {}


def test_nothing_is_kept_for_a_peer_that_is_down() -> None:
    world, _, b, _, mortal, _ = watching()
    Full(world, "b")
    world.do(b, mortal, lambda probe: probe.context.stop())
    assert "a" in b.office.outbox.kept
    world.network.crash("a")
    world.settle()
    assert b.office.outbox.kept == {}


def test_a_process_in_which_an_actor_is_watched_is_sent_something_now_and_then() -> None:
    world, a, b, watcher, mortal, _ = watching()
    full = Full(world, "a")
    full.let_through()
    world.advance(3 * PROBE_SECONDS)
    assert len(full.frames) == 3
    assert b.dead_letters.total == 0
    world.do(a, watcher, lambda probe: probe.context.unwatch(mortal))
    full.frames.clear()
    world.advance(3 * PROBE_SECONDS)
    assert full.frames == []


@pytest.mark.parametrize("target", ["a", "b"])
def test_an_end_that_waits_in_the_mailbox_is_not_told_after_unwatch(target: str) -> None:
    world = World()
    runtimes = {"a": world.process("a", "b"), "b": world.process("b")}
    watcher, seen = world.probe(runtimes["a"], "watcher")
    mortal, _ = world.probe(runtimes[target], "mortal")
    world.do(runtimes["a"], watcher, lambda probe: probe.context.watch(mortal))
    cell = runtimes["a"].office.cells["watcher"]

    def unwatch_when_told(probe: Any) -> None:
        runtimes[target].tell(mortal, Bomb())
        cell.put_urgent(Terminated(mortal, "in the mailbox"))
        cell.put_urgent(Terminated(watcher, "another"))
        probe.context.unwatch(mortal)

    world.do(runtimes["a"], watcher, unwatch_when_told)
    assert seen == [Terminated(watcher, "another")]


def test_news_of_a_process_that_wait_in_the_mailbox_are_not_told_after_unwatch_process() -> None:
    world = World()
    a = world.process("a", "b")
    world.process("b")
    world.settle()
    watcher, seen = world.probe(a, "watcher")

    def look_and_look_away(probe: Any) -> None:
        probe.context.watch_process("b")
        probe.context.unwatch_process("b")

    world.do(a, watcher, look_and_look_away)
    assert seen == []


def test_what_a_former_incarnation_watched_is_not_told_to_the_next() -> None:
    world, a, b, watcher, mortal, seen = watching()
    cell = a.office.cells["watcher"]

    def crash_with_news_waiting(probe: Any) -> None:
        cell.put_urgent(Terminated(mortal, "in the mailbox"))
        raise RuntimeError("boom")

    world.do(a, watcher, crash_with_news_waiting)
    assert [message for message in seen if type(message) is Terminated] == []
    b.tell(mortal, Note("still here"))
    world.settle()
    assert notes(seen) == []
