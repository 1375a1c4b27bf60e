"""Iterators over changes: what they tell besides, and how they are ended."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from raft.client import AsyncClient, Changed, Client, ClientClosed
from raft.machines.commands import Compact, WatchKeys
from tests.client.nodes import Nodes


def test_a_change_comes_with_what_the_key_held_before_if_that_is_wanted(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        first = client.put("before/a", "1")
        client.put("before/a", "2")
        client.delete("before/a")
        client.put("before/a", "3")
        changes = client.watch("before/", prefix=True, start_revision=first, prev_value=True)
        told = [next(changes) for _ in range(4)]
        assert [change.previous for change in told] == [None, b"1", b"2", None]
        assert [getattr(change.event, "value", None) for change in told] == [b"1", b"2", None, b"3"]


def test_what_is_forgotten_of_before_is_none(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        forgotten = client.put("before/b", "1")
        second = client.put("before/b", "2")
        client.call(Compact(forgotten))
        change = next(client.watch("before/b", start_revision=second, prev_value=True))
        assert isinstance(change, Changed)
        assert change.previous is None


def test_a_watch_that_is_cancelled_from_another_thread_ends(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        changes = client.watch("cancelled/", prefix=True)
        told: list[bytes] = []
        one = threading.Event()

        def follow() -> None:
            for change in changes:
                told.append(change.key)
                one.set()

        follower = threading.Thread(target=follow)
        follower.start()
        while not one.is_set():
            client.put("cancelled/a", "")
            one.wait(0.05)
        changes.cancel()
        follower.join(20.0)
        assert not follower.is_alive()
        assert list(changes) == []
        assert set(told) == {b"cancelled/a"}


def test_a_watch_that_is_cancelled_from_another_task_ends(nodes: Nodes) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client:
            changes = client.watch("cancelled/", prefix=True)
            waiting = asyncio.ensure_future(anext(changes, None))
            others = asyncio.ensure_future(anext(client.observe("kept"), None))
            await client.put("kept", "here")
            await others
            changes.cancel()
            assert await asyncio.wait_for(waiting, 20.0) is None
            async with aclosing(client.watch("cancelled/b", prev_value=True)) as more:
                following = asyncio.ensure_future(anext(more))
                while not following.done():
                    await client.put("cancelled/b", "x")
                assert following.result().event.value == b"x"
            assert [change async for change in more] == []

    asyncio.run(body())


def test_who_waits_for_events_of_a_client_that_is_closed_is_told_so(nodes: Nodes) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client:
            later = await client.put("closed", "") + 1
            following = client.watch("closed/", prefix=True), client.events(WatchKeys(later, b"c", b"d"))
            waiting = [asyncio.ensure_future(anext(one)) for one in following]
            await asyncio.wait(waiting, timeout=0.2)
        for one in waiting:
            with pytest.raises(ClientClosed):
                await one

    asyncio.run(body())
