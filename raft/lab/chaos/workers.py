"""Clients that call at a steady rate, all in one event loop.

Owns the rate and the client names: a client with an operation of unknown outcome continues under a new name,
since that operation may still be in progress. Knows nothing of the operations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from raft.client.asyncio_client import AsyncClient
from raft.lab.checkers.recorder import Recorder
from raft.lab.checkers.records import Record

LATE_SECONDS_MAX = 0.1  # A worker that is behind its schedule catches up at most this much.


class Worker:
    """One client at a time: `number` of `count`, with its own random numbers."""

    def __init__(
        self,
        number: int,
        count: int,
        client: AsyncClient,
        nodes: Callable[[], Sequence[int]],
        recorder: Recorder,
        seed: int,
    ) -> None:
        self.number = number
        self.client = client
        self.nodes = nodes  # The members, as far as known.
        self.recorder = recorder
        self.dice = Random(f"worker/{seed}/{number}")
        self._count = count
        self._incarnations = 0
        self._serial = 0

    @property
    def name(self) -> str:
        """The client's name in the history."""
        return f"c{self.number + self._incarnations * self._count}"

    def fresh_value(self) -> str:
        """A value that no other worker writes."""
        self._serial += 1
        return f"w{self.number}.{self._serial}"

    def took(self, record: Record) -> None:
        """An operation has ended."""
        if record.outcome == "unknown":
            self.vanish()

    def vanish(self) -> None:
        """Continue as another client."""
        self._incarnations += 1


class Workload(Protocol):
    """The operations of workers."""

    patience_seconds: float  # After this time an operation's outcome counts as unknown.

    async def step(self, worker: Worker) -> None:
        """One operation, or a few that belong together."""
        ...

    async def beside(self, worker: Worker) -> None:
        """Runs beside all steps, until it is cancelled."""
        ...

    async def read_back(self, worker: Worker) -> None:
        """After healing: read everything that was written."""
        ...

    async def close(self) -> None:
        """Release sessions and locks."""
        ...


async def work(workload: Workload, workers: Sequence[Worker], rate: float, until: Callable[[], bool]) -> None:
    """Let all workers step, `rate` steps per second together, until it is time."""
    gap_seconds = len(workers) / rate
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(_steps(workload, worker, gap_seconds, until))


async def _steps(workload: Workload, worker: Worker, gap_seconds: float, until: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + worker.dice.random() * gap_seconds
    while not until():
        await asyncio.sleep(max(0.0, due - loop.time()))
        if until():
            return
        await workload.step(worker)
        due = max(due + gap_seconds * worker.dice.uniform(0.5, 1.5), loop.time() - LATE_SECONDS_MAX)
