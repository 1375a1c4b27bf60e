"""Leases: the table in the log, the leader's clock beside it, and the holder's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.machines.codec import encode_call
from raft.machines.commands import (
    LEASES_MAX_PER_EXPIRE,
    TTL_MS_MAX,
    TTL_MS_MIN,
    Call,
    Delete,
    Get,
    GetLease,
    Grant,
    ListLeases,
    OpenSession,
    Put,
    Revoke,
)
from raft.machines.lease_clock import HeldLease, LeaseClock
from raft.machines.leases import Leases
from raft.machines.machine import MachineError
from raft.machines.results import Ended, Granted, LeaseGone, LeaseState
from tests.machines.driving import Driver

YEAR_MS = 365 * 24 * 3600 * 1000


@pytest.mark.parametrize("ttl_ms", [0, -1, TTL_MS_MIN - 1, TTL_MS_MAX + 1, YEAR_MS])
def test_a_ttl_of_zero_or_a_year_is_refused_by_sender_and_machine(ttl_ms: int) -> None:
    import msgspec

    for request in (Grant(ttl_ms), OpenSession(ttl_ms)):
        with pytest.raises(MachineError, match="a TTL is from 100 ms to"):
            encode_call(Call(0, 0, 0, request))
        driver = Driver()
        answer = driver.apply(msgspec.msgpack.encode(Call(0, 0, 0, request)))
        assert f"not {ttl_ms} ms" in answer.reason
        assert not driver.application.leases.ttls_ms


def test_a_lease_ends_once_and_takes_its_keys_along() -> None:
    driver = Driver()
    granted = driver.do(Grant(2_000))
    assert granted == Granted(1, 2_000)
    driver.do(Put(b"b", b"", lease=1))
    driver.do(Put(b"a", b"", lease=1))
    driver.do(Put(b"c", b""))
    assert driver.ask(GetLease(1)) == LeaseState(1, 2_000, (b"a", b"b"))
    assert driver.expire(1, 99) == Ended((1,))
    assert driver.expire(1) == Ended(())
    assert driver.do(Revoke(1)) == Ended(())
    assert driver.ask(GetLease(1)) == LeaseGone(1)
    assert [driver.ask(Get(key)).item is None for key in (b"a", b"b", b"c")] == [True, True, False]


def test_leases_named_twice_end_once_and_the_oldest_comes_first() -> None:
    driver = Driver()
    first, second = driver.lease(), driver.lease()
    assert driver.expire(second, first, second) == Ended((first, second))


def test_nothing_can_be_attached_to_an_ended_lease() -> None:
    driver = Driver()
    assert driver.do(Put(b"k", b"", lease=7)) == LeaseGone(7)
    assert driver.ask(Get(b"k")).item is None


@pytest.mark.parametrize("limit", ["LIMIT_MAX", "ANSWER_BYTES_MAX"])
def test_the_keys_of_a_lease_are_listed_in_pages(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"raft.machines.store.{limit}", 4)
    driver = Driver()
    lease = driver.lease()
    keys = [b"", *(b"%d" % number for number in range(9))]
    for key in keys:
        driver.do(Put(key, b"", lease))
    told = [driver.ask(GetLease(lease))]
    while told[-1].more:
        told.append(driver.ask(GetLease(lease, told[-1].keys[-1])))
    assert [len(state.keys) for state in told] == ([4, 4, 2] if limit == "LIMIT_MAX" else [5, 4, 1])
    assert [key for state in told for key in state.keys] == keys


def test_the_keys_of_a_lease_are_listed_in_order() -> None:
    driver = Driver()
    lease = driver.lease()
    keys = [b"key-%02d" % number for number in range(20)]
    for key in reversed(keys):
        driver.do(Put(key, b"", lease))
    assert driver.ask(GetLease(lease)).keys == tuple(keys)


def test_a_key_that_is_put_again_without_its_lease_stays() -> None:
    driver = Driver()
    old, new = driver.lease(), driver.lease()
    driver.do(Put(b"k", b"", lease=old))
    driver.do(Put(b"m", b"", lease=old))
    driver.do(Put(b"k", b""))
    driver.do(Put(b"m", b"", lease=new))
    driver.do(Revoke(old))
    assert driver.ask(Get(b"k")).item is not None
    assert driver.ask(Get(b"m")).item is not None
    driver.do(Revoke(new))
    assert driver.ask(Get(b"m")).item is None


def test_a_deleted_key_is_detached_from_its_lease_when_it_is_put_again() -> None:
    driver = Driver()
    lease = driver.lease()
    driver.do(Put(b"k", b"", lease))
    driver.do(Put(b"m", b"", lease))
    driver.do(Delete(b"k"))
    driver.do(Put(b"k", b""))
    driver.do(Delete(b"m"))
    assert driver.do(Revoke(lease)) == Ended((lease,))
    assert driver.ask(Get(b"k")).item is not None


# -- the leader's clock --------------------------------------------------------------------------


def granted(*ttls_ms: int) -> Leases:
    leases = Leases()
    for index, ttl_ms in enumerate(ttls_ms, 1):
        leases.grant(index, ttl_ms)
    return leases


def test_a_lease_is_due_after_its_time_and_named_once() -> None:
    clock = LeaseClock(granted(1_000, 2_000), 10.0)
    assert clock.due(10.999) == ()
    assert clock.due(11.0) == (1,)
    assert clock.due(11.5) == ()
    assert clock.due(12.0) == (2,)


def test_a_lease_granted_after_a_restore_is_counted_and_prolongs_no_other() -> None:
    leases = Leases()
    leases.restore([(1, 1_000), (2, 2_000)])
    clock = LeaseClock(leases, 10.0)
    assert clock.newest == leases.newest
    leases.grant(7, 1_000)
    clock.follow(10.5)
    assert clock.due(11.0) == (1,)
    assert clock.due(11.5) == (7,)
    assert clock.due(12.0) == (2,)


def test_a_keep_alive_gives_the_full_time_again() -> None:
    clock = LeaseClock(granted(1_000), 10.0)
    assert clock.keep_alive(1, 10.9) == 1.0
    assert clock.remaining_seconds(1, 11.4) == pytest.approx(0.5)
    assert clock.due(11.8) == ()
    assert clock.due(11.9) == (1,)


def test_a_lease_with_a_proposed_expiry_can_not_be_kept_alive() -> None:
    clock = LeaseClock(granted(1_000), 10.0)
    assert clock.due(11.0) == (1,)
    assert clock.keep_alive(1, 11.0) is None
    assert clock.remaining_seconds(1, 11.0) is None


def test_a_dropped_expiry_is_due_again() -> None:
    clock = LeaseClock(granted(1_000), 10.0)
    clock.not_proposed(clock.due(11.0), 11.0)
    assert clock.due(11.0) == (1,)
    clock.not_proposed((1,), 11.0)
    assert clock.keep_alive(1, 11.0) == 1.0
    assert clock.due(11.9) == ()


def test_a_lease_with_a_proposed_expiry_is_not_shortened_again() -> None:
    clock = LeaseClock(granted(1_000), 10.0)
    assert clock.due(11.0) == (1,)
    clock.cut_short((1,), 11.0)
    assert clock.due(12.0) == (), "its end is proposed once"
    assert clock.keep_alive(1, 12.0) is None


def test_a_lease_that_has_ended_otherwise_is_never_due() -> None:
    leases = granted(1_000)
    clock = LeaseClock(leases, 10.0)
    leases.end((1,))
    assert clock.keep_alive(1, 10.5) is None
    assert clock.remaining_seconds(1, 10.5) is None
    assert clock.due(12.0) == ()


def test_a_lease_granted_later_counts_from_then() -> None:
    leases = granted(1_000)
    clock = LeaseClock(leases, 10.0)
    leases.grant(7, 1_000)
    clock.follow(10.5)
    clock.follow(10.9)
    assert clock.due(11.2) == (1,)
    assert clock.due(11.5) == (7,)


def test_a_new_leader_grants_every_lease_its_full_time_again() -> None:
    leases = granted(1_000)
    LeaseClock(leases, 10.0)
    assert LeaseClock(leases, 10.9).due(11.8) == ()


def test_many_leases_expire_in_several_commands() -> None:
    clock = LeaseClock(granted(*[1_000] * (LEASES_MAX_PER_EXPIRE + 1)), 0.0)
    assert len(clock.due(1.0)) == LEASES_MAX_PER_EXPIRE
    assert len(clock.due(1.0)) == 1


def test_many_keep_alives_do_not_use_more_memory() -> None:
    clock = LeaseClock(granted(1_000), 0.0)
    for step in range(10_000):
        clock.keep_alive(1, step / 10)
    assert clock.heap_size <= 70
    assert clock.due(1000.8) == ()
    assert clock.due(1000.9) == (1,)


# -- holder and leader together ------------------------------------------------------------------


def test_answers_out_of_order_never_shorten_a_lease() -> None:
    held = HeldLease(1.0, 0.0)
    held.kept_alive(5.0)
    held.kept_alive(4.0)
    assert held.remaining_seconds(5.0) == pytest.approx(0.99)
    assert held.remaining_seconds(7.0) == 0.0
    assert 5.0 < held.next_keep_alive() < 5.5


delays = st.floats(0.0, 0.7)
happenings = st.one_of(
    st.tuples(st.just("wait"), delays, delays),
    st.tuples(st.just("keep-alive"), delays, delays),
    st.tuples(st.just("new leader"), delays, delays),
)


@given(st.lists(happenings, max_size=30), st.floats(-0.009, 0.009))
def test_the_holder_knows_before_the_cluster_does(
    story: list[tuple[str, float, float]], drift: float
) -> None:
    """Messages take their time, leaders change, and the holder's clock runs fast or slow by almost 1%."""
    leases, now = Leases(), 0.0

    def holders(seconds: float) -> float:
        return 1000.0 + seconds * (1 + drift)

    sent = now
    now += 0.3
    leases.grant(1, 1_000)
    clock, held = LeaseClock(leases, now), HeldLease(1.0, holders(sent))
    for what, there, back in story:
        sent = now
        now += there
        if what == "new leader":
            clock = LeaseClock(leases, now)
        answered = clock.keep_alive(1, now) if what == "keep-alive" else None
        expired = clock.due(now) == (1,)
        if expired:
            leases.end((1,))
            assert held.remaining_seconds(holders(now)) == 0.0
            assert clock.keep_alive(1, now) is None
            return
        now += back
        if answered is not None:
            held.kept_alive(holders(sent))


def test_the_leases_that_last_are_listed_page_by_page_oldest_first() -> None:
    driver = Driver()
    leases = [driver.lease() for _ in range(7)]
    driver.do(Revoke(leases[2]))
    lasting = [(lease, 5_000) for lease in leases if lease != leases[2]]
    first = driver.ask(ListLeases(0, 4))
    assert first.leases == tuple(lasting[:4]) and first.more
    last = driver.ask(ListLeases(first.leases[-1][0], 4))
    assert last.leases == tuple(lasting[4:]) and not last.more
    assert driver.ask(ListLeases(last.leases[-1][0])).leases == ()
