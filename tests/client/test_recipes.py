"""The recipes' steps in any order, with sessions that end while they hold something."""

from __future__ import annotations

from typing import Any

import pytest

from raft.client.calls.store import page
from raft.client.errors import LeadershipLost, SessionExpired, Taken
from raft.client.recipes import barriers, counters, parties, queues, rwlocks
from raft.client.recipes.steps import in_time
from raft.machines.commands import Count, Delete, Get, Put
from tests.client.recipes_world import Participant, Script, World

every_seed = pytest.mark.parametrize("seed", range(20))


# -- counter ---------------------------------------------------------------------------------------


@every_seed
def test_a_counter_counts_each_addition_once(seed: int) -> None:
    world = World(seed)

    def count() -> Script:
        for amount in (1, 2, -1):
            yield from counters.add(b"visits", amount)

    for _ in range(5):
        world.join().begin(count())
    world.run()
    found: list[int] = []

    def look() -> Script:
        found.append((yield from counters.read(b"visits")))

    world.join().begin(look())
    world.run()
    assert found == [10]


# -- party -----------------------------------------------------------------------------------------


def test_a_party_is_who_has_joined_and_neither_left_nor_ended() -> None:
    world = World(0)
    members = [world.join() for _ in range(3)]
    for number, member in enumerate(members):
        world.do(Put(b"party/%d" % number, b"%d" % number, member.lease))
    seen: list[list[bytes]] = []

    def look() -> Script:
        seen.append((yield from parties.members(b"party/")))

    connection = world.join()
    for change in (lambda: None, lambda: world.end(members[0]), lambda: world.do(Delete(b"party/1"))):
        change()
        connection.begin(look())
        world.run()
    assert seen == [[b"0", b"1", b"2"], [b"1", b"2"], [b"2"]]


def test_waiting_for_a_party_ends_when_enough_have_come_or_the_time_is_up() -> None:
    world = World(0)
    connection = world.join()
    came: list[bool] = []

    def wait() -> Script:
        came.append((yield from in_time(parties.wait_for(b"party/", 2))))

    for enough in (True, False):
        connection.begin(wait())
        world.run()
        assert connection.script is not None
        if enough:
            world.do(Put(b"party/a", b""))
            world.run()
            assert connection.script is not None, "one is not enough"
            world.do(Put(b"party/b", b""))
        else:
            connection.impatient = True
        world.run()
        world.do(Delete(b"party/a"))
    assert came == [True, False]


# -- barriers --------------------------------------------------------------------------------------


def test_all_wait_at_a_barrier_until_it_is_removed() -> None:
    world = World(0)
    world.do(Put(b"gate", b""))
    went: list[bool] = []

    def wait() -> Script:
        went.append((yield from in_time(barriers.wait_gone(b"gate"))))

    waiting = [world.join() for _ in range(3)]
    for one in waiting:
        one.begin(wait())
    waiting[0].impatient = True
    world.run()
    assert went == [False]
    world.do(Put(b"gate", b"again"))
    world.run()
    assert went == [False]
    world.do(Delete(b"gate"))
    world.run()
    assert went == [False, True, True]


@every_seed
def test_what_is_within_a_double_barrier_is_done_by_all_at_the_same_time(seed: int) -> None:
    world = World(seed)
    count, rounds = 3, 4
    inside: list[int] = [0] * rounds
    left: list[int] = [0] * rounds

    def meet(lease: int) -> Script:
        at = barriers.Paths("meet", lease, count)
        for number in range(rounds):
            if not number or world.dice.random() < 0.5:
                at = barriers.Paths("meet", lease, count)
            assert (yield from barriers.enter(at))
            inside[number] += 1
            yield Put(b"working", b"")
            assert not left[number]
            yield from barriers.leave(at)
            assert inside[number] == count, "one has left before all had come"
            left[number] += 1

    for _ in range(count):
        one = world.join()
        one.begin(meet(one.lease))
    world.run()
    assert inside == left == [count] * rounds
    assert world.ask(Get(b"meet/ready")).item is None


