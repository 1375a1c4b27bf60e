"""The blocking key-value calls on one application; they are twins of the asyncio ones."""

from __future__ import annotations

import asyncio
import inspect
import random
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import pytest

from raft.client import AsyncClient, Client, Key
from raft.client.asyncio_keys import AsyncKeys
from raft.client.blocking import run
from raft.client.calls.application import decode_or_raise, plain, question_bytes
from raft.client.errors import CommandRefused, EventsForgotten, FenceRejected, Unreachable
from raft.client.keys import Keys
from raft.durations import Duration
from raft.machines.commands import Answered, Compact, Fence, Watch
from raft.machines.results import Events
from tests.machines.driving import Driver

A = TypeVar("A")


class Direct(Keys):
    """Carried out at once, by one application."""

    def __init__(self) -> None:
        self.driver = Driver()

    def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        self.driver.index += 1
        return cast(A, decode_or_raise(self.driver.application.apply(self.driver.index, plain(operation))))

    def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        return cast(A, decode_or_raise(self.driver.application.query(question_bytes(question))))

    def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        return cast(Events, self.ask(watch))


@pytest.fixture
def keys() -> Direct:
    return Direct()


def test_get_gives_the_value_and_get_item_its_revisions_version_and_lease(keys: Direct) -> None:
    assert keys.get("a") is None and keys.get_item("a") is None
    lease = keys.driver.lease()
    first = keys.put("a", "1")
    second = keys.put("a", "2", lease=lease)
    assert keys.get("a") == b"2"
    item = keys.get_item("a")
    assert item is not None
    assert (item.value, item.created, item.revision, item.version, item.lease) == (
        b"2",
        first,
        second,
        2,
        lease,
    )


def test_put_and_delete_tell_on_demand_what_was_there_before(keys: Direct) -> None:
    fresh = keys.put("a", "1", prev_value=True)
    assert fresh.previous is None and keys.get("a") == b"1"
    again = keys.put("a", "2", prev_value=True)
    assert again.previous is not None and again.previous.value == b"1"
    item = keys.get_item("a")
    assert item is not None and item.revision == again.revision > fresh.revision
    removed = keys.delete("a", prev_value=True)
    assert removed is not None and removed.value == b"2"
    assert keys.get("a") is None and keys.delete("a", prev_value=True) is None
    assert keys.delete("a") is False


def test_what_tells_the_previous_value_is_fenced_as_well(keys: Direct) -> None:
    stale = Fence("", 77)
    for attempt in (
        lambda: keys.put("a", "1", fence=stale, prev_value=True),
        lambda: keys.delete("a", fence=stale, prev_value=True),
        lambda: keys.delete_prefix("a", fence=stale),
        lambda: keys.transaction(then=[Key("a").put("1")], fence=stale),
    ):
        with pytest.raises(FenceRejected):
            attempt()
    assert keys.get("a") is None


def test_a_prefix_is_read_page_by_page_counted_and_deleted(keys: Direct) -> None:
    names = [f"jobs/{number:02}" for number in range(25)]
    for name in [*names, "job", "jobs0"]:
        keys.put(name, "x" * 10)
    found: list[str] = []
    after: bytes | None = None
    pages = 0
    while True:
        page = keys.get_prefix("jobs/", after=after, limit=10)
        found += [item.key.decode() for item in page.items]
        pages += 1
        if not page.more:
            break
        after = page.items[-1].key
    assert (found, pages) == (names, 3)
    assert keys.count("jobs/") == 25 and keys.count() == 27
    assert keys.delete_prefix("jobs/") == 25
    assert [item.key for item in keys.items()] == [b"job", b"jobs0"]
    assert keys.delete_range("job", None) == 2 and keys.count() == 0


def test_keys_alone_come_without_their_values_and_with_their_revisions(keys: Direct) -> None:
    revision = keys.put("a", "1")
    keys.put("b", "2")
    page = keys.range("a", "b", keys_only=True)
    assert [(it.key, it.value, it.revision) for it in page.items] == [(b"a", b"", revision)] and not page.more
    assert [it.value for it in keys.items(keys_only=True)] == [b"", b""]
    assert keys.get("a") == b"1", "what is stored keeps its value"


def test_a_transaction_compares_then_does_one_thing_or_the_other(keys: Direct) -> None:
    a, b = Key("a"), Key(b"b")
    made = keys.transaction(compare=[a.version == 0, b.value == None], then=[a.put("5")])  # noqa: E711
    assert made.succeeded and keys.get("a") == b"5"
    done = keys.transaction(
        compare=[a.value == "5", a.revision < made.revision + 1, a.created > 0, a.lease == 0, b.version < 1],
        then=[a.put("4"), b.put("1"), a.get()],
    )
    assert done.succeeded and keys.get("b") == b"1"
    other = keys.transaction(
        compare=[a.value != "4"], then=[a.delete()], otherwise=[a.delete(prefix=True), b.get()]
    )
    assert not other.succeeded and keys.get("a") is None and len(other.answers) == 2
    assert keys.transaction(compare=[b.value > "0", b.value < "2", b.version != 7]).succeeded


