"""Lists and sets that only grow, and counters: lost or repeated writes show in every later read.

Owns these three workloads. All writes go through sessions, so each is carried out once, however often it is
sent. Lists and counters are a custom machine, sets are keys of the store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

import msgspec

from raft.client.errors import ClientError
from raft.client.sessions.asyncio_session import AsyncSession
from raft.lab.chaos import tally
from raft.lab.chaos.workers import Worker
from raft.lab.chaos.workloads.keys import Keys
from raft.machines.commands import LIMIT_MAX, Range
from raft.machines.keys import prefix_end
from raft.machines.results import Items

READ_SHARE = 0.2
STEPS_PER_KEY = 400


class Growing(ABC):
    """The common part of the three; `stale` reads are a deliberate bug."""

    verb: str
    prefix: str
    patience_seconds = 4.0  # Sessions retry, so giving up early is useless.

    def __init__(self, *, stale: bool = False) -> None:
        self._stale = stale
        self._keys = Keys(self.prefix, STEPS_PER_KEY)
        self._sessions = Sessions()

    @abstractmethod
    def fresh(self, worker: Worker) -> str | int:
        """The next value to write."""

    @abstractmethod
    async def write(self, session: AsyncSession, key: str, value: Any) -> int:
        """Write it; returns its place in the log."""

    @abstractmethod
    async def read(self, worker: Worker, key: str) -> tuple[list[str] | int, int]:
        """Read all; returns the result, and up to where in the log it reaches."""

    async def step(self, worker: Worker) -> None:
        """One operation."""
        key = self._keys.next(worker.number % 2)
        if worker.dice.random() < READ_SHARE:
            await self._read(worker, key)
            return
        session = await self._sessions.of(worker)
        if session is None:
            return
        value = self.fresh(worker)
        record = worker.recorder.called(worker.name, self.verb, key, value=value)
        index = await worker.recorder.settle(record, self.write(session, key, value))
        if index is not None:
            worker.recorder.done(record, index=index)
        worker.took(record)

    async def beside(self, worker: Worker) -> None:
        """Nothing."""
        del worker

    async def read_back(self, worker: Worker) -> None:
        """Read every key that was used."""
        for key in self._keys.used():
            await self._read(worker, key)

    async def close(self) -> None:
        """End all sessions."""
        await self._sessions.close()

    async def _read(self, worker: Worker, key: str) -> None:
        record = worker.recorder.called(worker.name, "read", key)
        found = await worker.recorder.settle(record, self.read(worker, key))
        if found is not None:
            worker.recorder.done(record, *found)
        worker.took(record)


class Appends(Growing):
    """Lists."""

    verb, prefix = "append", "l"

    def fresh(self, worker: Worker) -> str:
        """See `Growing`."""
        return worker.fresh_value()

    async def write(self, session: AsyncSession, key: str, value: Any) -> int:
        """See `Growing`."""
        return tally.index_in(await session.own(tally.encode(tally.Append(key, value))))

    async def read(self, worker: Worker, key: str) -> tuple[list[str], int]:
        """See `Growing`."""
        found = await worker.client.query(tally.encode(tally.ReadList(key)), stale=self._stale)
        return msgspec.msgpack.decode(found.result, type=list[str]), found.index


class Counters(Growing):
    """Counters."""

    verb, prefix = "add", "n"

    def fresh(self, worker: Worker) -> int:
        """Powers and the like, whose sums reveal which of them are included."""
        return worker.dice.randint(1, 1_000_000)

    async def write(self, session: AsyncSession, key: str, value: Any) -> int:
        """See `Growing`."""
        return tally.index_in(await session.own(tally.encode(tally.Add(key, value))))

    async def read(self, worker: Worker, key: str) -> tuple[int, int]:
        """See `Growing`."""
        found = await worker.client.query(tally.encode(tally.ReadCounter(key)), stale=self._stale)
        return msgspec.msgpack.decode(found.result, type=int), found.index


class Sets(Growing):
    """Sets: an element is a key."""

    verb, prefix = "add", "s"

    def fresh(self, worker: Worker) -> str:
        """See `Growing`."""
        return worker.fresh_value()

    async def write(self, session: AsyncSession, key: str, value: Any) -> int:
        """See `Growing`."""
        return await session.put(f"{key}/{value}", b"")

    async def read(self, worker: Worker, key: str) -> tuple[list[str], int]:
        """See `Growing`."""
        start = f"{key}/".encode()
        found = await worker.client.ask(Range(start, prefix_end(start), LIMIT_MAX), stale=self._stale)
        assert isinstance(found, Items) and not found.more, "a set outgrew one answer"
        return [item.key.removeprefix(start).decode() for item in found.items], found.revision


TTL = "10s"


class Sessions:
    """The sessions of all workers."""

    def __init__(self) -> None:
        self._open: dict[int, AsyncSession] = {}

    async def of(self, worker: Worker) -> AsyncSession | None:
        """The worker's session; None if none could be opened."""
        session = self._open.get(worker.number)
        if session is not None and session.remaining_seconds:
            return session
        await self.end(worker)
        session = worker.client.session(TTL)
        try:
            await session.open()
        except ClientError:
            return None
        self._open[worker.number] = session
        return session

    async def end(self, worker: Worker) -> None:
        """Close the worker's session, if there is one."""
        session = self._open.pop(worker.number, None)
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Close all."""
        sessions, self._open = [*self._open.values()], {}
        for session in sessions:
            with suppress(ClientError):
                await session.close()
