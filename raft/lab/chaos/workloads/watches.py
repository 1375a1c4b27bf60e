"""Registers with three watchers, which must get every change, once and in order, from any nodes.

Owns the watchers. The writes are those of registers.
"""

from __future__ import annotations

import asyncio

from raft.client.errors import ClientError, EventsForgotten
from raft.lab.chaos.workers import Worker
from raft.lab.chaos.workloads.register import Registers, value_in
from raft.machines.commands import Get, WatchKeys
from raft.machines.keys import prefix_end
from raft.machines.results import Item, Removed

WATCHERS = 3
CAUGHT_UP_SECONDS_MAX = 10.0
PREFIX = b"r"


class Watches(Registers):
    """The register workload, watched.

    Each session of a watcher is recorded when it ends: from which revision on it watched, and up to which one
    it must have been sent events. At the end of the run that is the last revision, whether or not it was
    sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen = dict.fromkeys(range(WATCHERS), 0)
        self._last = 0
        self._news = asyncio.Event()

    async def beside(self, worker: Worker) -> None:
        """Watch, for as long as the run lasts."""
        async with asyncio.TaskGroup() as group:
            for number in range(WATCHERS):
                group.create_task(self._watch(number, worker))

    async def read_back(self, worker: Worker) -> None:
        """Read all, then wait until all watchers have all events."""
        await super().read_back(worker)
        self._last = value_in(await worker.client.ask(Get(PREFIX))).revision
        try:
            async with asyncio.timeout(CAUGHT_UP_SECONDS_MAX):
                while min(self._seen.values()) < self._last:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return  # The checker finds what a watcher lacks.

    async def _watch(self, number: int, worker: Worker) -> None:
        incarnation, forgotten = 0, 0
        while True:
            name, first = f"watcher{number}.{incarnation}", self._seen[number] + 1
            record = worker.recorder.called(name, "watch", PREFIX.decode())
            up_to = 0
            try:
                async for event in worker.client.events(WatchKeys(first, PREFIX, prefix_end(PREFIX))):
                    if isinstance(event, Item | Removed):
                        self._note(number, name, worker, event)
            except EventsForgotten as gap:
                up_to = gap.revision
            except ClientError:
                pass
            finally:  # Cancelled at the end of the run.
                covered = {"first": first, "last": max(self._seen[number], self._last)}
                worker.recorder.done(record, covered | ({"forgotten": forgotten} if forgotten else {}))
            self._seen[number] = max(self._seen[number], up_to)
            incarnation, forgotten = incarnation + 1, up_to

    def _note(self, number: int, name: str, worker: Worker, event: Item | Removed) -> None:
        told, value = {"revision": event.revision}, None
        if isinstance(event, Item):
            value = event.value.decode()
        worker.recorder.noted(name, "event", event.key.decode(), told, value=value)
        self._seen[number] = event.revision
        self._news.set()
