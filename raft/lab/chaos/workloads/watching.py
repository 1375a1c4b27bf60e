"""Registers that some watch: every change, once and in order, whichever nodes tell of it.

Owns the watchers. What is written, and how, is the registers'.
"""

from __future__ import annotations

import asyncio

from raft.client.errors import ClientError, EventsForgotten
from raft.lab.chaos.workers import Worker
from raft.lab.chaos.workloads.register import Registers
from raft.machines.answers import Item, Value
from raft.machines.keys import prefix_end
from raft.machines.operations import Get, WatchKeys

WATCHERS = 3
CAUGHT_UP_SECONDS_MAX = 10.0
PREFIX = b"r"


class Watches(Registers):
    """The register workload, watched."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = dict.fromkeys(range(WATCHERS), 0)
        self._news = asyncio.Event()

    async def beside(self, worker: Worker) -> None:
        """Watch, for as long as the run lasts."""
        async with asyncio.TaskGroup() as group:
            for number in range(WATCHERS):
                group.create_task(self._watch(number, worker))

    async def read_back(self, worker: Worker) -> None:
        """Read all, then wait until all watchers have been told of all."""
        await super().read_back(worker)
        last = await worker.client.ask(Get(PREFIX))
        assert isinstance(last, Value), last
        try:
            async with asyncio.timeout(CAUGHT_UP_SECONDS_MAX):
                while min(self._seen.values()) < last.revision:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return  # What a watcher lacks is for the judge to see.

    async def _watch(self, number: int, worker: Worker) -> None:
        life = 0
        while True:
            name = f"watcher{number}.{life}"
            watch = WatchKeys(self._seen[number] + 1, PREFIX, prefix_end(PREFIX))
            try:
                async for event in worker.client.events(watch):
                    if isinstance(event, Item):
                        self._note(number, name, worker, event)
            except EventsForgotten as forgotten:
                self._seen[number] = forgotten.revision
                life += 1
            except ClientError:
                life += 1

    def _note(self, number: int, name: str, worker: Worker, event: Item) -> None:
        record = worker.recorder.called(name, "event", event.key.decode(), value=event.value.decode())
        worker.recorder.done(record, {"revision": event.revision})
        record.returned = record.call
        self._seen[number] = event.revision
        self._news.set()
