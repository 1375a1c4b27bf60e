"""Very many leases, keys of one lease, or events of one revision: each step stays short."""

from __future__ import annotations

from itertools import islice
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft.machines import history as history_module
from raft.machines import keys, lease_clock
from raft.machines.application import Application, Unfinished
from raft.machines.codec import encode_call
from raft.machines.commands import (
    ANSWER_BYTES_MAX,
    LEASES_MAX_PER_EXPIRE,
    Call,
    Campaign,
    Delete,
    Grant,
    Put,
    Revoke,
    WatchKeys,
)
from raft.machines.history import History
from raft.machines.keys import Table
from raft.machines.lease_clock import QUIET_SECONDS, LeaseClock
from raft.machines.leases import Leases
from raft.machines.results import Ended, Events, Item, Refused, Removed
from raft.machines.store import STEP_KEYS
from tests.machines.driving import Driver

MANY = 10_000


def leases_of(count: int, ttl_ms: int = 1_000) -> Leases:
    leases = Leases()
    for index in range(1, count + 1):
        leases.grant(index, ttl_ms)
    return leases


# -- the leader's clock ----------------------------------------------------------------------------


def test_a_new_leaders_clock_counts_a_few_leases_at_each_call_and_ends_none_before_its_full_time() -> None:
    leases = leases_of(MANY)
    clock = LeaseClock(leases, 0.0)
    assert clock.behind
    assert clock.remaining_seconds(MANY, 0.5) == 1.0, "its time has yet to begin"
    assert clock.keep_alive(MANY, 0.5) == 1.0
    calls = 1
    while clock.behind:
        clock.follow(0.9)
        calls += 1
    assert calls == MANY // lease_clock.COUNTED_AT_ONCE + 1
    due = clock.due(1.0)
    assert len(due) == lease_clock.LOOKED_AT_ONCE and MANY not in due
    assert set(due) <= set(range(1, lease_clock.COUNTED_AT_ONCE + 1))


