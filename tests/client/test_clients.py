"""Both clients against real node processes: they work, they hurry, they are honest when a leader dies."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading

import pytest

from raft.client import (
    AsyncClient,
    Client,
    ClientClosed,
    CommandRefused,
    OutcomeUnknown,
    Rejected,
    Unreachable,
)
from raft.client.calls.store import Swapped
from raft.machines.commands import VALUE_BYTES_MAX
from tests.client.nodes import Nodes

pytestmark = pytest.mark.processes


def test_the_store_works_through_the_blocking_client(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        client.put("colour", "blue")
        assert client.get("colour") == b"blue"
        assert client.get("colour", stale=True) in (b"blue", None)
        assert client.cas("colour", "red", "green") == Swapped(False, b"blue")
        assert client.cas("colour", "blue", "green") == Swapped(True, b"green")
        assert client.delete("colour")
        assert not client.delete("colour")
        assert client.get("colour") is None
        assert client.leader().leader in nodes.endpoints


def test_one_living_node_in_a_plain_list_is_enough_to_find_the_others(nodes: Nodes) -> None:
    with Client([nodes.endpoints[1]]) as client:
        client.put("k", "v")
        assert client.get("k") == b"v"


def test_limits_and_garbage_are_refused_for_good(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        with pytest.raises(CommandRefused, match="at most"):
            client.put("k", bytes(VALUE_BYTES_MAX + 1))
        with pytest.raises(CommandRefused, match="no machine of the user's own"):
            client.command(b"garbage")
        client.put("k", bytes(VALUE_BYTES_MAX))
        assert client.get("k") == bytes(VALUE_BYTES_MAX)


def test_a_closed_client_says_so_and_no_thread_is_left(nodes: Nodes) -> None:
    threads = threading.active_count()
    client = Client(nodes.endpoints)
    client.put("k", "v")
    assert threading.active_count() == threads
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.get("k")


def test_a_cluster_that_is_not_there_is_unreachable_within_the_time_given() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rc") as name,
        Client([f"ipc://{name}/no-node"], timeout_seconds=0.3) as client,
        pytest.raises(Unreachable),
    ):
        client.put("k", "v")


def test_writes_go_on_when_the_leader_is_killed_and_no_acknowledged_one_is_lost(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        acknowledged: dict[str, str] = {}
        for number in range(60):
            if number % 20 == 10:
                nodes.revive()
                os.kill(nodes.children[client.leader().leader].pid or 0, signal.SIGKILL)
            try:
                client.put(f"key{number}", str(number))
            except OutcomeUnknown:
                continue
            acknowledged[f"key{number}"] = str(number)
        assert len(acknowledged) >= 50
        assert all(client.get(key) == value.encode() for key, value in acknowledged.items())


def test_the_asyncio_client_runs_many_calls_at_once(nodes: Nodes) -> None:
    async def work() -> None:
        async with AsyncClient(nodes.endpoints) as client:
            await asyncio.gather(*(client.put(f"a{n}", str(n)) for n in range(500)))
            found = await asyncio.gather(*(client.get(f"a{n}") for n in range(500)))
            assert found == [str(n).encode() for n in range(500)]
            assert await client.cas("a0", "0", None) == Swapped(True, None)
            assert not await client.delete("a0")
            assert (await client.leader()).leader in nodes.endpoints

    threads = threading.active_count()
    asyncio.run(work())
    assert threading.active_count() == threads


def test_who_asks_again_once_answered_does_not_wait_for_another_round_of_the_loop(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client:
            transport, sent = client.connection.transport, list[int]()
            send = transport.send

            def noting(process: str, payload: bytes) -> str | None:
                sent.append(len(payload))
                return send(process, payload)

            await client.put("k", "1")
            monkeypatch.setattr(transport, "send", noting)
            again = asyncio.ensure_future(client.put("k", "2"))
            await asyncio.sleep(0)  # Its first step, and no more.
            assert sent
            await again
            together = [asyncio.ensure_future(client.put("k", f"{number}")) for number in range(10)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert max(sent) > 7 * min(sent), "the other nine requests are in one frame"
            await asyncio.gather(*together)

    asyncio.run(body())


def test_the_asyncio_client_is_told_early_when_the_asked_node_dies(nodes: Nodes) -> None:
    async def work() -> None:
        async with AsyncClient(nodes.endpoints, timeout_seconds=10_000.0) as client:
            leader = (await client.leader()).leader
            pid = nodes.children[leader].pid
            assert pid
            os.kill(pid, signal.SIGSTOP)
            calls = asyncio.gather(*(client.put(f"b{n}", "v") for n in range(20)), return_exceptions=True)
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGKILL)
            ends = await calls  # Or it would take hours.
            assert all(isinstance(end, int | OutcomeUnknown | Rejected) for end in ends)
            assert await client.get("a1") in (b"1", None)

    asyncio.run(work())


def test_a_cancelled_call_leaves_the_client_usable_and_a_closed_one_ends_its_calls(nodes: Nodes) -> None:
    async def work() -> None:
        client = AsyncClient(nodes.endpoints)
        call = asyncio.ensure_future(client.put("c", "v"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await client.put("c", "w")
        assert await client.get("c") == b"w"
        call = asyncio.ensure_future(client.put("c", "x"))
        await asyncio.sleep(0)
        client.close()
        with pytest.raises(ClientClosed):
            await call

    asyncio.run(work())
