"""A client object that is shared by threads, dropped, forked, entered twice, left open at the end."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop

from raft.client import AsyncClient, AsyncCounter, Client, ClientClosed, ClientError, Counter, Item
from raft.client.sessions.reentry import Entries
from tests.client.nodes import Nodes

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
THREADS = 32
PUTS = 20
ADDS = 50


def run_program(nodes: Nodes, program: str, timeout_seconds: float = 30.0) -> str:
    """What a program prints that finds the endpoints in `endpoints`."""
    begin = "import json, sys; endpoints = {int(n): at for n, at in json.loads(sys.argv[1]).items()}\n"
    command = [sys.executable, "-X", "dev", "-c", begin + program, json.dumps(nodes.endpoints)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# -- threads --------------------------------------------------------------------------------------


def test_many_threads_share_one_client_while_the_leader_is_killed(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client, ThreadPoolExecutor(THREADS) as pool:
        leader = client.leader().leader
        begun = threading.Barrier(THREADS + 1)

        def work(thread: int) -> list[str]:
            begun.wait()
            acknowledged = []
            for number in range(PUTS):
                key = f"shared/{thread}/{number}"
                try:
                    client.put(key, key)
                except ClientError:
                    continue
                acknowledged.append(key)
                assert client.get(key, stale=False) == key.encode()
            return acknowledged

        works = [pool.submit(work, thread) for thread in range(THREADS)]
        begun.wait()
        os.kill(nodes.children[leader].pid or 0, signal.SIGKILL)
        acknowledged = [key for done in works for key in done.result(60.0)]
        assert len(acknowledged) > THREADS * PUTS // 2
        assert {item.key.decode() for item in client.items("shared/")} >= set(acknowledged)


def add(name: str, client: Client) -> list[int]:
    with client.session() as session:
        counter = Counter(session, name)
        return [counter.add() for _ in range(ADDS)]


def add_in_a_process(name: str, endpoints: dict[int, str]) -> list[int]:
    with Client(endpoints) as client:
        return add(name, client)


def add_in_a_loop(
    name: str, endpoints: dict[int, str], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> list[int]:
    async def work() -> list[int]:
        async with AsyncClient(endpoints) as client, client.session() as session:
            counter = AsyncCounter(session, name)
            return [await counter.add() for _ in range(ADDS)]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work())


def test_nothing_is_lost_or_doubled_by_threads_a_forked_worker_and_two_event_loops_as_the_leader_is_killed(
    nodes: Nodes,
) -> None:
    fork = multiprocessing.get_context("fork")
    with (
        Client(nodes.endpoints) as client,
        ProcessPoolExecutor(1, fork) as forked,
        ThreadPoolExecutor(5) as threads,
    ):
        leader = client.leader().leader
        works = [
            forked.submit(add_in_a_process, "added/forked", nodes.endpoints),
            threads.submit(add_in_a_loop, "added/asyncio", nodes.endpoints, asyncio.new_event_loop),
            threads.submit(add_in_a_loop, "added/uvloop", nodes.endpoints, uvloop.new_event_loop),
            *(threads.submit(add, f"added/{thread}", client) for thread in range(3)),
        ]
        next(now for now in client.observe("added/0") if isinstance(now, Item) and int(now.value) > ADDS / 4)
        os.kill(nodes.children[leader].pid or 0, signal.SIGKILL)
        for work in works:
            assert work.result(60.0) == list(range(1, ADDS + 1))
        assert [int(item.value) for item in client.items("added/")] == [ADDS] * len(works)


def test_a_client_that_is_closed_ends_the_calls_of_other_threads(nodes: Nodes) -> None:
    client = Client(nodes.endpoints)
    events = client.watch("never/")
    client.get("k")
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(next, client.watch(f"never/{number}")) for number in range(4)]
        client.put("k", "v")
        client.close()
        assert all(isinstance(it.exception(20.0), ClientClosed) for it in waiting)
    with pytest.raises(ClientClosed):
        next(events)


# -- dropped, forked, left open -------------------------------------------------------------------


def test_a_client_that_is_dropped_is_closed_and_holds_up_no_garbage_collection(nodes: Nodes) -> None:
    program = """