@every_seed
def test_who_dies_within_a_double_barrier_has_left_it(seed: int) -> None:
    world = World(seed)
    done: list[str] = []

    def meet(one: Participant, *, die: bool) -> Script:
        at = barriers.Paths("meet", one.lease, 3)
        assert (yield from barriers.enter(at))
        if die:
            world.driver.expire(one.lease)
            return
        yield from barriers.leave(at)
        done.append("left")

    for die in (True, False, False):
        one = world.join()
        one.begin(meet(one, die=die))
    world.run()
    assert done == ["left", "left"]


@every_seed
def test_a_round_in_which_all_have_died_does_not_spoil_the_next(seed: int) -> None:
    world = World(seed)

    def die(one: Participant) -> Script:
        assert (yield from barriers.enter(barriers.Paths("meet", one.lease, 2)))

    for _ in range(2):
        one = world.join()
        one.begin(die(one))
    world.run()
    for one in list(world.all):
        world.end(one)
    entered: list[int] = []

    def meet(one: Participant) -> Script:
        assert (yield from barriers.enter(barriers.Paths("meet", one.lease, 2)))
        entered.append(one.lease)

    first, second = world.join(), world.join()
    first.begin(meet(first))
    world.run()
    assert not entered, "it does not take the old round for its own"
    second.begin(meet(second))
    world.run()
    assert len(entered) == 2


def test_who_waits_too_long_at_a_double_barrier_is_out_again() -> None:
    world = World(0)
    came: list[bool] = []

    def meet(one: Participant) -> Script:
        came.append((yield from barriers.enter(barriers.Paths("meet", one.lease, 2))))

    one = world.join()
    one.begin(meet(one))
    world.run()
    one.impatient = True
    world.run()
    assert came == [False] and not world.ask(Count(b"meet/", b"meet0")).count


# -- queue -----------------------------------------------------------------------------------------


@every_seed
def test_each_item_is_done_once_though_its_takers_die(seed: int) -> None:
    world = World(seed)
    at = queues.Paths("jobs")
    wanted = {b"%d-%d" % (producer, number) for producer in range(2) for number in range(5)}
    done: list[bytes] = []
    deaths = 3

    def produce(producer: int) -> Script:
        for number in range(5):
            yield from queues.put(at, b"%d-%d" % (producer, number), 100)

    def consume(one: Participant) -> Script:
        nonlocal deaths
        while True:
            found = yield from queues.take(at, one.lease)
            if found is None:
                return
            item, revision = found
            if deaths and world.dice.random() < 0.3:
                deaths -= 1
                world.driver.expire(one.lease)
                other = world.join()
                other.begin(consume(other))
                return
            if world.dice.random() < 0.2:
                yield from queues.finish(at, item, revision, put_back=True)
                continue
            yield from queues.finish(at, item, revision, put_back=False)
            done.append(item.value)

    for producer in range(2):
        world.join().begin(produce(producer))
    for _ in range(3):
        one = world.join()
        one.begin(consume(one))
    world.run()
    assert sorted(done) == sorted(wanted)
    assert not world.ask(page(at.all, None)).items, "nothing is left behind"


def run_alone(world: World, steps: Any) -> Any:
    """What steps lead to that no other is mixed with."""
    found: list[Any] = []

    def script() -> Script:
        found.append((yield from steps))

    world.join().begin(script())
    world.run()
    return found[0]


def test_items_come_by_urgency_and_then_in_the_order_in_which_they_were_put() -> None:
    world = World(0)
    at = queues.Paths("jobs")
    for value, priority in ((b"a", 100), (b"b", 100), (b"late", 999), (b"now", 0), (b"c", 100)):
        run_alone(world, queues.put(at, value, priority))
    lease = world.join().lease
    order = [run_alone(world, queues.take(at, lease))[0].value for _ in range(5)]
    assert order == [b"now", b"a", b"b", b"c", b"late"]


def test_more_items_may_be_taken_than_one_page_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "PAGE_ITEMS", 2)
    world = World(0)
    at = queues.Paths("jobs")
    for number in range(7):
        run_alone(world, queues.put(at, b"%d" % number, 100))
    lease = world.join().lease
    assert [run_alone(world, queues.take(at, lease))[0].value for _ in range(7)] == [
        b"%d" % n for n in range(7)
    ]


