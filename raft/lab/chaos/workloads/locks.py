"""Locks and elections, and a key that they guard by a fencing token.

Owns the order of one turn: acquire, write, release; the turns that are longer than a lease; the clients
that vanish while they hold a lock; and the late write of a former holder. With `fenced` false that write is
accepted: a deliberate bug.
Each turn is recorded with what its holder may rely on: `until` when its lease lasts for certain. Nodes'
clocks may run `clock_rate_max` times as fast as the client's, and a lease is then that much shorter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from raft.client.errors import ClientError, FenceRejected, Taken
from raft.client.sessions.asyncio_election import AsyncElection, AsyncLead
from raft.client.sessions.asyncio_session import MARGIN_RATIO
from raft.lab.chaos.workers import Worker
from raft.lab.chaos.workloads.keys import Keys
from raft.lab.chaos.workloads.register import text_of, value_in
from raft.lab.checkers.records import Record
from raft.machines.commands import Campaign, Fence, Get, Resign
from raft.machines.results import Campaigned, Led, Resigned, Value

TTL_SECONDS = 1.5
GROUPS = 4  # Of workers that compete with each other.
TURNS_PER_KEY = 60
ACQUIRE_SECONDS_MAX = 5.0
READ_SHARE = 0.3
LATE_SHARE = 0.2  # Of turns: with a write when the lock may have another holder already.
LATE_SECONDS = 0.3
LONG_SHARE = 0.005  # Of turns: longer than a lease without keep-alives.
LONG_SECONDS = 2.5
LONG_PAUSE_SECONDS = 0.2  # Between the writes of such a turn.
VANISH_SHARE = 0.005  # Of turns: the client is never heard from again.

Accepted = tuple[bool, int]


class LockWorkload:
    """Either of the two workloads."""

    patience_seconds = 2.0

    def __init__(self, kind: str, *, fenced: bool = True, clock_rate_max: float = 1.0) -> None:
        self._is_lock = kind == "lock"
        self._fenced = fenced
        self._clock_rate_max = clock_rate_max
        self._keys = Keys(f"{kind}", TURNS_PER_KEY)
        self._late: set[asyncio.Task[None]] = set()
        self._observers: dict[int, tuple[str, asyncio.Task[None]]] = {}

    async def step(self, worker: Worker) -> None:
        """One turn."""
        group = worker.number % GROUPS
        key = self._keys.next(group)
        self._observe(worker, group, key)
        draw = worker.dice.random()
        if draw < READ_SHARE:
            await self._read(worker, key)
        elif draw < READ_SHARE + VANISH_SHARE:
            await self._vanish(worker, key)
        else:
            await self._turn(worker, key)

    async def beside(self, worker: Worker) -> None:
        """Nothing."""

    async def read_back(self, worker: Worker) -> None:
        """Read the guarded keys."""
        for key in self._keys.used():
            await self._read(worker, key)

    async def close(self) -> None:
        """Wait for the late writes, and stop observing."""
        if self._late:
            await asyncio.wait(self._late)
        for _, task in self._observers.values():
            task.cancel()
        if self._observers:
            await asyncio.wait([task for _, task in self._observers.values()])

    # -- a turn -----------------------------------------------------------------------------------

    async def _turn(self, worker: Worker, key: str) -> None:
        acquire = worker.recorder.called(worker.name, "acquire", key)
        election = self._election(worker, key)
        lead = await self._entered(worker, acquire, election)
        if lead is None:
            worker.took(acquire)
            return
        until = self._sure_until(worker, lead)
        worker.recorder.done(acquire, {"token": lead.token, "until": until})
        try:
            await self._use(worker, key, lead)
            if (kept := self._sure_until(worker, lead)) > until:
                keep = worker.recorder.noted(worker.name, "keep", key, {"until": kept})
                keep.expected = lead.token
            await self._release(worker, key, lead)
        finally:
            await election.release()
        if worker.dice.random() < LATE_SHARE:
            late = asyncio.ensure_future(self._write_late(worker, key, lead.fence))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def _use(self, worker: Worker, key: str, lead: AsyncLead) -> None:
        for _ in range(worker.dice.randint(1, 3)):
            await self._put(worker, key, lead.fence)
        if worker.dice.random() >= LONG_SHARE:
            return
        over = worker.recorder.now() + worker.dice.uniform(0.0, LONG_SECONDS)
        while lead.remaining and worker.recorder.now() < over:
            await asyncio.sleep(LONG_PAUSE_SECONDS)
            await self._put(worker, key, lead.fence)

    def _sure_until(self, worker: Worker, lead: AsyncLead) -> float:
        """Up to when its lease lasts for certain, on the run's clock."""
        shorter_seconds = TTL_SECONDS * (1 - MARGIN_RATIO) * (1 - 1 / self._clock_rate_max)
        return worker.recorder.now() + lead.remaining - shorter_seconds

    def _election(self, worker: Worker, key: str) -> AsyncElection:
        make = worker.client.lock if self._is_lock else worker.client.election
        return make(key, ttl=TTL_SECONDS)

    async def _entered(self, worker: Worker, acquire: Record, election: AsyncElection) -> AsyncLead | None:
        async def enter() -> AsyncLead | None:
            try:
                async with asyncio.timeout(ACQUIRE_SECONDS_MAX):
                    return await election.acquire()
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
            worker.recorder.done(record, {"accepted": accepted[0]}, accepted[1])
        worker.took(record)

    def _accepted(self, worker: Worker, key: str, value: str, fence: Fence) -> Awaitable[Accepted]:
        async def accepted() -> Accepted:
            try:
                used = fence if self._fenced else None
                return True, await worker.client.put(_guarded(key), value, fence=used)
            except FenceRejected:
                return False, 0

        return accepted()

    async def _release(self, worker: Worker, key: str, lead: AsyncLead) -> None:
        """From its call on, the holder can rely on nothing, whether or not it is carried out."""
        record = worker.recorder.called(worker.name, "release", key, expected=lead.token)

        async def release() -> bool:
            answer = await lead.session.call(Resign(lead.fence.election, lead.token))
            assert isinstance(answer, Resigned), answer
            return answer.existed

        held = await worker.recorder.settle(record, release())
        if held is not None:
            worker.recorder.done(record, {"held": held})
        worker.took(record)

    # -- beside the turns -------------------------------------------------------------------------

    async def _vanish(self, worker: Worker, key: str) -> None:
        """Take a free seat with a lease that is never kept alive, write, and vanish."""
        record = worker.recorder.called(worker.name, "acquire", key)
        name = f"{'lock' if self._is_lock else 'election'}/{key}"
        sent = worker.recorder.now()

        async def take() -> int:
            lease = await worker.client.grant(TTL_SECONDS)
            standing = await worker.client.call(Campaign(name, lease, wait=False))
            assert isinstance(standing, Campaigned), standing
            if not standing.token:
                raise Taken(f"{name!r} has no free seat")
            return standing.token

        token = await worker.recorder.settle(record, take())
        if token is None:
            worker.took(record)
            return
        until = sent + TTL_SECONDS * (1 - MARGIN_RATIO) / self._clock_rate_max
        worker.recorder.done(record, {"token": token, "until": until})
        await self._put(worker, key, Fence(name, token))
        worker.vanish()

    async def _write_late(self, worker: Worker, key: str, fence: Fence) -> None:
        """As by a process that was paused before its write."""
        await asyncio.sleep(worker.dice.uniform(0.0, LATE_SECONDS))
        await self._put(worker, key, fence)

    async def _read(self, worker: Worker, key: str) -> None:
        record = worker.recorder.called(worker.name, "read", _guarded(key))

        async def found() -> Value:
            return value_in(await worker.client.ask(Get(_guarded(key).encode())))

        value = await worker.recorder.settle(record, found())
        if value is not None:
            worker.recorder.done(record, text_of(value.item), value.revision)
        worker.took(record)

    def _observe(self, worker: Worker, group: int, key: str) -> None:
        """Follow the election that this group uses now."""
        before = self._observers.get(group)
        if before is not None and before[0] == key:
            return
        if before is not None:
            before[1].cancel()
        task = asyncio.ensure_future(self._follow(worker, group, key))
        self._observers[group] = key, task

    async def _follow(self, worker: Worker, group: int, key: str) -> None:
        with suppress(ClientError):
            async for event in self._election(worker, key).observe():
                op = "led" if isinstance(event, Led) else "left"
                told = {"token": event.token, "revision": event.revision}
                worker.recorder.noted(f"observer{group}", op, key, told)


def _guarded(key: str) -> str:
    return f"guarded/{key}"