import gc, warnings
from raft.client import Client
client = Client(endpoints)
client.put("dropped", "1")
cycle = [client]
cycle.append(cycle)
del client, cycle
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    gc.collect()
print([str(it.message) for it in caught if it.category is ResourceWarning])
"""
    assert "without close()" in run_program(nodes, program)


def test_a_forked_child_is_told_to_make_a_client_of_its_own_and_its_parent_goes_on(nodes: Nodes) -> None:
    program = """
import os
from raft.client import Client, ClientClosed
client = Client(endpoints)
client.put("forked", "1")
session = client.session("20s").__enter__()
child = os.fork()
if not child:
    told = []
    for use in (lambda: client.get("forked"), lambda: session.put("a", "b"), lambda: next(client.watch("k"))):
        try:
            use()
        except ClientClosed as error:
            told.append("after the fork" in str(error))
    client.close()
    session.__exit__(None, None, None)
    with Client(endpoints) as own:
        told.append(own.get("forked") == b"1")
    os._exit(0 if told == [True] * 4 else 1)
print("child", os.waitpid(child, 0)[1])
client.put("forked", "2")
session.put("forked", "3")
print("parent", client.get("forked"))
session.__exit__(None, None, None)
client.close()
"""
    printed = run_program(nodes, program)
    assert "child 0" in printed and "parent b'3'" in printed, printed


def test_a_program_that_leaves_a_lock_and_a_session_open_ends_all_the_same(nodes: Nodes) -> None:
    program = """
from raft.client import Client
client = Client(endpoints)
lock = client.lock("left open", ttl="1s")
print("token", lock.__enter__().token > 0)
session = client.session("1s").__enter__()
session.put("left open", "1", lease=session.lease)
"""
    assert "token True" in run_program(nodes, program, timeout_seconds=10.0)
    with Client(nodes.endpoints) as client:
        with client.lock("left open", ttl="1s") as lead:  # As soon as the lease has ended by itself.
            assert lead.token
        while (item := client.get_item("left open")) is not None:
            next(client.watch("left open", start_revision=item.revision + 1))


# -- entered more than once -----------------------------------------------------------------------


def test_one_lock_object_may_be_entered_by_many_tasks_at_once(nodes: Nodes) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client:
            lock, inside, tokens = client.lock("one object"), 0, []

            async def work() -> None:
                nonlocal inside
                async with lock as lead:
                    inside += 1
                    tokens.append(lead.token)
                    await client.get("k")
                    assert inside == 1
                    lead.check()
                    inside -= 1

            await asyncio.gather(*(work() for _ in range(5)))
            assert len(set(tokens)) == 5
            assert not (await lock.current()).holders

    asyncio.run(body())


def test_one_semaphore_object_keeps_the_seats_of_its_threads_apart(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client, ThreadPoolExecutor(4) as pool:
        semaphore = client.semaphore("one object", 2)
        inside = threading.Semaphore(2)

        def work() -> int:
            with semaphore as lead:
                assert inside.acquire(blocking=False), "more than two are inside"
                lead.check()
                inside.release()
                return lead.token

        assert len({done.result(30.0) for done in [pool.submit(work) for _ in range(4)]}) == 4


def test_a_session_that_is_entered_already_says_so(nodes: Nodes) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client, client.session("5s") as session:
            with pytest.raises(RuntimeError, match="create another one"):
                await session.open()

    asyncio.run(body())
    with Client(nodes.endpoints) as client:
        session = client.session("5s")
        with session, pytest.raises(RuntimeError, match="create another one"), session:
            pass
        with session:
            session.put("again", "1")


def test_who_leaves_without_having_entered_leaves_the_only_entry_or_none() -> None:
    names = ["a", "a", "b"]
    entries: Entries[int] = Entries(lambda: names[0])
    entries.add(1)
    names[0] = "b"
    assert entries.take() == 1
    entries.add(2)
    names[0] = "a"
    entries.add(3)
    names[0] = "c"
    with pytest.raises(RuntimeError, match="which entry"):
        entries.take()
    names[0] = "b"
    assert entries.take() == 2
