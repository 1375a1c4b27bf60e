"""The asyncio client: many calls at once over one connection, in the event loop's own thread.

Owns the joining of the transport to an event loop it does not know: a descriptor to watch, timers to set.
Works with any loop that has `add_reader`, uvloop's too. Knows nothing of what is asked of whom: see
conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, SupportsIndex, TypeVar, overload

import msgspec

from actors.address import Address
from actors.asyncio_driver import AsyncioDriver
from actors.errors import AskFailed
from raft.client.asyncio_keys import AsyncKeys
from raft.client.calls import application, membership, routing, sessions, store
from raft.client.calls.application import decode_or_raise, plain, question_bytes
from raft.client.calls.routing import Ask, ClusterView, Hear, Outcome, RetryBudget, Step
from raft.client.calls.store import Text
from raft.client.calls.watches import KeysObserver, Observer
from raft.client.client import TIMEOUT_SECONDS
from raft.client.connection import Connection, Endpoints, closed_when_dropped
from raft.client.errors import ClientClosed, Rejected
from raft.client.sessions import seats as seats_
from raft.client.sessions.asyncio_election import AsyncElection
from raft.client.sessions.asyncio_lease import AsyncLease
from raft.client.sessions.asyncio_session import AsyncSession
from raft.client.watches.channels import Channel
from raft.client.watches.iterators import AsyncWatching, Changed, KeyEvent, Seen, previous_of_async
from raft.durations import Duration, timeout_of, ttl_ms_of
from raft.machines.commands import Answered, Grant, ListLeases, Revoke, Watch
from raft.machines.results import Event, Events
from raft.machines.typed import TypedCommand, TypedQuery, answer_to, body_of, version_needed
from raft.protocol.client import (
    Answer,
    Committed,
    KeepAlive,
    LeaderIs,
    MemberChange,
    Members,
    QueryResult,
    TimeLeft,
)

Result = TypeVar("Result")
A = TypeVar("A")

# So many calls travel together. If many are made at once the leader begins with the first meanwhile.
ASKS_PER_FRAME = 128

Told = TypeVar("Told", covariant=True)


class Begin(Protocol[Told]):
    """Begins a conversation."""

    def __call__(self, view: ClusterView, *, budget: RetryBudget) -> Generator[Step, Outcome, Told]:
        """The conversation's steps."""
        ...


