"""The asyncio client: any number of concurrent calls over one connection, in the event loop's own thread.

Owns the integration of the transport with an event loop: a file descriptor to watch and timers to set.
Works with any loop that has `add_reader`, including uvloop. Which node is asked what: see calls.routing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from actors.address import Address
from actors.asyncio_driver import AsyncioDriver
from actors.errors import AskFailed
from raft.client.asyncio_calls import TIMEOUT_SECONDS, AsyncCalls, CallFactory
from raft.client.calls import backup, routing, store
from raft.client.calls.steps import Ask, AwaitChannel, Outcome, Request, RetryBudget, Step
from raft.client.calls.store import Text
from raft.client.connection import Connection, Endpoints, closed_when_dropped
from raft.client.errors import ClientClosed, Rejected
from raft.client.sessions import candidacy
from raft.client.sessions.asyncio_election import AsyncElection
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.watches.channels import Channel
from raft.durations import Duration, timeout_of
from raft.machines.commands import Watch
from raft.machines.results import Event
from raft.protocol.client import Answer, BackupTaken, Committed, QueryResult

Result = TypeVar("Result")
A = TypeVar("A")

# This many requests travel in one frame. With more, the leader starts on the first ones meanwhile.
ASKS_PER_FRAME = 128


class AsyncClient(AsyncCalls):
    """One connection to a cluster, for one event loop. Also an asynchronous context manager.

    Create it inside a running loop. See Client for the arguments. Calls may run concurrently, in any number.
    A cancelled call may still have been carried out.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        cluster: str = "default",
        keys: str | Path | None = None,
        timeout_seconds: Duration = TIMEOUT_SECONDS,
    ) -> None:
        self.timeout_seconds = timeout_of(timeout_seconds)
        self._loop = asyncio.get_running_loop()
        self.connection = Connection(endpoints, cluster=cluster, keys=keys)
        self._runtime = self.connection.runtime
        self._clock = self._runtime.clock
        self.view = self.connection.view()
        self.view.configuration = routing.UNKNOWN_CONFIGURATION
        self._peers = 0
        self._asked = 0
        self._answered = 0  # Asks in the present turn,
        self._to_ask = 0  # and in the last one those whose callers have not asked again.
        self._open: set[asyncio.Future[Outcome]] = set()
        self._peer_came = asyncio.Event()
        self._driver = AsyncioDriver(self._runtime, self.connection.transport, self._turned)
        self._finalizer = closed_when_dropped(self, self.connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Open calls end with ClientClosed. Idempotent."""
        with suppress(ClientClosed):
            self.connection.check_process()
            self._close()

    def _close(self) -> None:
        self._finalizer.detach()
        for future in self._open:
            if not future.done():
                future.set_exception(ClientClosed("the client was closed"))
        self._driver.end()
        self.connection.channels.wake()

    # -- commands and queries ---------------------------------------------------------------------

    async def _command(self, body: bytes, timeout_seconds: Duration | None) -> Committed:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        view, began_at = self.view, self._clock.now()
        node, tried = view.responsive_leader(began_at), None
        if node:
            # The common case, without the cost of a generator.
            view.note_command(node, began_at)
            answer = await self._ask(node, store.command(body), seconds)
            view.note_outcome(node, answer, began_at, self._clock.now())
            if type(answer) is Committed and answer.configuration <= view.configuration:
                view.leader = node
                return answer
            tried = node, answer
        budget = RetryBudget(self._clock.now, seconds, began_at)
        return await self._drive(routing.command(view, body, budget, tried))

    async def _query(self, body: bytes, timeout_seconds: Duration | None, *, stale: bool) -> QueryResult:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        view, began_at = self.view, self._clock.now()
        request = store.query(body, stale=stale)
        node, tried = view.responsive_leader(began_at), None
        if node:
            soon_seconds = min(seconds, view.note_request(node, began_at))
            answer = await self._ask(node, request, soon_seconds)
            view.note_outcome(node, answer, began_at, self._clock.now())
            if type(answer) is QueryResult and answer.configuration <= view.configuration:
                return answer
            tried = node, answer
        budget = RetryBudget(self._clock.now, seconds, began_at)
        return await self._drive(routing.query(view, request, budget, tried))

    # -- sessions, elections and locks ------------------------------------------------------------

    def session(self, ttl: Duration = "10s", *, release_on_disconnect: bool = False) -> AsyncSession:
        """A session, to be entered: exactly-once commands, and a lease to attach keys to."""
        return AsyncSession(self, ttl, release_on_disconnect=release_on_disconnect)

    def election(
        self,
        name: str,
        *,
        ttl: Duration = "5s",
        value: Text = b"",
        wait: bool = True,
        release_on_disconnect: bool = False,
    ) -> AsyncElection:
        """An election, which may be entered any number of times: the body runs while this client leads."""
        of_name = candidacy.of_election(name, value, wait=wait)
        return AsyncElection(self, of_name, ttl, release_on_disconnect=release_on_disconnect)

    def only_leader(self, name: str, *, ttl: Duration = "5s") -> AsyncElection:
        """Decorator for an async function of a Lead: each call runs it once, while this client leads."""
        return self.election(name, ttl=ttl)

    def lock(self, name: str, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True) -> AsyncElection:
        """Mutual exclusion; entering returns a lock with a fencing token. Without `wait`, may raise Taken."""
        return AsyncElection(self, candidacy.of_lock(name, value, wait=wait), ttl)

    def semaphore(
        self, name: str, seats: int, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True
    ) -> AsyncElection:
        """At most `seats` holders at once. All clients must pass the same number."""
        return AsyncElection(self, candidacy.of_semaphore(name, seats, value, wait=wait), ttl)

    async def events(self, watch: Watch) -> AsyncIterator[Event]:
        """See AsyncCalls; with fewer steps while a node serves the watch, as each event wakes all."""
        channel = self.connection.channels.of(watch)
        while True:
            told = channel.take(watch)
            while told is None and channel.node and channel.reaches(watch):
                await self._hear(channel)
                told = channel.take(watch)
            if told is None:
                with suppress(Rejected):
                    told = await self._next_events(watch)
                channel = self.connection.channels.of(watch)
            if told is not None:
                for event in told.events:
                    yield event
                watch = msgspec.structs.replace(watch, revision=told.next, skip=told.skip)

    def wake_watchers(self) -> None:
        """Make all waiting iterators check whether they are cancelled."""
        self.connection.wake_watchers()

    def now(self) -> float:
        """The client's monotonic clock, in seconds."""
        return self._clock.now()

    async def run_call(self, begin: CallFactory[Result], timeout_seconds: Duration | None = None) -> Result:
        """Run a call's steps; see raft.client.calls.routing."""
        return await self._drive(begin(self.view, budget=self._budget(timeout_seconds)))

    async def read_backup(self, sink: backup.Sink, *, timeout_seconds: Duration | None = None) -> BackupTaken:
        """Read the state of the whole cluster as of now into a sink. The time-out applies to each chunk.

        The sink is called on the event loop.
        """
        return await self._drive(backup.read(self.view, lambda: self._budget(timeout_seconds), sink))

    # -- running a call's steps -----------------------------------------------------------------

    def _budget(self, timeout_seconds: Duration | None = None) -> RetryBudget:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        return RetryBudget(self._runtime.clock.now, seconds)

    async def _drive(self, steps: Generator[Step, Outcome, Result]) -> Result:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: Result = end.value
                return result
            if isinstance(step, Ask):
                to = self.view.address_for(step)
                outcome = await self._ask(step.node, step.request, step.timeout_seconds, to)
            elif isinstance(step, AwaitChannel):
                await self._hear(step.channel)
                outcome = None
            else:
                await self._wait(step.seconds)
                outcome = None

    async def _ask(
        self, node: int, request: Request, timeout_seconds: float, to: Address | None = None
    ) -> Outcome:
        self.connection.check_process()
        if self._runtime.stopped:
            raise ClientClosed("the client is closed")
        future: asyncio.Future[Outcome] = self._loop.create_future()

        def end(answer: Answer | AskFailed) -> None:
            self._answered += 1
            if not future.done():
                future.set_result(answer)

        pending = self._runtime.ask(to or self.view.address(node, request), request, timeout_seconds)
        pending.then(end, end)
        self._open.add(future)
        self._asked += 1
        self._to_ask -= 1
        if self._to_ask == 0:
            self._driver.now()
        else:
            if self._asked % ASKS_PER_FRAME == 0:
                self._runtime.flush()
            self._driver.soon()
        try:
            return await future
        finally:
            self._open.discard(future)
            if not pending.done:
                pending.cancel()

    async def _hear(self, channel: Channel) -> None:
        future: asyncio.Future[None] = self._loop.create_future()

        def heard() -> None:
            if not future.done():
                future.set_result(None)

        channel.waiting[heard] = None
        try:
            await future
        finally:
            channel.waiting.pop(heard, None)
        if self._runtime.stopped:
            raise ClientClosed("the client was closed")

    async def _wait(self, seconds: float) -> None:
        self._peer_came.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may lose a cancellation.
                await self._peer_came.wait()

    def _turned(self) -> None:
        """Wake waiting calls as soon as another node becomes reachable."""
        self._to_ask, self._answered = self._answered, 0
        peers = len(self._runtime.peers)
        if peers > self._peers:
            self._peer_came.set()
        self._peers = peers