def test_an_item_whose_taker_was_lost_can_be_finished_by_the_next_one_only() -> None:
    world = World(0)
    at = queues.Paths("jobs")
    run_alone(world, queues.put(at, b"job", 100))
    first, second = world.join(), world.join()
    item, revision = run_alone(world, queues.take(at, first.lease))
    world.driver.expire(first.lease)
    again, later = run_alone(world, queues.take(at, second.lease))
    assert again.value == b"job" and later > revision
    with pytest.raises(queues.ItemLost):
        run_alone(world, queues.finish(at, item, revision, put_back=False))
    run_alone(world, queues.finish(at, again, later, put_back=False))
    assert not world.ask(page(at.all, None)).items


def test_who_takes_from_an_empty_queue_gets_nothing_when_the_time_is_up() -> None:
    world = World(0)
    found: list[Any] = []

    def take(one: Participant) -> Script:
        found.append((yield from queues.take(queues.Paths("jobs"), one.lease)))

    one = world.join()
    one.begin(take(one))
    world.run()
    one.impatient = True
    world.run()
    assert found == [None]


def test_a_priority_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0"):
        next(queues.put(queues.Paths("jobs"), b"", 1_000))


# -- read-write lock -------------------------------------------------------------------------------


@every_seed
def test_readers_share_a_lock_and_a_writer_is_alone_though_holders_die(seed: int) -> None:
    world = World(seed)
    reading, writing, most = 0, 0, 0
    tokens: list[int] = []

    def work(one: Participant) -> Script:
        nonlocal reading, writing, most
        for _ in range(4):
            writes = world.dice.random() < 0.4
            at = rwlocks.place("lock", one.lease, writes=writes)
            token = yield from rwlocks.take(at)
            reading, writing = reading + (not writes), writing + writes
            most = max(most, reading)
            if writes:
                tokens.append(token)
            assert writing <= 1 and not (writing and reading), "a writer is not alone"
            yield Put(b"working", b"")
            assert writing <= 1 and not (writing and reading), "a writer is not alone"
            reading, writing = reading - (not writes), writing - writes
            if world.dice.random() < 0.2:
                world.driver.expire(one.lease)
                other = world.join()
                other.begin(work(other))
                return
            yield from rwlocks.give_back(at)

    for _ in range(5):
        one = world.join()
        one.begin(work(one))
    world.run()
    assert all(one.script is None for one in world.all), "a participant waits for ever"
    assert tokens == sorted(tokens)
    assert not world.ask(page(b"lock/", None)).items


def test_who_waits_too_long_for_a_lock_leaves_the_queue() -> None:
    world = World(0)
    holder, waiter, behind = (world.join() for _ in range(3))
    said: list[str] = []

    def take(one: Participant, *, writes: bool, keep: bool) -> Script:
        at = rwlocks.place("lock", one.lease, writes=writes)
        try:
            yield from rwlocks.take(at)
            said.append("has it")
            if not keep:
                yield from rwlocks.give_back(at)
        except Taken:
            said.append("gave up")

    holder.begin(take(holder, writes=False, keep=True))
    world.run()
    waiter.begin(take(waiter, writes=True, keep=False))
    world.run()
    behind.begin(take(behind, writes=False, keep=False))
    world.run()
    assert said == ["has it"], "a reader does not overtake a writer"
    waiter.impatient = True
    world.run()
    assert said == ["has it", "gave up", "has it"]


def test_who_lost_its_session_in_the_queue_is_told_so() -> None:
    world = World(0)
    holder, waiter = world.join(), world.join()
    told: list[str] = []

    def hold(one: Participant) -> Script:
        yield from rwlocks.take(rwlocks.place("lock", one.lease, writes=True))

    def wait(one: Participant) -> Script:
        try:
            yield from rwlocks.take(rwlocks.place("lock", one.lease, writes=True))
        except (LeadershipLost, SessionExpired) as error:
            told.append(type(error).__name__)

    holder.begin(hold(holder))
    world.run()
    waiter.begin(wait(waiter))
    world.run()
    world.driver.expire(waiter.lease)
    world.run()
    assert told
