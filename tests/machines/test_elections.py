"""Elections, locks and semaphores: a queue in order of arrival, and a token that only grows."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from raft.machines.codec import encode_answer
from raft.machines.commands import (
    ANSWER_BYTES_MAX,
    VALUE_BYTES_MAX,
    Campaign,
    Fence,
    Get,
    GetElection,
    Proclaim,
    Put,
    Resign,
    Revoke,
    Transaction,
    WatchElection,
)
from raft.machines.elections import ANNOUNCED_BYTES_MAX
from raft.machines.results import (
    Campaigned,
    Candidate,
    ElectionState,
    FenceRejected,
    LeaseGone,
    Led,
    Left,
    Proclaimed,
    Refused,
    Resigned,
    Stored,
)
from tests.machines.driving import Driver


def test_the_first_leads_and_the_others_queue_in_order_of_arrival() -> None:
    driver = Driver()
    a, b, c = driver.lease(), driver.lease(), driver.lease()
    assert driver.do(Campaign("e", b, b"b")) == Campaigned(4, True, 0)
    assert driver.do(Campaign("e", c, b"c")) == Campaigned(5, False, 1)
    assert driver.do(Campaign("e", a, b"a")) == Campaigned(6, False, 2)
    state = driver.ask(GetElection("e"))
    assert state == ElectionState(
        1, (Candidate(4, b, b"b"),), (Candidate(5, c, b"c"), Candidate(6, a, b"a")), 4
    )
    assert driver.do(Resign("e", 4)) == Resigned(True)
    assert driver.ask(GetElection("e")).holders == (Candidate(5, c, b"c"),)
    assert driver.do(Resign("e", 4)) == Resigned(False)


def test_an_answer_holds_all_seats_and_as_many_waiting_candidates_as_fit() -> None:
    driver = Driver()
    lease = driver.lease()
    value = bytes(VALUE_BYTES_MAX)
    tokens = [driver.do(Campaign("e", lease, value)).token for _ in range(12)]
    state = driver.ask(GetElection("e"))
    assert [holder.token for holder in state.holders] == tokens[:1]
    assert [candidate.token for candidate in state.waiting] == tokens[1 : 1 + len(state.waiting)]
    assert len(state.waiting) + state.more == 11 and state.more > 0
    assert len(encode_answer(state)) <= ANSWER_BYTES_MAX
    for token in tokens[:11]:
        driver.do(Resign("e", token))
    assert driver.ask(GetElection("e")).holders == (Candidate(tokens[-1], lease, value),)


def test_an_answer_lists_some_waiting_candidates_and_counts_the_others(monkeypatch: Any) -> None:
    monkeypatch.setattr("raft.machines.elections.LIMIT_MAX", 3)
    driver = Driver()
    lease = driver.lease()
    for _ in range(6):
        driver.do(Campaign("e", lease))
    state = driver.ask(GetElection("e"))
    assert (len(state.holders), len(state.waiting), state.more) == (1, 3, 2)


def test_seats_that_announce_more_than_an_answer_holds_are_too_much() -> None:
    driver = Driver()
    lease, elections = driver.lease(), driver.application.elections
    value = bytes(ANNOUNCED_BYTES_MAX // 100)
    assert not elections.too_big(Campaign("e", lease, value, 100))
    assert elections.too_big(Campaign("e", lease, value + b"x", 100))
    token = driver.do(Campaign("e", lease, value, 100)).token
    assert not elections.too_big(Proclaim("e", token, value))
    assert elections.too_big(Proclaim("e", token, value + b"x"))
    for _ in range(5):  # As an older version would have let in.
        driver.do(Campaign("f", lease, bytes(VALUE_BYTES_MAX), 100))
    assert isinstance(driver.ask(GetElection("f")), Refused)


def test_a_candidate_is_removed_with_its_lease_whether_it_leads_or_waits() -> None:
    driver = Driver()
    a, b, c = driver.lease(), driver.lease(), driver.lease()
    for lease in (a, b, c):
        driver.do(Campaign("e", lease))
    driver.do(Revoke(b))
    driver.expire(a)
    assert driver.ask(GetElection("e")).holders == (Candidate(6, c, b""),)
    driver.do(Revoke(c))
    assert driver.ask(GetElection("e")).holders == ()


def test_leases_that_end_together_hand_no_seat_to_each_other() -> None:
    driver = Driver()
    a, b, c = driver.lease(), driver.lease(), driver.lease()
    for lease in (a, b, c):
        driver.do(Campaign("e", lease))
    driver.expire(a, b)
    events = driver.ask(WatchElection(driver.index, "e")).events
    assert events == (Left("e", 4, 7), Led("e", 6, b"", 7))


def test_a_campaign_on_an_ended_lease_is_refused() -> None:
    driver = Driver()
    assert driver.do(Campaign("e", 9)) == LeaseGone(9)
    assert driver.ask(GetElection("e")).seats == 0


def test_only_the_leader_can_proclaim() -> None:
    driver = Driver()
    a, b = driver.lease(), driver.lease()
    first, second = driver.do(Campaign("e", a)).token, driver.do(Campaign("e", b)).token
    assert driver.do(Proclaim("e", first, b"x")) == Proclaimed()
    assert driver.ask(GetElection("e")).holders[0].value == b"x"
    assert driver.do(Proclaim("e", second, b"y")) == FenceRejected("e", second, first)
    assert driver.do(Proclaim("empty", 1, b"y")) == FenceRejected("empty", 1, 0)


def test_a_candidate_that_does_not_wait_is_not_queued() -> None:
    driver = Driver()
    a, b = driver.lease(), driver.lease()
    assert driver.do(Campaign("e", a, wait=False)).seated
    assert driver.do(Campaign("e", b, wait=False)) == Campaigned(0, False, 1)
    assert driver.ask(GetElection("e")).waiting == ()


def test_a_semaphore_has_several_seats_and_all_must_agree_on_how_many() -> None:
    driver = Driver()
    leases = [driver.lease() for _ in range(4)]
    standings = [driver.do(Campaign("s", lease, seats=2)) for lease in leases[:3]]
    assert [standing.seated for standing in standings] == [True, True, False]
    assert isinstance(driver.do(Campaign("s", leases[3], seats=3)), Refused)
    driver.do(Resign("s", standings[1].token))
    holders = [candidate.token for candidate in driver.ask(GetElection("s")).holders]
    assert holders == [standings[0].token, standings[2].token]
    for token in holders:
        assert isinstance(driver.do(Put(b"k", b"", fence=Fence("s", token))), Stored)
    driver.expire(*leases)
    assert driver.do(Campaign("s", driver.lease(), seats=3)).seated


def test_one_lease_may_campaign_twice_and_is_two_candidates() -> None:
    driver = Driver()
    lease = driver.lease()
    first, second = driver.do(Campaign("e", lease)), driver.do(Campaign("e", lease))
    assert (first.seated, second.seated) == (True, False)
    driver.do(Resign("e", first.token))
    driver.do(Revoke(lease))
    assert driver.ask(GetElection("e")).seats == 0


def test_the_store_refuses_every_token_but_the_leaders() -> None:
    driver = Driver()
    a, b = driver.lease(), driver.lease()
    first, second = driver.do(Campaign("e", a)).token, driver.do(Campaign("e", b)).token
    assert isinstance(driver.do(Put(b"k", b"1", fence=Fence("e", first))), Stored)
    assert driver.do(Put(b"k", b"2", fence=Fence("e", second))) == FenceRejected("e", second, first)
    driver.expire(a)
    assert driver.do(Put(b"k", b"3", fence=Fence("e", first))) == FenceRejected("e", first, second)
    rejected = driver.do(Transaction((), (Put(b"k", b"4"),), fence=Fence("e", first)))
    assert rejected == FenceRejected("e", first, second)
    assert driver.ask(Get(b"k")).item.value == b"1"
    driver.do(Revoke(b))
    assert driver.do(Put(b"k", b"5", fence=Fence("e", second))) == FenceRejected("e", second, 0)


# -- against a model -----------------------------------------------------------------------------

moves = st.one_of(
    st.tuples(st.just("campaign"), st.integers(0, 4)),
    st.tuples(st.just("resign"), st.integers(0, 20)),
    st.tuples(st.just("end"), st.sets(st.integers(0, 4), min_size=1, max_size=3)),
    st.tuples(st.just("restart"), st.integers()),
)


@given(st.lists(moves, max_size=60), st.integers(1, 3))
def test_tokens_grow_and_no_more_hold_seats_than_there_are(story: list[tuple[str, int]], seats: int) -> None:
    driver = Driver()
    leases = [driver.lease() for _ in range(5)]
    queue: list[tuple[int, int]] = []  # The model: (token, lease) in order of arrival.
    greatest, holders = 0, set()
    for what, choice in story:
        if what == "campaign":
            standing = driver.do(Campaign("e", leases[choice], seats=seats))
            assert standing == Campaigned(driver.index, len(queue) < seats, len(queue))
            queue.append((standing.token, leases[choice]))
        elif what == "resign":
            token = queue[choice % len(queue)][0] if queue else 0
            assert driver.do(Resign("e", token)) == Resigned(bool(queue))
            queue = [candidate for candidate in queue if candidate[0] != token]
        elif what == "end":
            gone = [leases[which] for which in choice]  # type: ignore[attr-defined]
            driver.expire(*gone)
            queue = [candidate for candidate in queue if candidate[1] not in gone]
            for which in choice:  # type: ignore[attr-defined]
                leases[which] = driver.lease()
        else:
            driver.application.restore(driver.application.snapshot())
        state = driver.ask(GetElection("e"))
        assert [(it.token, it.lease) for it in state.holders + state.waiting] == queue
        assert len(state.holders) == min(seats, len(queue))
        seated = {it.token for it in state.holders}
        assert all(token > greatest for token in seated - holders), "a new leadership has an old token"
        greatest = max([greatest, *seated])
        holders = seated
    assert _told(driver.ask(WatchElection(1, "e", 10_000)).events) == holders


def _told(events: tuple[Led | Left, ...]) -> set[int]:
    """The seat holders that an observer sees; each one is added once, and removed only after that."""
    seated: set[int] = set()
    for event in events:
        if isinstance(event, Led):
            assert event.token not in seated
            seated.add(event.token)
        else:
            seated.remove(event.token)
    return seated


def test_a_token_is_unique_over_all_elections() -> None:
    driver = Driver()
    first, other = driver.lease(), driver.lease()
    token = driver.do(Campaign("e", first)).token
    other_token = driver.do(Campaign("f", other)).token
    waiting = driver.do(Campaign("e", other)).token
    assert isinstance(driver.do(Put(b"k", b"1", fence=Fence("", token))), Stored)
    assert isinstance(driver.do(Put(b"k", b"2", fence=Fence("", other_token))), Stored)
    assert driver.do(Put(b"k", b"3", fence=Fence("", waiting))) == FenceRejected("e", waiting, token)
    driver.application.restore(driver.application.snapshot())
    assert isinstance(driver.do(Put(b"k", b"4", fence=Fence("", waiting))), FenceRejected)
    driver.do(Revoke(first))
    assert isinstance(driver.do(Put(b"k", b"5", fence=Fence("", waiting))), Stored)
    assert driver.do(Put(b"k", b"6", fence=Fence("", token))) == FenceRejected("", token, 0)
    assert driver.ask(Get(b"k")).item.value == b"5"
