"""Observers over gaps in the events: who was behind is told the difference, whatever was forgotten."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import pytest

from raft.client.calls.steps import Ask, Outcome
from raft.client.calls.watches import ElectionObserver, KeysObserver, Observer
from raft.client.errors import EventsForgotten, LeadershipLost
from raft.client.sessions.asyncio_election import AsyncElection
from raft.client.sessions.candidacy import Candidacy
from raft.machines.codec import decode_question, encode_answer, encode_question
from raft.machines.commands import (
    Campaign,
    Compact,
    Delete,
    Proclaim,
    Put,
    Range,
    Revoke,
    Transaction,
    WatchElection,
    WatchKeys,
)
from raft.machines.results import Candidate, ElectionState, Event, Item, Led, Left, Removed, Stored
from raft.protocol.client import AwaitEvents, Query, QueryResult
from tests.client.test_routing import Talk
from tests.machines.driving import Driver


class World:
    """One application, and observers of it; `between_pages` happens after each page that is read."""

    def __init__(self, page: int = 1_000) -> None:
        self.driver = Driver()
        self.talk = Talk(1)
        self.page = page
        self.between_pages: list[object] = []

    def told(self, observer: Observer) -> list[Event]:
        """All that there is to tell now."""
        found: list[Event] = []
        for _ in range(100):
            found += self.talk.run(observer.more(self.talk.view, self.talk.budget()), self._answer)
            watch = observer.watch_from
            if watch is not None and watch.revision > self.driver.application.revision:
                return found
        raise AssertionError("it never catches up")

    def put(self, key: bytes, value: bytes = b"v") -> int:
        stored = self.driver.do(Put(key, value))
        assert isinstance(stored, Stored)
        return stored.revision

    def state(self) -> dict[bytes, Item]:
        """What the keys hold now."""
        return {item.key: item for item in self.driver.ask(Range(b"", None)).items}

    def delete(self, key: bytes) -> None:
        self.driver.do(Delete(key))

    def forget(self) -> None:
        """Forget all events."""
        self.driver.do(Compact(self.driver.application.revision))

    def _answer(self, ask: Ask) -> Outcome:
        body = ask.request.body  # type: ignore[union-attr]
        question = decode_question(body)
        if isinstance(ask.request, AwaitEvents):
            assert isinstance(question, WatchKeys | WatchElection)
            return QueryResult(1, encode_answer(self.driver.application.events_since(question)), True)
        assert isinstance(ask.request, Query)
        if isinstance(question, Range):
            body = encode_question(msgspec.structs.replace(question, limit=self.page))
        result = self.driver.application.query(body)
        if self.between_pages:
            self.driver.do(self.between_pages.pop(0))  # type: ignore[arg-type]
        return QueryResult(1, result)


def names(events: Iterable[Event]) -> list[tuple[str, object]]:
    return [
        (type(event).__name__, event.key if isinstance(event, Item | Removed) else event.token)
        for event in events
    ]


# -- elections ------------------------------------------------------------------------------------


def stand(world: World, seats: int = 1, value: bytes = b"") -> tuple[int, int]:
    """The lease and the token of a new candidate."""
    lease = world.driver.lease()
    return lease, world.driver.do(Campaign("e", lease, value, seats)).token


def test_an_observer_that_was_behind_is_told_that_a_leader_has_gone() -> None:
    world, observer = World(), ElectionObserver("e")
    lease, token = stand(world)
    assert names(world.told(observer)) == [("Led", token)]
    world.driver.do(Revoke(lease))
    world.forget()
    assert world.told(observer) == [Left("e", token, world.driver.application.revision)]


def test_an_observer_that_was_behind_is_told_who_left_before_it_is_told_who_leads_now() -> None:
    world, observer = World(), ElectionObserver("e")
    (first_lease, first), (_, second) = stand(world), stand(world)
    world.told(observer)
    world.driver.do(Revoke(first_lease))
    world.forget()
    assert names(world.told(observer)) == [("Left", first), ("Led", second)]


def test_an_observer_is_not_told_again_of_a_leader_that_has_stayed() -> None:
    world, observer = World(), ElectionObserver("e")
    _, token = stand(world, seats=2, value=b"a")
    world.told(observer)
    lease, other = stand(world, seats=2)
    world.driver.do(Revoke(lease))
    world.forget()
    assert world.told(observer) == [], f"{other} came and went, {token} has stayed"
    world.driver.do(Proclaim("e", token, b"b"))
    world.forget()
    assert [(type(it), it.value) for it in world.told(observer) if isinstance(it, Led)] == [(Led, b"b")]


# -- keys -----------------------------------------------------------------------------------------


def keys_observer(revision: int = 0, *, tell_present: bool = False) -> KeysObserver:
    return KeysObserver(b"k", b"l", revision=revision, tell_present=tell_present)


def test_a_watch_over_a_gap_tells_what_has_gone_and_what_has_changed_and_nothing_twice() -> None:
    world, observer = World(), keys_observer()
    for key in (b"k1", b"k2", b"k3"):
        world.put(key)
    assert world.told(observer) == []
    changed = world.put(b"k1", b"w")
    assert names(world.told(observer)) == [("Item", b"k1")]
    world.delete(b"k2")
    world.put(b"k4")
    world.forget()
    assert names(world.told(observer)) == [("Removed", b"k2"), ("Item", b"k4")]
    world.delete(b"k1")
    assert names(world.told(observer)) == [("Removed", b"k1")] and changed


def test_a_key_that_was_unbound_and_bound_again_within_a_gap_is_told_as_it_is_now() -> None:
    world, observer = World(), keys_observer(tell_present=True)
    world.put(b"k1")
    assert names(world.told(observer)) == [("Item", b"k1")]
    world.delete(b"k1")
    world.put(b"k1", b"again")
    world.forget()
    (item,) = world.told(observer)
    assert isinstance(item, Item) and (item.value, item.version) == (b"again", 1)


def test_a_watch_from_a_revision_tells_all_since_then_and_after_a_gap_the_difference() -> None:
    world = World()
    world.put(b"k0")
    first = world.put(b"k1")
    world.delete(b"k1")
    observer = keys_observer(first)
    assert names(world.told(observer)) == [("Item", b"k1"), ("Removed", b"k1")]
    world.delete(b"k0")
    world.forget()
    assert names(world.told(observer)) == [("Removed", b"k0")]


def test_a_watch_from_a_revision_that_is_forgotten_says_so() -> None:
    world = World()
    first = world.put(b"k1")
    world.put(b"k2")
    world.forget()
    with pytest.raises(EventsForgotten):
        world.told(keys_observer(first))


def test_all_that_one_transaction_does_to_a_key_is_told_in_order() -> None:
    world, observer = World(), keys_observer()
    world.told(observer)
    parts = (Put(b"k1", b"a"), Put(b"k1", b"b"), Put(b"k2", b"a"), Delete(b"k2"))
    world.driver.do(Transaction((), parts))
    told = world.told(observer)
    assert names(told) == [("Item", b"k1"), ("Item", b"k1"), ("Item", b"k2"), ("Removed", b"k2")]
    world.driver.do(Transaction((), (Delete(b"k1"), Put(b"k1", b"c"))))
    assert names(world.told(observer)) == [("Removed", b"k1"), ("Item", b"k1")]
    world.delete(b"k1")
    world.forget()
    assert names(world.told(observer)) == [("Removed", b"k1")]


@pytest.mark.parametrize("tell_present", [False, True])
def test_what_changes_while_the_state_is_read_page_by_page_is_told_once(tell_present: bool) -> None:
    world = World(page=1)
    for key in (b"k1", b"k2", b"k3"):
        world.put(key)
    world.between_pages = [Put(b"k2", b"w"), Delete(b"k3")]
    observer = keys_observer(tell_present=tell_present)
    told = world.told(observer)
    assert [it.value for it in told if isinstance(it, Item) and it.key == b"k2"] == [b"w"]
    assert [type(it) for it in told if not isinstance(it, Led | Left) and it.key == b"k3"] in (
        [[]] if tell_present else [[Removed]]
    )


def follow(world: World, observer: Observer, state: dict[bytes, Item], why: str) -> None:
    """Apply what an observer is told to a copy of the state that is made of nothing else."""
    for event in world.told(observer):
        if isinstance(event, Item):
            before = state.get(event.key)
            assert before is None or before.revision <= event.revision, f"out of order, {why}"
            state[event.key] = event
        elif isinstance(event, Removed):
            state.pop(event.key, None)


@pytest.mark.parametrize("tell_present", [False, True])
def test_whatever_happens_and_is_forgotten_what_was_told_adds_up_to_the_state(tell_present: bool) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    keys = [b"k%d" % number for number in range(6)]
    for _ in range(20):
        world = World(page=2)
        for key in rng.sample(keys, 4):
            world.put(key)
        state = {} if tell_present else world.state()
        observer = keys_observer(tell_present=tell_present)
        for _ in range(30):
            world.between_pages = [Put(rng.choice(keys), b"x"), Delete(rng.choice(keys))]
            follow(world, observer, state, f"seed {seed}")
            for _ in range(rng.randrange(4)):
                key = rng.choice(keys)
                put, delete = Put(key, b"%d" % rng.randrange(99)), Delete(key)
                both = Transaction((), rng.choice(((put, delete), (delete, put), (put, put))))
                world.driver.do(rng.choice((put, delete, both)))
            if rng.random() < 0.3:
                world.forget()
        world.between_pages = []
        follow(world, observer, state, f"seed {seed}")
        assert state == world.state(), f"seed {seed}"


class Waited:
    """Of the client of one that waits in a queue: events are forgotten once, then it gets its seat."""

    def __init__(self, state: ElectionState, token: int) -> None:
        self._state = state
        self._token = token
        self._asked = False

    async def ask(self, _question: object) -> ElectionState:
        self._asked = True
        return self._state

    async def events(self, watch_from: object) -> AsyncIterator[Led]:
        if not self._asked:
            raise EventsForgotten(5)
        yield Led("e", self._token, b"", 9)


@pytest.mark.parametrize(
    ("waiting", "more", "is_there"),
    [((), 3, True), ((5, 6), 3, True), ((5, 6), 0, False), ((5, 12), 3, False), ((5, 7), 0, True)],
)
def test_who_waits_too_far_behind_to_be_told_of_waits_on(
    waiting: tuple[int, ...], more: int, is_there: bool
) -> None:
    state = ElectionState(1, (), tuple(Candidate(token, 1, b"") for token in waiting), 8, more)
    client: Any = Waited(state, 7)
    wait = AsyncElection(client, Candidacy("e", 1, b"", True), 5.0).wait_for_seat(7)
    if is_there:
        asyncio.run(wait)
        return
    with pytest.raises(LeadershipLost):
        asyncio.run(wait)
