"""What a client of this project is asked to do by a comparison, with the asyncio client.

Owns the tasks of benchmarks.peers.task for this project. The load itself is benchmarks.load's. Knows
nothing of processes or of other peers.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.peers.task import Answer, Latencies, Leads, Task, Took, await_the_word, read_task, tell
from raft.client import AsyncClient, ClientError
from raft.client.calls.store import get_request, value_of
from raft.client.connection import Connection
from raft.machines.commands import WatchKeys
from raft.protocol.client import Consistency, Query, QueryResult
from raft.protocol.registry import address_of

POLL_SECONDS = 0.002
ASK_SECONDS = 1.0
REST_SECONDS = 0.150  # Until a candidate in the queue watches, too; with etcd that takes a round of 100 ms.
WATCHED = b"watched"


async def the_word() -> float:
    """As await_the_word, while the event loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, await_the_word)


async def probe(client: AsyncClient, task: Task) -> Took:
    """Begin a write every so often until one that began after the named moment is acknowledged."""
    word = asyncio.ensure_future(the_word())
    ended: asyncio.Queue[tuple[float, float]] = asyncio.Queue()
    open_tries: set[asyncio.Task[None]] = set()

    async def attempt() -> None:
        asked = time.monotonic()
        try:
            await client.put("probe", "x")
        except ClientError:
            return
        ended.put_nowait((asked, time.monotonic()))

    async def begin_tries() -> None:
        while True:
            trying = asyncio.ensure_future(attempt())
            open_tries.add(trying)
            trying.add_done_callback(open_tries.discard)
            await asyncio.sleep(task.every_seconds)

    beginning = asyncio.ensure_future(begin_tries())
    moment = await word
    while True:
        asked, acknowledged = await ended.get()
        if asked >= moment:
            beginning.cancel()
            for trying in open_tries:
                trying.cancel()
            return Took(acknowledged - moment)


async def watch(client: AsyncClient, task: Task) -> Latencies:
    """From a write until all watchers have seen it, one write after the other."""
    seen = asyncio.Semaphore(0)
    await client.put(WATCHED, b"0")

    async def look() -> None:
        question = WatchKeys(1, WATCHED, WATCHED + b"\0")
        async for _ in client.events(question):
            seen.release()

    async def all_have_seen() -> None:
        for _ in range(task.callers):
            await seen.acquire()

    watchers = [asyncio.ensure_future(look()) for _ in range(task.callers)]
    await all_have_seen()
    begin = await the_word()
    value, latencies = b"x" * task.value_bytes, []
    while (asked := time.monotonic()) < begin + task.seconds:
        await client.put(WATCHED, value)
        await all_have_seen()
        if asked >= begin:
            latencies.append(time.monotonic() - asked)
    for watcher in watchers:
        watcher.cancel()
    return Latencies(latencies)


async def hand_over(client: AsyncClient, task: Task) -> Latencies:
    """From one candidate's stepping aside until the other knows that it leads."""
    async with AsyncClient(task.endpoints, cluster=task.cluster) as other:
        candidates = client.election("bench"), other.election("bench")
        await candidates[0].acquire()
        await the_word()
        latencies = []
        for number in range(task.count):
            leading, waiting = candidates[number % 2], candidates[1 - number % 2]

            async def lead(waiting: object = waiting) -> float:
                await waiting.acquire()  # type: ignore[attr-defined]
                return time.monotonic()

            leads = asyncio.ensure_future(lead())
            while not (await leading.current()).waiting:
                await asyncio.sleep(0)
            await asyncio.sleep(REST_SECONDS)
            asked = time.monotonic()
            await leading.release()
            latencies.append(await leads - asked)
        await candidates[task.count % 2].release()
        return Latencies(latencies)


async def fill(client: AsyncClient, task: Task) -> Took:
    """Write so many keys, many at once, and then the last one."""
    await the_word()
    numbers, value, began = iter(range(task.count)), b"x" * task.value_bytes, time.monotonic()

    async def writer() -> None:
        for number in numbers:
            await client.put(f"k{number % task.keys:08}", value)

    await asyncio.gather(*(writer() for _ in range(task.callers)))
    await client.put("last", str(task.count))
    return Took(time.monotonic() - began)


async def holds(client: AsyncClient, task: Task) -> Took:
    """Wait until one node believes that the last key is there: a client would ask the others, too."""
    del client
    moment, last = await_the_word(), str(task.count).encode()
    request = Query(get_request("last"), Consistency.STALE)
    connection = Connection({task.node: task.endpoints[task.node]}, cluster=task.cluster, keys=None)
    runtime, answers = connection.runtime, list[object]()
    while True:
        runtime.ask(address_of(task.node), request, ASK_SECONDS).then(answers.append, answers.append)
        runtime.run_until(lambda: bool(answers), ASK_SECONDS)
        answer = answers.pop() if answers else None
        if isinstance(answer, QueryResult) and value_of(answer.result) == last:
            connection.close()
            return Took(time.monotonic() - moment)
        runtime.run_turn(POLL_SECONDS)


async def leader(client: AsyncClient, task: Task) -> Leads:
    """Who leads."""
    del task
    await the_word()
    return Leads((await client.leader()).leader)


async def add(client: AsyncClient, task: Task) -> Took:
    """Have a node taken in, before it has caught up."""
    moment = await the_word()
    await client.add_member(task.node, task.new_endpoint, learner=True)
    return Took(time.monotonic() - moment)


DOERS: dict[str, Callable[[AsyncClient, Task], Awaitable[Answer]]] = {
    "probe": probe,
    "watch": watch,
    "hand-over": hand_over,
    "fill": fill,
    "holds": holds,
    "leader": leader,
    "add": add,
}


async def carry_out(task: Task) -> Answer:
    """Connect, do it, and say what came of it."""
    async with AsyncClient(task.endpoints, cluster=task.cluster, timeout_seconds=30.0) as client:
        return await DOERS[task.do](client, task)


if __name__ == "__main__":
    tell(asyncio.run(carry_out(read_task(sys.argv[-1]))))