def test_many_leases_that_expire_at_once_all_end_once() -> None:
    leases = leases_of(MANY)
    clock = LeaseClock(leases, 0.0)
    while clock.behind:
        clock.follow(0.0)
    ended: list[int] = []
    for _ in range(2 * MANY // lease_clock.LOOKED_AT_ONCE):
        due = clock.due(1.0)
        ended += leases.end(due)
        assert len(due) <= LEASES_MAX_PER_EXPIRE
    assert ended == list(range(1, MANY + 1))
    assert not clock.behind


def test_the_number_of_proposed_expiries_is_limited() -> None:
    leases = leases_of(MANY)
    clock = LeaseClock(leases, 0.0)
    while clock.behind:
        clock.follow(0.0)
    due = [clock.due(1.0) for _ in range(20)]
    assert sum(map(len, due)) == lease_clock.EXPIRING_MAX
    leases.end(due[0])
    assert clock.due(1.0)


def test_the_keys_attached_to_leases_limit_how_many_one_command_ends() -> None:
    clock = LeaseClock(leases_of(10), 0.0)
    assert clock.due(1.0, load_of=lambda _: 4, load_max=10) == (1, 2, 3)
    assert clock.behind


def test_many_keep_alives_leave_each_lease_in_one_place_of_the_heap() -> None:
    clock = LeaseClock(leases_of(100), 0.0)
    for step in range(50):
        for lease in range(1, 101):
            assert clock.keep_alive(lease, step / 10) == 1.0
    assert clock.heap_size == 100


def test_time_in_which_no_message_was_read_counts_for_no_lease() -> None:
    clock = LeaseClock(leases_of(1), 0.0)
    clock.exclude_time(5.0, 5.5)
    clock.exclude_time(5.0, 10.5)
    assert clock.remaining_seconds(1, 10.5) == pytest.approx(0.5)
    assert clock.due(10.9) == ()
    assert clock.due(10.5 + QUIET_SECONDS) == (1,)


# -- one lease with very many keys -----------------------------------------------------------------


def test_a_lease_with_many_keys_ends_in_steps_in_one_revision_and_alike_everywhere() -> None:
    one, two = Application(), Application()
    index, keys = 1, 4 * STEP_KEYS
    commands = [Call(0, 0, 0, Grant(60_000))]
    commands += [Call(0, 0, 0, Put(b"k%06d" % (7919 * key % keys), b"", 1)) for key in range(keys)]
    for index, call in enumerate(commands, 1):
        for machine in (one, two):
            machine.apply(index, encode_call(call))
    revoke = encode_call(Call(0, 0, 0, Revoke(1)))
    steps, answer = 0, one.begin(index + 1, revoke)
    while isinstance(answer, Unfinished):
        steps, answer = steps + 1, one.resume()
    assert steps >= 4
    assert two.apply(index + 1, revoke) == answer
    one.take_tasks()
    assert one.snapshot() == two.snapshot()
    gone = [event for event in one.history.events if isinstance(event, Removed)]
    assert [event.key for event in gone] == sorted(event.key for event in gone)
    assert len(gone) == keys


def test_the_number_of_keys_attached_to_a_lease_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raft.machines.store.LEASE_KEYS_MAX", 2)
    monkeypatch.setattr("raft.machines.elections.LEASE_CANDIDATES_MAX", 2)
    driver = Driver()
    lease = driver.lease()
    for key in (b"a", b"b", b"a"):
        assert not isinstance(driver.do(Put(key, b"", lease)), Refused)
    assert driver.do(Put(b"c", b"", lease)) == Refused(
        f"at most 2 keys hang on a lease, as on {lease} already"
    )
    for election in ("e", "f"):
        driver.do(Campaign(election, lease))
    refused = driver.do(Campaign("g", lease))
    assert isinstance(refused, Refused) and "at most 2 candidates" in refused.reason
    assert driver.do(Revoke(lease)) == Ended((lease,))


def test_an_election_with_many_candidates_keeps_the_order_of_arrival() -> None:
    driver = Driver()
    tokens = [driver.do(Campaign("e", driver.lease(), seats=3)).token for _ in range(50)]
    elections = driver.application.elections
    leases = list(driver.application.leases.ttls_ms)
    for gone in range(47):
        held = [candidate.token for candidate in elections.state("e").holders]
        assert held == tokens[gone : gone + 3]
        driver.do(Revoke(leases[gone]))
    assert elections.size_bytes > 0
    for lease in leases:
        driver.do(Revoke(lease))
    assert elections.size_bytes == 0


# -- one revision with very many events ------------------------------------------------------------


def test_a_revision_too_large_for_one_answer_is_sent_in_parts_without_gap_or_repetition() -> None:
    history = History()
    value = bytes(ANSWER_BYTES_MAX // 4)
    for number in range(11):
        history.add(Item(b"%02d" % number, value, 5, 5, 1, 0))
    history.add(Item(b"next", b"", 6, 6, 1, 0))
    watch, told, answers = WatchKeys(1, b"", None), list[bytes](), 0
    while watch.revision <= history.revision:
        answer = history.since(watch)
        assert isinstance(answer, Events)
        assert sum(map(history_module.weight_of, answer.events)) <= ANSWER_BYTES_MAX + 2 * len(value)
        told += [event.key for event in answer.events if isinstance(event, Item)]
        watch = WatchKeys(answer.next, b"", None, skip=answer.skip)
        answers += 1
    assert told == [*(b"%02d" % number for number in range(11)), b"next"]
    assert answers >= 3


def test_compacted_events_are_freed_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "FREED_AT_ONCE", 4)
    history = History()
    for revision in range(1, 101):
        history.add(Item(b"k", b"v", revision, 1, revision, 0))
    before = history.size_bytes
    history.compact(90)
    assert len(history) == 10
    assert history.size_bytes == before // 10
    assert [event.revision for event in history.events] == list(range(91, 101))
    for revision in range(101, 131):
        history.add(Item(b"k", b"v", revision, 1, revision, 0))
    assert history.held < 50
    assert [event.revision for event in history.events] == list(range(91, 131))


# -- what is frozen --------------------------------------------------------------------------------

changes = st.tuples(st.sampled_from(["put", "pop", "freeze", "draw", "drop"]), st.integers(0, 30))


@settings(deadline=None)
@given(st.lists(changes, max_size=80), st.sampled_from([1, 3, keys.RUN_KEYS]))
def test_a_frozen_view_of_a_table_does_not_change(story: list[tuple[str, int]], run_keys: int) -> None:
    with patch.object(keys, "RUN_KEYS", run_keys):
        live_through(story)


def live_through(story: list[tuple[str, int]]) -> None:
    table: Table[int, int] = Table()
    frozen = []
    for number, (what, key) in enumerate(story):
        if what == "put":
            table.put(key, number)
        elif what == "pop" and key in table.live:
            table.pop(key)
        elif what == "freeze":
            frozen.append((table.frozen(), sorted(table.live.items())))
        elif what == "draw" and frozen:
            view, expected = frozen[key % len(frozen)]
            drawn = list(islice(view, key % 3))
            assert drawn == expected[: len(drawn)]
            del expected[: len(drawn)]
        elif what == "drop" and frozen:
            del frozen[key % len(frozen)]
    for view, expected in frozen:
        assert list(view) == expected
    assert list(table.items()) == sorted(table.live.items())


def test_the_size_of_the_state_returns_to_its_value_when_all_is_undone() -> None:
    driver = Driver()
    application = driver.application
    empty = application.size_bytes
    lease = driver.lease()
    for key in (b"a", b"b"):
        driver.do(Put(key, b"value", lease))
    driver.do(Put(b"a", b"longer value"))
    driver.do(Campaign("e", lease, b"me"))
    assert application.size_bytes > empty
    restored = Application()
    restored.restore(application.snapshot())
    assert restored.size_bytes == application.size_bytes
    driver.do(Delete(b"a"))
    driver.do(Revoke(lease))
    assert application.size_bytes - application.history.size_bytes == empty
