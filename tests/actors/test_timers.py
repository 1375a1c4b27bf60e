"""Deadlines: in order, cancelled, periodic, and never before their moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.timers import Timer, Timers
from tests.actors.world import Bomb, Note, Probe, World, notes


def nothing() -> None:
    pass


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=200), st.integers(0, 20))
def test_due_are_those_whose_moment_has_come_in_its_order_without_the_cancelled(
    plans: list[tuple[int, bool]], now: int
) -> None:
    timers = Timers()
    planned = [(timers.at(deadline, nothing), deadline, cancel) for deadline, cancel in plans]
    for timer, _, cancel in planned:
        if cancel:
            timer.cancel()
            timer.cancel()
    live = sorted((deadline, number) for number, (_, deadline, cancel) in enumerate(planned) if not cancel)
    assert timers.next_deadline() == (live[0][0] if live else None)
    fired = list(timers.due(now))
    assert fired == [planned[number][0] for deadline, number in live if deadline <= now]
    rest = [deadline for deadline, _ in live if deadline > now]
    assert timers.next_deadline() == (rest[0] if rest else None)


def test_a_timer_cancelled_by_one_that_is_due_with_it_does_not_fire() -> None:
    timers = Timers()
    fired: list[str] = []
    first = timers.at(1.0, lambda: second.cancel())
    second = timers.at(1.0, lambda: fired.append("second"))
    for timer in timers.due(1.0):
        timer.action()
    assert not first.active
    assert fired == []


def test_a_timer_planned_by_one_that_is_due_waits_for_the_next_turn() -> None:
    timers = Timers()
    timers.at(1.0, lambda: timers.at(1.0, nothing) and None)
    assert [timer.action() for timer in timers.due(1.0)] == [None]
    assert timers.next_deadline() == 1.0


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    keep = timers.at(2.0, nothing)
    for _ in range(10_000):
        timers.at(1e9, nothing).cancel()
    assert len(timers.heap) < 200
    assert list(timers.due(2.0)) == [keep]


def test_a_periodic_timer_keeps_its_beat_and_skips_what_it_missed() -> None:
    timers = Timers()
    timer = timers.at(1.0, nothing, period_seconds=1.0)
    beats = []
    for now in (1.0, 2.25, 7.5, 8.0):
        assert list(timers.due(now)) == [timer]
        beats.append(timers.next_deadline())
    assert beats == [2.0, 3.0, 8.0, 9.0]


def test_a_group_holds_the_timers_that_may_still_fire() -> None:
    timers = Timers()
    group: set[Timer] = set()
    once, cancelled = timers.at(1.0, nothing, group=group), timers.at(1.0, nothing, group=group)
    periodic = timers.at(1.0, nothing, period_seconds=1.0, group=group)
    cancelled.cancel()
    assert list(timers.due(1.0)) == [once, periodic]
    assert group == {periodic}


@pytest.mark.parametrize("period_seconds", [0.0, -1.0])
def test_a_period_is_longer_than_nothing(period_seconds: float) -> None:
    with pytest.raises(ValueError, match="longer than nothing"):
        Timers().at(1.0, nothing, period_seconds=period_seconds)


def test_an_actor_is_told_or_called_at_its_moment_and_after_what_waits() -> None:
    world = World()
    a = world.process("a")
    address, seen = world.probe(a)

    def plan(probe: object) -> None:
        context = probe.context  # type: ignore[attr-defined]
        context.after(1.0, Note("told"))
        context.after(1.0, lambda: seen.append(Note("called")))
        context.after(1.0, Note("cancelled")).cancel()
        context.every(0.4, Note("beat"))

    world.do(a, address, plan)
    world.advance(0.5)
    assert notes(seen) == ["beat"]
    a.tell(address, Note("waits"))
    world.advance(0.5)
    assert notes(seen) == ["beat", "waits", "beat", "called", "told"]


def test_a_timer_takes_the_place_of_the_one_before_with_its_key() -> None:
    world = World()
    runtime = world.process("a")
    probe, seen = world.probe(runtime)
    world.do(runtime, probe, lambda actor: actor.context.after(1.0, Note("old"), key="tick"))
    world.advance(0.5)
    world.do(runtime, probe, lambda actor: actor.context.after(1.0, Note("new"), key="tick"))
    world.do(runtime, probe, lambda actor: actor.context.every(1.0, lambda: seen.append("beat"), key="beat"))
    world.advance(1.1)
    assert seen == [Note("new"), "beat"]
    world.do(runtime, probe, lambda actor: seen.append(actor.context.has_timer("tick")))
    world.do(runtime, probe, lambda actor: seen.append(actor.context.has_timer("beat")))
    assert seen[2:] == [False, True]


def test_nothing_comes_of_a_cancelled_key_though_its_message_waits_already() -> None:
    world = World()
    runtime = world.process("a")
    probe, seen = world.probe(runtime)

    def cancel_as_it_fires(actor: Probe) -> None:
        actor.context.after(1.0, lambda: actor.context.cancel_timer("tick"), key="first")
        actor.context.after(1.0, Note("tick"), key="tick")

    world.do(runtime, probe, cancel_as_it_fires)
    world.advance(2.0)
    assert seen == []


def test_a_restart_cancels_the_timers_of_the_incarnation_before() -> None:
    world = World()
    runtime = world.process("a")
    probe, seen = world.probe(runtime)
    world.do(runtime, probe, lambda actor: actor.context.after(1.0, Note("tick"), key="tick"))
    runtime.tell(probe, Bomb())
    world.advance(2.0)
    assert notes(seen) == []
    world.do(runtime, probe, lambda actor: seen.append(actor.context.has_timer("tick")))
    assert seen[-1] is False
