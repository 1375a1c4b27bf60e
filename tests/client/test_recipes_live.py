"""The recipes on real nodes, blocking and in an event loop; what they do in detail is in test_recipes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from raft.client import (
    AsyncBarrier,
    AsyncClient,
    AsyncCounter,
    AsyncDoubleBarrier,
    AsyncParty,
    AsyncQueue,
    AsyncReadWriteLock,
    Barrier,
    Client,
    Counter,
    DoubleBarrier,
    ItemLost,
    Party,
    Queue,
    ReadWriteLock,
    Session,
    Taken,
)
from tests.client.nodes import Nodes


def test_a_blocking_program_counts_and_queues_and_what_it_held_returns_when_its_session_ends(
    nodes: Nodes,
) -> None:
    with Client(nodes.endpoints) as client, client.session() as second:
        with client.session() as first:
            assert Counter(first, "visits").add() == 1 and Counter(client, "visits").add(-3) == -2
            assert Counter(client, "visits").value == -2
            mine, theirs = Queue(first, "jobs"), Queue(second, "jobs")
            mine.put("a")
            mine.put("b")
            held = mine.take()
            assert held is not None and held.value == b"a" and theirs.count() == 2
            with pytest.raises(ZeroDivisionError), theirs.take() as failing:  # type: ignore[union-attr]
                assert failing.value == b"b" and theirs.take(timeout=0) is None
                raise ZeroDivisionError
            party = Party(first, "workers", "one")
            party.join()
            assert party.members() == [b"one"] and Party(second, "workers").count() == 1
            assert not party.wait_for(2, timeout="20ms")
            with (
                ReadWriteLock(first, "files").reading(),
                ReadWriteLock(second, "files").reading(),
                pytest.raises(Taken),
                ReadWriteLock(second, "files").writing(timeout="20ms"),
            ):
                pass
        assert party is not None and Party(second, "workers").members() == []
        returned = theirs.take(timeout="10s")
        assert returned is not None and returned.value == b"a" and returned.token > held.token
        returned.done()
        with pytest.raises(ItemLost):
            returned.done()
        with theirs.take() as last:  # type: ignore[union-attr]
            assert last.value == b"b"
        with ReadWriteLock(second, "files").writing() as token:
            assert token > 0 and theirs.count() == 0


def test_threads_meet_at_barriers(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client, client.session() as one, client.session() as two:
        gate = Barrier(client, "gate")
        assert gate.create() and not gate.create() and not gate.wait(timeout="20ms")

        def meet(session: Session) -> bool:
            assert Barrier(session, "gate").wait(timeout="30s")
            both = DoubleBarrier(session, "both", 2)
            return both.enter(timeout="30s") and both.leave(timeout="30s")

        with ThreadPoolExecutor() as threads:
            met = [threads.submit(meet, session) for session in (one, two)]
            assert gate.remove() and not gate.remove()
            assert all(result.result() for result in met)
        assert not DoubleBarrier(one, "both", 2).enter(timeout="20ms")


def test_an_event_loop_has_the_same(nodes: Nodes) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client, client.session() as second:
            async with client.session() as first:
                assert await AsyncCounter(first, "loop/visits").add(2) == 2
                assert await AsyncCounter(client, "loop/visits").value() == 2
                mine, theirs = AsyncQueue(first, "loop/jobs"), AsyncQueue(second, "loop/jobs")
                waiting = asyncio.ensure_future(theirs.take())
                await mine.put("a")
                async with await waiting as item:  # type: ignore[union-attr]
                    assert item.value == b"a" and await mine.take(timeout="20ms") is None
                await mine.put("b")
                assert (await mine.take()) is not None
                party = AsyncParty(first, "loop/workers", "one")
                await party.join()
                assert await party.wait_for(1) and await party.members() == [b"one"]
                await party.leave()
                gate = AsyncBarrier(client, "loop/gate")
                assert await gate.create()
                going = asyncio.ensure_future(AsyncBarrier(second, "loop/gate").wait())
                assert await gate.remove() and await going
                both = [AsyncDoubleBarrier(session, "loop/both", 2) for session in (first, second)]
                assert await asyncio.gather(*(one.enter() for one in both)) == [True, True]
                assert await asyncio.gather(*(one.leave() for one in both)) == [True, True]
                files = AsyncReadWriteLock(second, "loop/files")
                async with AsyncReadWriteLock(first, "loop/files").writing():
                    giving_up = asyncio.ensure_future(files.reading().__aenter__())
                    while await client.count("loop/files/") < 2:
                        await asyncio.sleep(0)
                    giving_up.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await giving_up
                    assert await client.count("loop/files/") == 1, "it has left the queue"
            returned = await theirs.take()
            assert returned is not None and returned.value == b"b"
            await returned.put_back()
            assert await theirs.count() == 1

    asyncio.run(body())