def test_what_is_no_part_of_a_transaction_is_refused_with_an_example(keys: Direct) -> None:
    for wrong in ({"compare": [True]}, {"then": [Key("a").version == 0]}, {"otherwise": ["a"]}):
        with pytest.raises(TypeError, match="is a list such as"):
            keys.transaction(**wrong)  # type: ignore[arg-type]


# -- reading at a revision ------------------------------------------------------------------------


def test_a_key_can_be_read_at_any_revision_that_is_remembered(keys: Direct) -> None:
    """A random history, and all of it read back."""
    rng = random.Random(7)
    states: dict[int, dict[str, bytes]] = {}
    now: dict[str, bytes] = {}
    for number in range(300):
        name = rng.choice("abcd")
        if rng.random() < 0.3:
            keys.delete(name)
            now.pop(name, None)
        else:
            keys.put(name, str(number))
            now[name] = str(number).encode()
        states[keys.driver.index] = dict(now)
    last = keys.driver.application.revision
    for revision, state in states.items():
        if revision <= last:
            for name in "abcd":
                assert keys.get(name, revision=revision) == state.get(name), (name, revision)
    with pytest.raises(CommandRefused, match="no revision"):
        keys.get("a", revision=last + 1)
    with pytest.raises(CommandRefused, match="no revision"):
        keys.get("a", revision=-1)


def test_of_what_is_forgotten_only_what_is_still_certain_is_told(keys: Direct) -> None:
    first = keys.put("kept", "1")
    keys.put("changed", "1")
    keys.put("gone", "1")
    middle = keys.put("other", "x")
    keys.call(Compact(middle))
    keys.put("changed", "2")
    keys.delete("gone")
    last = keys.put("new", "1")
    assert keys.get("kept", revision=middle) == keys.get("kept", revision=first) == b"1", "it holds it still"
    assert keys.get("new", revision=middle) is None, "what came later says that it was not there before"
    assert keys.get("never", revision=middle) is None
    assert keys.get("changed", revision=last) == b"2" and keys.get("gone", revision=last) is None
    for name, revision in (("changed", middle), ("gone", middle), ("changed", first)):
        with pytest.raises(EventsForgotten) as forgotten:
            keys.get(name, revision=revision)
        assert forgotten.value.revision == middle


def test_reading_at_a_revision_goes_on_after_many_events_of_other_keys(
    keys: Direct, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raft.client.calls.store.LIMIT_MAX", 3)
    keys.put("a", "1")
    revision = [keys.put(f"x{number}", "") for number in range(20)][10]
    keys.put("a", "2")
    assert keys.get("a", revision=revision) == b"1" and keys.get("x19", revision=revision) is None


# -- blocking twins -------------------------------------------------------------------------------


def test_every_asyncio_call_has_a_blocking_twin_with_the_same_parameters_and_docstring() -> None:
    for name in (name for name in dir(AsyncKeys) if not name.startswith("_")):
        twin, original = getattr(Keys, name), getattr(AsyncKeys, name)
        assert inspect.signature(twin).parameters == inspect.signature(original).parameters, name
        assert twin.__doc__ == original.__doc__, name


def test_a_blocking_twin_refuses_to_suspend() -> None:
    with pytest.raises(RuntimeError, match="suspended"):
        run(asyncio.sleep(0))


# -- a time-out of its own ------------------------------------------------------------------------


def test_each_call_may_have_a_time_out_of_its_own(tmp_path: Path) -> None:
    with Client({1: f"ipc://{tmp_path}/no-node"}, timeout_seconds="1h") as client:
        for call in (
            lambda: client.get("a", timeout_seconds=0.02),
            lambda: client.put("a", "1", timeout_seconds="20ms"),
            lambda: client.query(b"", timeout_seconds=timedelta(milliseconds=20)),
        ):
            with pytest.raises(Unreachable, match=r"tried for 0\.02 s"):
                call()
        with pytest.raises(ValueError, match="more than 0"):
            client.get("a", timeout_seconds=0)


def test_in_an_event_loop_too(tmp_path: Path) -> None:
    async def body() -> None:
        async with AsyncClient({1: f"ipc://{tmp_path}/no-node"}, timeout_seconds="1h") as client:
            for call in (
                client.get("a", timeout_seconds=0.02),
                client.cas("a", "1", "2", timeout_seconds="20ms"),
            ):
                with pytest.raises(Unreachable, match=r"tried for 0\.02 s"):
                    await call

    asyncio.run(body())
