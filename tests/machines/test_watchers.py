"""Watching: no event lost, duplicated or out of order, and an error when some were compacted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.machines.application import Application
from raft.machines.codec import encode_call, encode_question
from raft.machines.commands import (
    Call,
    Campaign,
    Compact,
    Delete,
    DeleteRange,
    Get,
    Operation,
    Own,
    Put,
    Range,
    Transaction,
    Watch,
    WatchElection,
    WatchKeys,
)
from raft.machines.history import EVENT_BYTES, History
from raft.machines.machine import MachineError
from raft.machines.results import Compacted, Event, Events, Item, Led, Refused, Removed
from raft.machines.watchers import Watchers
from tests.machines.driving import Driver


def put(key: bytes, revision: int, value: bytes = b"") -> Item:
    return Item(key, value, revision, revision, 1, 0)


EVERYTHING = WatchKeys(1, b"", None)


def test_a_watcher_sees_its_range_and_nothing_else() -> None:
    driver = Driver()
    for operation in (Put(b"a", b""), Put(b"b", b""), Delete(b"b"), Put(b"c", b""), Delete(b"c")):
        driver.do(operation)
    told = driver.ask(WatchKeys(1, b"b", b"c"))
    assert told == Events((put(b"b", 2), Removed(b"b", 3)), 6, 5)
    assert driver.ask(WatchKeys(3, b"b", b"c")).events == (Removed(b"b", 3),)
    assert driver.ask(WatchKeys(9, b"b", b"c")) == Events((), 9, 5)


def test_an_observer_sees_its_election_and_nothing_else() -> None:
    driver = Driver()
    lease = driver.lease()
    driver.do(Put(b"e", b""))
    driver.do(Campaign("e", lease, b"v"))
    driver.do(Campaign("f", lease))
    assert driver.ask(WatchElection(1, "e")).events == (Led("e", 3, b"v", 3),)
    assert driver.ask(EVERYTHING).events == (put(b"e", 2),)


def test_the_events_of_one_revision_are_never_split() -> None:
    driver = Driver()
    driver.do(Put(b"a", b""))
    driver.do(Transaction((), (Put(b"b", b""), Put(b"c", b""), Put(b"d", b""))))
    driver.do(Put(b"e", b""))
    first = driver.ask(WatchKeys(1, b"", None, 2))
    assert ([event.revision for event in first.events], first.next) == ([1, 2, 2, 2], 3)
    rest = driver.ask(WatchKeys(first.next, b"", None, 2))
    assert ([event.revision for event in rest.events], rest.next) == ([3], 4)


def test_compaction_removes_only_events_and_reports_it() -> None:
    driver = Driver()
    for number in range(4):
        driver.do(Put(b"k", b"%d" % number))
    assert driver.do(Compact(2)) == Compacted(2)
    assert driver.ask(WatchKeys(2, b"", None)) == Compacted(2)
    assert [event.revision for event in driver.ask(WatchKeys(3, b"", None)).events] == [3, 4]
    assert driver.do(Compact(1)) == Compacted(2)
    assert isinstance(driver.do(Compact(5)), Refused)
    assert driver.ask(Get(b"k")).item.version == 4
    driver.do(Compact(4))
    assert driver.ask(WatchKeys(5, b"", None)) == Events((), 5, 4)


def test_the_oldest_events_are_forgotten_when_there_are_too_many() -> None:
    history = History(events_max=16)
    for revision in range(1, 18):
        history.add(put(b"k", revision))
    assert len(history) == 17 and history.compacted == 0
    history.add(put(b"k", 18))
    assert history.compacted == 3
    assert [event.revision for event in history.events] == list(range(4, 19))


def test_the_oldest_events_are_forgotten_when_they_are_too_large() -> None:
    history = History(bytes_max=8 * (EVENT_BYTES + 100))
    for revision in range(1, 11):
        history.add(put(b"", revision, b"v" * 100))
    assert history.compacted == 2
    assert [event.revision for event in history.events] == list(range(3, 11))


def test_the_newest_revision_can_be_read_however_large_it_is() -> None:
    history = History(events_max=4)
    history.add(put(b"k", 1))
    for _ in range(20):
        history.add(put(b"k", 2))
    told = history.since(WatchKeys(2, b"", None))
    assert isinstance(told, Events) and len(told.events) == 20
    history.add(put(b"k", 3))
    assert history.compacted == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=60))
def test_a_restored_history_continues_as_the_original(steps: list[tuple[int, int]]) -> None:
    one = History(events_max=8, bytes_max=8 * EVENT_BYTES + 400)
    for revision, (again, size) in enumerate(steps, 1):
        two = History(events_max=8, bytes_max=8 * EVENT_BYTES + 400)
        two.restore(one.events, one.revision, one.compacted)
        for _ in range(again):
            one.add(put(b"k", revision, b"v" * size))
            two.add(put(b"k", revision, b"v" * size))
        assert (list(one.events), one.revision, one.compacted) == (
            list(two.events),
            two.revision,
            two.compacted,
        )


# -- completeness --------------------------------------------------------------------------------

keys = st.sampled_from([b"", b"a", b"b", b"c"])
writes = st.one_of(
    st.builds(Put, keys, st.sampled_from([b"1", b"2"])),
    st.builds(Delete, keys),
    st.builds(DeleteRange, keys, st.none() | keys),
)
commands = writes | st.builds(lambda parts: Transaction((), tuple(parts)), st.lists(writes, max_size=4))


@given(
    st.lists(st.tuples(commands, st.integers(0, 3), st.booleans()), max_size=40),
    keys,
    st.none() | keys,
    st.integers(1, 3),
)
def test_a_watcher_that_changes_replicas_can_rebuild_the_range_at_every_revision(
    story: list[tuple[Operation, int, bool]], start: bytes, end: bytes | None, limit: int
) -> None:
    driver, mirror = Driver(), dict[bytes, bytes]()
    states = {0: dict[bytes, bytes]()}
    seen: list[Event] = []
    watch: Watch = WatchKeys(1, start, end, limit)
    for command, pages, restore in story:
        driver.do(command)
        states[driver.index] = {item.key: item.value for item in driver.ask(Range(start, end)).items}
        if restore:
            driver.application.restore(driver.application.snapshot())
        for _ in range(pages):
            told = driver.ask(watch)
            seen += told.events
            _follow(mirror, told.events)
            assert mirror == states[min(told.next - 1, driver.index)]
            watch = WatchKeys(told.next, start, end, limit)
    whole = driver.ask(WatchKeys(1, start, end, 10_000))
    assert seen == list(whole.events[: len(seen)])


def _follow(mirror: dict[bytes, bytes], events: tuple[Event, ...]) -> None:
    for event in events:
        if isinstance(event, Item):
            mirror[event.key] = event.value
        elif isinstance(event, Removed):
            del mirror[event.key]


def test_a_hundred_thousand_events_are_delivered_once_and_in_order_over_ten_restarts() -> None:
    application, seen, watch = Application(), 0, WatchKeys(1, b"", None, limit=960)
    for number in range(1, 100_001):
        application.apply(number, encode_call(Call(0, 0, 0, Put(b"k", b""))))
        if number % 10_000 == 0:
            data, application = application.snapshot(), Application()
            application.restore(data)
            for _ in range(10):  # Slower than the writer, and never too slow.
                told = application.events_since(watch)
                assert isinstance(told, Events)
                assert [event.revision for event in told.events] == [*range(seen + 1, told.next)]
                seen, watch = told.next - 1, WatchKeys(told.next, b"", None, limit=960)
    while watch.revision <= application.revision:
        told = application.events_since(watch)
        assert isinstance(told, Events)
        assert [event.revision for event in told.events] == [*range(seen + 1, told.next)]
        seen, watch = told.next - 1, WatchKeys(told.next, b"", None, limit=960)
    assert seen == 100_000


# -- the watchers of a node ----------------------------------------------------------------------


def test_each_watcher_gets_its_events_once() -> None:
    driver, watchers = Driver(), Watchers[str]()
    history = driver.application.history
    driver.do(Put(b"a", b""))
    watchers.add("all", EVERYTHING)
    watchers.add("b", WatchKeys(1, b"b", b"c"))
    watchers.add("e", WatchElection(1, "e"))
    assert [who for who, _ in watchers.news(history)] == ["all"]
    assert list(watchers.news(history)) == []
    driver.do(Put(b"b", b""))
    driver.do(Campaign("e", driver.lease()))
    told = {who: [event.revision for event in news.events] for who, news in watchers.news(history)}  # type: ignore[union-attr]
    assert told == {"all": [2], "b": [2], "e": [4]}
    watchers.remove("all")
    assert len(watchers) == 2 and not watchers.behind(history)


def test_a_watcher_of_compacted_revisions_gets_an_error_and_is_removed() -> None:
    driver, watchers = Driver(), Watchers[str]()
    for _ in range(3):
        driver.do(Put(b"a", b""))
    watchers.add("late", EVERYTHING)
    driver.do(Compact(2))
    assert list(watchers.news(driver.application.history)) == [("late", Compacted(2))]
    assert len(watchers) == 0


def test_a_watcher_far_behind_is_served_in_pages() -> None:
    driver, watchers = Driver(), Watchers[str]()
    history = driver.application.history
    for _ in range(5):
        driver.do(Put(b"a", b""))
    watchers.add("w", WatchKeys(1, b"", None, 2))
    revisions = []
    while watchers.behind(history):
        for _, news in watchers.news(history):
            assert isinstance(news, Events)
            revisions += [event.revision for event in news.events]
    assert revisions == [1, 2, 3, 4, 5]
    assert watchers.next_of("w") == 6


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_an_invalid_limit_is_refused(limit: int) -> None:
    import msgspec

    driver = Driver()
    driver.do(Put(b"a", b""))
    for question in (WatchKeys(1, b"", None, limit), WatchElection(1, "e", limit), Range(b"", None, limit)):
        answer = driver.application.query(msgspec.msgpack.encode(question))
        assert isinstance(msgspec.msgpack.decode(answer, type=Refused | Events), Refused)


@pytest.mark.parametrize("revision", [0, -1])
def test_no_watch_begins_before_the_first_revision(revision: int) -> None:
    for watch in (WatchKeys(revision, b"", None), WatchElection(revision, "e")):
        with pytest.raises(MachineError, match="begin with 1"):
            encode_question(watch)


def test_a_query_without_a_user_machine_is_refused() -> None:
    assert isinstance(Driver().ask(Own(b"")), Refused)