class AsyncClient(AsyncKeys):
    """One connection to a cluster, for one event loop; no thread. Also an asynchronous context manager.

    Made inside a running loop. See Client for the arguments. Calls may run concurrently, in any number;
    a call that is cancelled has possibly been carried out all the same.
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
        self._connection = Connection(endpoints, cluster=cluster, keys=keys)
        self._runtime = self._connection.runtime
        self._clock = self._runtime.clock
        self._view = self._connection.view()
        self._view.configuration = routing.NOT_TOLD
        self._peers = 0
        self._asked = 0
        self._open: set[asyncio.Future[Outcome]] = set()
        self._somebody_came = asyncio.Event()
        self._turning = AsyncioDriver(self._runtime, self._connection.transport, self._look_up)
        self._finalizer = closed_when_dropped(self, self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; calls that are open end with ClientClosed. Idempotent."""
        with suppress(ClientClosed):
            self._connection.check_process()
            self._close()

    def _close(self) -> None:
        self._finalizer.detach()
        for future in self._open:
            if not future.done():
                future.set_exception(ClientClosed("the client was closed"))
        self._turning.end()
        self._connection.channels.wake()

    # -- one's own machine, and whatever else there is --------------------------------------------

    async def command(
        self, body: bytes, *, since_version: int = 1, timeout_seconds: Duration | None = None
    ) -> Committed:
        """Have a command of one's own machine committed; never tried again once it may be in a log.

        UnsupportedVersion unless all members' machines are of `since_version` or a newer one.
        """
        done = await self._command(application.own_command(body, since_version), timeout_seconds)
        return msgspec.structs.replace(done, result=application.own_result(done.result))

    async def query(
        self, body: bytes, *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> QueryResult:
        """Have a query of one's own machine answered."""
        found = await self._query(application.own_query(body), timeout_seconds, stale=stale)
        return msgspec.structs.replace(found, result=application.own_result(found.result))

    async def execute(
        self, command: TypedCommand[Result], *, timeout_seconds: Duration | None = None
    ) -> Result:
        """Have a typed command of one's own machine committed; never tried again once it may be in a log.

        Raises CommandRefused if the machine turns it down. After msgspec.ValidationError it was carried out,
        by a machine of another version: its answer is not what the command's class says.
        """
        needed = version_needed(command)
        done = await self.command(body_of(command), since_version=needed, timeout_seconds=timeout_seconds)
        return answer_to(command, done.result)

    async def evaluate(
        self, query: TypedQuery[Result], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> Result:
        """Have a typed query of one's own machine answered."""
        found = await self.query(body_of(query), stale=stale, timeout_seconds=timeout_seconds)
        return answer_to(query, found.result)

    async def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Have any operation committed, outside of a session: never tried again once it may be in a log."""
        done = await self._command(plain(operation), timeout_seconds)
        answer: A = decode_or_raise(done.result)  # type: ignore[assignment]  # The machine sees to that.
        return answer

    async def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Have any question answered, linearizably; if it may be stale, by some node alone.

        The answer is of the type that the question names: a Range is answered by Items.
        """
        found = await self._query(question_bytes(question), timeout_seconds, stale=stale)
        answer: A = decode_or_raise(found.result)  # type: ignore[assignment]  # The machine sees to that.
        return answer

    async def _command(self, body: bytes, timeout_seconds: Duration | None) -> Committed:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        view, began_at = self._view, self.now()
        node, tried = view.prompt_leader(began_at), None
        if node:
            # Nearly always this is all, and the conversation would only cost time.
            view.expects(node, began_at)
            answer = await self._ask(node, store.command(body), seconds)
            view.heard(node, answer, began_at, self.now())
            if type(answer) is Committed and answer.configuration <= view.configuration:
                view.leader = node
                return answer
            tried = node, answer
        budget = RetryBudget(self._clock.now, seconds, began_at)
        return await self._drive(routing.command(view, body, budget, tried))

    async def _query(self, body: bytes, timeout_seconds: Duration | None, *, stale: bool) -> QueryResult:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        view, began_at = self._view, self.now()
        request = store.query(body, stale=stale)
        node, tried = view.prompt_leader(began_at), None
        if node:
            soon_seconds = min(seconds, view.expects(node, began_at))
            answer = await self._ask(node, request, soon_seconds)
            view.heard(node, answer, began_at, self.now())
            if type(answer) is QueryResult and answer.configuration <= view.configuration:
                return answer
            tried = node, answer
        budget = RetryBudget(self._clock.now, seconds, began_at)
        return await self._drive(routing.query(view, request, budget, tried))

    async def leader(self, *, timeout_seconds: Duration | None = None) -> LeaderIs:
        """Who leads, and where all members are."""
        return await self._drive(routing.who_leads(self._view, self._budget(timeout_seconds)))

    # -- who belongs to the cluster -------------------------------------------------------------

    async def members(self, *, timeout_seconds: Duration | None = None) -> Members:
        """Who belongs to the cluster, as its leader knows it."""
        return await self._drive(membership.members(self._view, self._budget(timeout_seconds)))

    async def add_member(
        self, node: int, endpoint: str, *, learner: bool = False, timeout_seconds: Duration | None = None
    ) -> Members:
        """Add a node that was started to join, and wait until it has caught up and votes; or as a learner."""
        budget = self._budget(timeout_seconds)
        return await self._drive(membership.add(self._view, node, endpoint, budget, learner=learner))

    async def promote_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Give a learner a vote, once it has caught up."""
        return await self._drive(membership.promote(self._view, node, self._budget(timeout_seconds)))

    async def remove_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Remove a member, which then stops by itself."""
        return await self._drive(membership.remove(self._view, node, self._budget(timeout_seconds)))

    async def replace_member(
        self, old: int, new: int, endpoint: str, *, timeout_seconds: Duration | None = None
    ) -> Members:
        """Let a node that was started to join catch up, and take the place of a member, in one change."""
        budget = self._budget(timeout_seconds)
        return await self._drive(membership.replace(self._view, old, new, endpoint, budget))

    async def update_member(
        self, node: int, endpoint: str, *, timeout_seconds: Duration | None = None
    ) -> Members:
        """Tell all where a member is reached from now on; it has to be started again to listen elsewhere."""
        budget = self._budget(timeout_seconds)
        return await self._drive(membership.update(self._view, node, endpoint, budget))

    async def change_members(self, request: MemberChange) -> Members:
        """One change alone, perhaps to an expected configuration only; raises CommandRefused for another."""
        return await self._drive(membership.change(self._view, request, self._budget()))

    # -- leases -----------------------------------------------------------------------------------

    async def lease(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> AsyncLease:
        """Begin a lease that ends so long after its last refresh; as an object."""
        granted = await self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds)
        return AsyncLease(self, granted.lease, granted.ttl_ms / 1000)

    async def leases(self) -> AsyncIterator[AsyncLease]:
        """All leases that last, oldest first, those of sessions too; of very many, not all of one moment."""
        after, more = 0, True
        while more:
            page = await self.ask(ListLeases(after))
            for after, ttl_ms in page.leases:
                yield AsyncLease(self, after, ttl_ms / 1000)
            more = page.more

    async def grant(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> int:
        """Begin a lease that ends so long after its last keep-alive; its number."""
        return (await self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds)).lease

    async def keep_alive(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """Give a lease its full time again; the seconds left, 0 if it has ended."""
        return await self._lease_time(KeepAlive(index(lease)), timeout_seconds)

    async def time_left(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """The seconds that a lease lasts without a keep-alive, 0 if it has ended."""
        return await self._lease_time(TimeLeft(index(lease)), timeout_seconds)

    async def revoke(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> bool:
        """End a lease, and all that hangs on it; whether it lasted until then."""
        return bool((await self.call(Revoke(index(lease)), timeout_seconds=timeout_seconds)).leases)

    async def _lease_time(self, request: KeepAlive | TimeLeft, timeout_seconds: Duration | None) -> float:
        budget = self._budget(timeout_seconds)
        answer, _ = await self._drive(sessions.lease_time(self._view, request, budget))
        return answer.left_seconds

    # -- what is held ----------------------------------------------------------------------------

    def session(self, ttl: Duration = "10s", *, release_on_disconnect: bool = False) -> AsyncSession:
        """A session, to be entered: commands carried out exactly once, and a lease to hang things on."""
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
        """An election, to be entered as often as one likes: the body runs while this client leads."""
        seat = seats_.of_election(name, value, wait=wait)
        return AsyncElection(self, seat, ttl, release_on_disconnect=release_on_disconnect)

    def only_leader(self, name: str, *, ttl: Duration = "5s") -> AsyncElection:
        """Decorates an async function of a Lead: a call runs it once, while this client leads."""
        return self.election(name, ttl=ttl)

    def lock(self, name: str, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True) -> AsyncElection:
        """Mutual exclusion; entered, it gives a token for what checks tokens. Without `wait`: or Taken."""
        return AsyncElection(self, seats_.of_lock(name, value, wait=wait), ttl)

    def semaphore(
        self, name: str, seats: int, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True
    ) -> AsyncElection:
        """At most so many at once; all must name the same number."""
        return AsyncElection(self, seats_.of_semaphore(name, seats, value, wait=wait), ttl)

    async def news(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait for events from `watch.revision` on, so long at most; see AsyncKeys."""
        seconds = min(timeout_of(timeout_seconds), sessions.HOLD_SECONDS)
        return await self.converse(partial(sessions.news, watch=watch, hold_seconds=seconds))

    async def events(self, watch: Watch) -> AsyncIterator[Event]:
        """What happens from `watch.revision` on, in order, each event once, whichever node tells it.

        Goes on for ever, and waits for as long as no node can be asked. Raises EventsForgotten.
        """
        channels = self._connection.channels
        channel = channels.of(watch)
        while True:
            told = channel.take(watch)
            if told is None:
                if channel.node and channel.reaches(watch):
                    await self._hear(channel)
                    continue
                with suppress(Rejected):
                    told = await self.converse(partial(sessions.followed, watch=watch), TIMEOUT_SECONDS)
                channel = channels.of(watch)
                if told is None:
                    continue
            for event in told.events:
                yield event
            watch = msgspec.structs.replace(watch, revision=told.next, skip=told.skip)

    @overload
    def watch(
        self, key: Text, *, prefix: bool = ..., start_revision: int = ..., prev_value: Literal[False] = ...
    ) -> AsyncWatching[KeyEvent]: ...

    @overload
    def watch(
        self, key: Text, *, prefix: bool = ..., start_revision: int = ..., prev_value: Literal[True]
    ) -> AsyncWatching[Changed]: ...

    def watch(
        self, key: Text, *, prefix: bool = False, start_revision: int = 0, prev_value: bool = False
    ) -> AsyncWatching[KeyEvent] | AsyncWatching[Changed]:
        """What happens to a key, or to all that begin so, from a revision or from now on, until cancelled.

        Each change once and in order; with `prev_value` as `Changed`, which costs a read for each. If events
        are forgotten that were not told, then the difference: what has gone meanwhile, and what holds another
        value; for that it remembers which keys are bound. Raises EventsForgotten if that happens before it
        has caught up with the present.
        """
        observer = KeysObserver(*store.range_of(key, prefix=prefix), revision=start_revision)
        return self._watching(observer, self._with_previous) if prev_value else self._following(observer)

    def observe(self, key: Text, *, prefix: bool = False) -> AsyncWatching[KeyEvent]:
        """What a key holds now, or all that begin so, then every change, as `watch` tells them."""
        return self._following(KeysObserver(*store.range_of(key, prefix=prefix), tell_present=True))

    def _following(self, observer: KeysObserver) -> AsyncWatching[KeyEvent]:
        async def as_it_is(event: KeyEvent) -> KeyEvent:
            return event

        return self._watching(observer, as_it_is)

    def _watching(
        self, observer: KeysObserver, tell: Callable[[KeyEvent], Awaitable[Seen]]
    ) -> AsyncWatching[Seen]:
        more = partial(self.converse, observer.more, TIMEOUT_SECONDS)
        return AsyncWatching(observer, more, tell, self._connection.wake_watchers)

    async def _with_previous(self, event: KeyEvent) -> Changed:
        return await previous_of_async(event, lambda key, revision: self.get(key, revision=revision))

    async def changes(self, observer: Observer) -> AsyncIterator[Event]:
        """What an observer is told, for ever; waits for as long as no node can be asked."""
        while True:
            with suppress(Rejected):
                for event in await self.converse(observer.more, TIMEOUT_SECONDS):
                    yield event

    def now(self) -> float:
        """The monotonic clock that the client counts by, in seconds."""
        return self._clock.now()

    async def converse(self, begin: Begin[Result], timeout_seconds: Duration | None = None) -> Result:
        """Carry a conversation out; see raft.client.calls.routing."""
        return await self._drive(begin(self._view, budget=self._budget(timeout_seconds)))

    # -- the driving of a conversation ----------------------------------------------------------

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
                to = self._view.address_for(step)
                outcome = await self._ask(step.node, step.request, step.timeout_seconds, to)
            elif isinstance(step, Hear):
                await self._hear(step.channel)
                outcome = None
            else:
                await self._wait(step.seconds)
                outcome = None

    async def _ask(
        self, node: int, request: routing.Request, timeout_seconds: float, to: Address | None = None
    ) -> Outcome:
        self._connection.check_process()
        if self._runtime.stopped:
            raise ClientClosed("the client is closed")
        future: asyncio.Future[Outcome] = self._loop.create_future()

        def end(answer: Answer | AskFailed) -> None:
            if not future.done():
                future.set_result(answer)

        pending = self._runtime.ask(to or self._view.address(node, request), request, timeout_seconds)
        pending.then(end, end)
        self._open.add(future)
        self._asked += 1
        if self._asked % ASKS_PER_FRAME == 0:
            self._runtime.flush()
        self._turning.soon()
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
        self._somebody_came.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may lose a cancellation.
                await self._somebody_came.wait()

    def _look_up(self) -> None:
        """Those who wait try again as soon as somebody can be reached who could not."""
        peers = len(self._runtime.peers)
        if peers > self._peers:
            self._somebody_came.set()
        self._peers = peers
