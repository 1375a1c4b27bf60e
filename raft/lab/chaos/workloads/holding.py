"""Locks and elections, and something that they guard with a fencing token.

Owns the order of one turn: acquire, write, release; and the late write of a holder that does not know that
it is one no more. `fenced` false lets that one through: wrong on purpose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from raft.client.asyncio_election import AsyncElection, Lead
from raft.client.errors import FenceRejected
from raft.lab.chaos.workers import Worker
from raft.lab.chaos.workloads.keys import Keys
from raft.lab.judging.records import Record
from raft.machines.answers import Resigned
from raft.machines.operations import Fence, Resign

TTL = "1500ms"
GROUPS = 4  # Of workers: those of one compete.
TURNS_PER_KEY = 60
ACQUIRE_SECONDS_MAX = 5.0
LATE_SHARE = 0.2  # Of turns: a write comes when the lock is somebody else's already.
LATE_SECONDS = 0.3


class Holdings:
    """Either of the two workloads."""

    patience_seconds = 2.0

    def __init__(self, kind: str, *, fenced: bool = True) -> None:
        self._is_lock = kind == "lock"
        self._fenced = fenced
        self._keys = Keys(f"{kind}", TURNS_PER_KEY)
        self._late: set[asyncio.Task[None]] = set()

    async def step(self, worker: Worker) -> None:
        """One turn."""
        key = self._keys.next(worker.number % GROUPS)
        if worker.dice.random() < 0.3:
            await self._read(worker, key)
            return
        acquire = worker.recorder.called(worker.name, "acquire", key)
        election = self._election(worker, key)
        lead = await self._entered(worker, acquire, election)
        if lead is None:
            worker.took(acquire)
            return
        worker.recorder.done(acquire, {"token": lead.token})
        try:
            for _ in range(worker.dice.randint(1, 3)):
                await self._put(worker, key, lead.fence)
            await self._release(worker, key, lead)
        finally:
            await election.__aexit__(None, None, None)
        if worker.dice.random() < LATE_SHARE:
            late = asyncio.ensure_future(self._write_late(worker, key, lead.fence))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def beside(self, worker: Worker) -> None:
        """Nothing."""

    async def read_back(self, worker: Worker) -> None:
        """What is guarded."""
        for key in self._keys.used():
            await self._read(worker, key)

    async def close(self) -> None:
        """Wait for the late ones."""
        if self._late:
            await asyncio.wait(self._late)

    def _election(self, worker: Worker, key: str) -> AsyncElection:
        make = worker.client.lock if self._is_lock else worker.client.election
        return make(key, ttl=TTL)

    async def _entered(self, worker: Worker, acquire: Record, election: AsyncElection) -> Lead | None:
        async def enter() -> Lead | None:
            try:
                async with asyncio.timeout(ACQUIRE_SECONDS_MAX):
                    return await election.__aenter__()
            except TimeoutError:
                return None

        return await worker.recorder.settle(acquire, enter())

    async def _put(self, worker: Worker, key: str, fence: Fence) -> None:
        value = worker.fresh_value()
        record = worker.recorder.called(
            worker.name, "fenced-put", _guarded(key), value=value, expected=fence.token
        )
        accepted = await worker.recorder.settle(record, self._accepted(worker, key, value, fence))
        if accepted is not None:
            worker.recorder.done(record, {"accepted": accepted})
        worker.took(record)

    def _accepted(self, worker: Worker, key: str, value: str, fence: Fence) -> Awaitable[bool]:
        async def accepted() -> bool:
            try:
                await worker.client.put(_guarded(key), value, fence=fence if self._fenced else None)
            except FenceRejected:
                return False
            return True

        return accepted()

    async def _release(self, worker: Worker, key: str, lead: Lead) -> None:
        record = worker.recorder.called(worker.name, "release", key)

        async def release() -> bool:
            answer = await lead.session.call(Resign(lead.fence.election, lead.token))
            assert isinstance(answer, Resigned), answer
            return answer.existed

        held = await worker.recorder.settle(record, release())
        if held:
            worker.recorder.done(record)
        elif held is not None:
            worker.recorder.refused(record)
        worker.took(record)

    async def _write_late(self, worker: Worker, key: str, fence: Fence) -> None:
        """As a process does that was stopped before its write, and now goes on."""
        await asyncio.sleep(worker.dice.uniform(0.0, LATE_SECONDS))
        await self._put(worker, key, fence)

    async def _read(self, worker: Worker, key: str) -> None:
        record = worker.recorder.called(worker.name, "read", _guarded(key))

        async def found() -> tuple[str | None]:
            raw = await worker.client.get(_guarded(key))
            return (None if raw is None else raw.decode(),)

        value = await worker.recorder.settle(record, found())
        if value is not None:
            worker.recorder.done(record, value[0])
        worker.took(record)


def _guarded(key: str) -> str:
    return f"guarded/{key}"
