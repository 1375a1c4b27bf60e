"""Faults on order: each does what it says, to whom it says, and the same seed does it again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Runtime
from actors.transport.faults import Fault, FaultyTransport
from tests.actors.world import Note, World, notes


def pair(world: World) -> tuple[Runtime, FaultyTransport, list[object]]:
    a, b = world.process("a", "b"), world.process("b")
    _, seen = world.probe(b)
    return a, world.faults["a"], seen


def send(world: World, runtime: Runtime, count: int) -> None:
    """Notes with their numbers, each in a frame of its own."""
    from actors import Address

    for number in range(count):
        runtime.tell(Address("b", "probe"), Note(str(number)))
        runtime.run_turn()
    world.settle()


def test_a_cut_is_one_way_and_ends_with_its_rule() -> None:
    world = World()
    a, faults, seen = pair(world)
    rule = faults.add(Fault(to="b", cut=True))
    send(world, a, 2)
    assert seen == []
    assert a.dead_letters.total == 0
    assert faults.counters == {"fault cut": 2}
    assert faults.clear(rule)
    send(world, a, 2)
    assert notes(seen) == ["0", "1"]


def test_a_fault_meets_only_the_frames_to_its_process() -> None:
    world = World()
    a, faults, seen = pair(world)
    faults.add(Fault(to="c", cut=True))
    send(world, a, 2)
    assert notes(seen) == ["0", "1"]


def test_a_fault_without_a_process_meets_all() -> None:
    world = World()
    a, faults, seen = pair(world)
    faults.add(Fault(cut=True))
    send(world, a, 2)
    assert seen == []


def test_a_delay_holds_each_frame_for_its_time() -> None:
    world = World()
    a, faults, seen = pair(world)
    faults.add(Fault(to="b", delay_seconds=0.5))
    send(world, a, 3)
    world.advance(0.499)
    assert seen == []
    world.advance(0.001)
    assert notes(seen) == ["0", "1", "2"]


@given(st.integers(), st.booleans())
def test_jitter_keeps_the_order_even_when_its_rule_is_cleared_meanwhile(seed: int, clear: bool) -> None:
    world = World(seed)
    a, faults, seen = pair(world)
    faults.add(Fault(to="b", jitter_seconds=0.5))
    send(world, a, 10)
    if clear:
        faults.clear()
    send(world, a, 5)
    world.advance(1.0)
    assert notes(seen) == [str(number) for number in (*range(10), *range(5))]


def test_reordering_lets_a_frame_fall_behind() -> None:
    world = World()
    a, faults, seen = pair(world)
    faults.add(Fault(to="b", reorder=0.3))
    send(world, a, 100)
    world.advance(1.0)
    assert notes(seen) != [str(number) for number in range(100)]
    assert sorted(notes(seen), key=int) == [str(number) for number in range(100)]


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [(Fault(drop=0.3), 600, 800), (Fault(duplicate=0.3), 1200, 1400), (Fault(drop=1.0), 0, 0)],
)
def test_about_as_many_are_lost_or_doubled_as_asked_for(fault: Fault, least: int, most: int) -> None:
    world = World()
    a, faults, seen = pair(world)
    faults.add(fault)
    send(world, a, 1000)
    assert least <= len(seen) <= most


def test_the_same_seed_does_the_same_again() -> None:
    def run(seed: int) -> list[str]:
        world = World(seed)
        a, faults, seen = pair(world)
        faults.add(Fault(drop=0.2, duplicate=0.2, reorder=0.2, jitter_seconds=0.02))
        send(world, a, 100)
        world.advance(1.0)
        return notes(seen)

    assert run(7) == run(7) != run(8)


def test_faults_add_up_and_are_listed_and_cleared_by_id() -> None:
    world = World()
    a, faults, seen = pair(world)
    one, two = faults.add(Fault(to="b", delay_seconds=0.2)), faults.add(Fault(delay_seconds=0.3))
    assert list(faults.faults) == [one, two]
    send(world, a, 1)
    world.advance(0.499)
    assert seen == []
    assert faults.clear(one)
    assert not faults.clear(one)
    assert list(faults.faults) == [two]
    assert faults.clear()
    assert not faults.clear()
    assert faults.add(Fault()) not in (one, two)


@pytest.mark.parametrize(
    "wrong", [{"drop": 1.1}, {"reorder": -0.1}, {"delay_seconds": -1}, {"jitter_seconds": 1e9}]
)
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least 0|probability"):
        Fault(**wrong)  # type: ignore[arg-type]


def test_a_poll_waits_no_longer_than_until_a_held_frame_has_to_leave() -> None:
    world = World()
    _, faults, _ = pair(world)
    waits: list[float | None] = []
    faults.inner.poll = waits.append  # type: ignore[method-assign]
    faults.add(Fault(delay_seconds=0.5))
    faults.send("b", b"\xdd\0\0\0\0")
    faults.poll(None)
    faults.poll(0.1)
    assert waits == [0.5, 0.1]
