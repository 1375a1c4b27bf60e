"""One run: clients and nemesis concurrently, then everything is healed, read back and written down.

Owns the order of these steps, and what is kept of them. Knows nothing of the operations, faults or checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

from msgspec import Struct

from raft.client.asyncio_client import AsyncClient
from raft.cluster.failures import VerbFailed
from raft.cluster.rpc import messages
from raft.cluster.rundir import RunDirectory
from raft.cluster.spec import ClusterRecord
from raft.lab.chaos.launcher_client import AsyncLauncherClient
from raft.lab.chaos.nemesis import InjectedFault, Nemesis, NotSettled
from raft.lab.chaos.order import Order
from raft.lab.chaos.workers import Worker, Workload, work
from raft.lab.checkers.recorder import Recorder
from raft.lab.checkers.records import Record

CONNECTIONS_MAX = 3
READY_SECONDS_MAX = 20.0
SETTLE_SECONDS_MAX = 60.0
READ_SECONDS_MAX = 10.0
SNAPSHOT_SECONDS_MAX = 30.0
PROGRESS_SECONDS = 2.0
SAME_SIGNAL_SECONDS = 1.0

Tell = Callable[[str], None]


class RunResult(Struct, kw_only=True):
    """The results of a run, on the clock of the cluster's events."""

    records: list[Record]
    injected_faults: list[InjectedFault]
    begin: float
    end: float
    unsettled: str  # Why the cluster did not recover; "" if it did.
    members: list[int]  # At the end, if it recovered.
    cpu_share: float  # Of one processor, for clients, nemesis and recorder together.
    size: int
    ended_by: int  # The signal that ended it early, or 0.


async def run(order: Order, workload: Workload, directory: RunDirectory, tell: Tell) -> RunResult:
    """Carry out the order on the running cluster."""
    record = ClusterRecord.read(directory.record)
    zero_seconds = record.started_seconds

    def now() -> float:
        return time.monotonic() - zero_seconds

    recorder = Recorder(now)
    async with contextlib.AsyncExitStack() as signals, _launcher(directory) as launcher:
        await launcher.ask(
            messages.GetLeader(READY_SECONDS_MAX), messages.LeaderAnswer, READY_SECONDS_MAX + 1
        )
        size = len((await launcher.ask(messages.GetClusterStatus(), messages.ClusterStatus)).nodes)
        nemesis = Nemesis(launcher, now, lambda text: tell(f"{now() - begin:6.1f}s  {text}"))
        async with _workers(order, record, recorder, workload.patience_seconds) as workers:
            ended_by = signals.enter_context(_interruptible(asyncio.get_running_loop()))
            begin, cpu_seconds = now(), time.process_time()
            beside = asyncio.ensure_future(workload.beside(workers[0]))
            await _break(order, workload, workers, nemesis, tell, ended_by)
            end = now()
            cpu_share = (time.process_time() - cpu_seconds) / (end - begin)
            members, unsettled = await _settle(nemesis, size, tell)
            if not unsettled:
                for worker in workers[:1]:
                    worker.client.timeout_seconds = READ_SECONDS_MAX
                    await workload.read_back(worker)
            await workload.close()
            await _ended(beside)
        if order.name and not unsettled:  # The disks of a cluster that this run did not start are not read.
            unsettled = await _snapshot_all(launcher, members)
    return RunResult(
        records=recorder.records,
        injected_faults=nemesis.injected_faults,
        begin=begin,
        end=end,
        unsettled=unsettled,
        members=members,
        cpu_share=cpu_share,
        size=size,
        ended_by=ended_by[0] if ended_by else 0,
    )


async def _break(
    order: Order, workload: Workload, workers: list[Worker], nemesis: Nemesis, tell: Tell, ended_by: list[int]
) -> None:
    """Run clients and faults, for the schedule's duration and until the last fault has ended.

    A signal ends both early, see `_interruptible`; the history until then is still checked.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + order.schedule.duration_seconds
    broken = asyncio.ensure_future(nemesis.run(order.schedule))
    try:
        async with asyncio.TaskGroup() as group:
            clients = group.create_task(
                work(
                    workload,
                    workers,
                    order.rate,
                    lambda: bool(ended_by) or (loop.time() >= until and broken.done()),
                )
            )
            group.create_task(_progress(workers[0].recorder, clients, until, tell))
    finally:
        broken.cancel()
        await asyncio.wait([broken])
    if not broken.cancelled():
        broken.result()  # Raise a nemesis's error: it must not pass for a run without faults.


@contextlib.contextmanager
def _interruptible(loop: asyncio.AbstractEventLoop) -> Iterator[list[int]]:
    """The signal that ends the run early, once there was one; another one, later, interrupts the program.

    Several within a second count as one. A signal that the parent process ignores (nohup) stays ignored.
    """
    ended_by: list[int] = []
    first_seconds = 0.0
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def note(number: int) -> None:
        nonlocal first_seconds
        if not ended_by:
            ended_by.append(number)
            first_seconds = loop.time()
        elif loop.time() - first_seconds > SAME_SIGNAL_SECONDS:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    for number in before:
        loop.add_signal_handler(number, note, number)
    try:
        yield ended_by
    finally:
        restore()


async def _progress(recorder: Recorder, clients: asyncio.Task[None], until: float, tell: Tell) -> None:
    loop = asyncio.get_running_loop()
    while not clients.done():
        await asyncio.wait([clients], timeout=PROGRESS_SECONDS)
        done = sum(record.outcome == "done" for record in recorder.records)
        left_seconds = max(0.0, until - loop.time())
        tell(f"{left_seconds:6.1f}s left: {done} of {len(recorder.records)} operations done")


async def _ended(beside: asyncio.Future[None]) -> None:
    beside.cancel()
    await asyncio.wait([beside])  # Awaiting it directly would hide a cancellation of this task.
    if not beside.cancelled():
        beside.result()


async def _settle(nemesis: Nemesis, size: int, tell: Tell) -> tuple[list[int], str]:
    tell("healing, and reading everything back")
    try:
        return await nemesis.heal(size, SETTLE_SECONDS_MAX), ""
    except NotSettled as failure:
        return [], str(failure)


async def _snapshot_all(launcher: AsyncLauncherClient, members: list[int]) -> str:
    """Make snapshots of every machine for comparison; returns why that is impossible, or ""."""
    verb = messages.ForceSnapshot(",".join(map(str, members)))
    try:
        await launcher.ask(verb, messages.Done, SNAPSHOT_SECONDS_MAX)
    except VerbFailed as failure:
        return f"no final snapshot: {failure}"
    return ""


@contextlib.asynccontextmanager
async def _launcher(directory: RunDirectory) -> AsyncIterator[AsyncLauncherClient]:
    launcher = AsyncLauncherClient(directory)
    try:
        await launcher.connect()
        yield launcher
    finally:
        launcher.close()


@contextlib.asynccontextmanager
async def _workers(
    order: Order, record: ClusterRecord, recorder: Recorder, patience_seconds: float
) -> AsyncIterator[list[Worker]]:
    """Clients over a few connections, each of which has its own view of the leader."""
    endpoints = {node.id: node.endpoint for node in record.nodes}
    nodes = sorted(endpoints)
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(min(order.clients, CONNECTIONS_MAX)):
            client = AsyncClient(
                endpoints,
                cluster=record.cluster,
                keys=record.keys or None,
                timeout_seconds=patience_seconds,
            )
            stack.callback(client.close)
            connections.append(client)
        yield [
            Worker(
                number, order.clients, connections[number % len(connections)], lambda: nodes, recorder,
                order.schedule.seed,
            )
            for number in range(order.clients)
        ]  # fmt: skip
