"""The calls of a client for asyncio, besides sessions and elections.

Owns their arguments and answers, built on `_command`, `_query`, `run_call` and `wake_watchers`. The blocking
client has their blocking twins (see blocking). Knows nothing of event loops or connections.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from operator import index
from typing import Literal, Protocol, SupportsIndex, TypeVar, overload

import msgspec

from raft.client.asyncio_keys import AsyncKeys
from raft.client.calls import application, membership, routing, sessions, store
from raft.client.calls.application import decode_or_raise, plain, question_bytes
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Outcome, RetryBudget, Step
from raft.client.calls.store import Text
from raft.client.calls.watches import KeysObserver, Observer
from raft.client.errors import Rejected
from raft.client.sessions.asyncio_lease import AsyncLease
from raft.client.watches.iterators import AsyncWatching, Changed, KeyEvent, Seen, previous_of
from raft.durations import Duration, timeout_of, ttl_ms_of
from raft.machines.commands import Answered, Grant, ListLeases, Revoke, Watch
from raft.machines.results import Event, Events
from raft.machines.typed import TypedCommand, TypedQuery, answer_to, body_of, version_needed
from raft.protocol.client import (
    Committed,
    KeepAlive,
    LeaderIs,
    MemberChange,
    Members,
    QueryResult,
    TimeLeft,
)

TIMEOUT_SECONDS = 5.0

Result = TypeVar("Result")
A = TypeVar("A")
Result_co = TypeVar("Result_co", covariant=True)


class CallFactory(Protocol[Result_co]):
    """Makes the step generator of a call; see raft.client.calls.routing."""

    def __call__(self, view: ClusterView, *, budget: RetryBudget) -> Generator[Step, Outcome, Result_co]:
        """The call's steps."""
        ...


class AsyncCalls(AsyncKeys):
    """What a client asks of a cluster. Each call takes a time-out of its own; the default is the client's."""

    @abstractmethod
    async def _command(self, body: bytes, timeout_seconds: Duration | None) -> Committed:
        """Commit a command."""

    @abstractmethod
    async def _query(self, body: bytes, timeout_seconds: Duration | None, *, stale: bool) -> QueryResult:
        """Answer a query."""

    @abstractmethod
    async def run_call(self, begin: CallFactory[Result], timeout_seconds: Duration | None = None) -> Result:
        """Run a call's steps; see raft.client.calls.routing."""

    @abstractmethod
    def wake_watchers(self) -> None:
        """Make all waiting iterators check whether they are cancelled."""

    async def command(
        self, body: bytes, *, since_version: int = 1, timeout_seconds: Duration | None = None
    ) -> Committed:
        """Commit a command of a custom machine. Not retried once it may be in a log.

        Raises UnsupportedVersion unless the machines of all members have version `since_version` or newer.
        """
        done = await self._command(application.own_command(body, since_version), timeout_seconds)
        return msgspec.structs.replace(done, result=application.own_result(done.result))

    async def query(
        self, body: bytes, *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> QueryResult:
        """Answer a query of a custom machine."""
        found = await self._query(application.own_query(body), timeout_seconds, stale=stale)
        return msgspec.structs.replace(found, result=application.own_result(found.result))

    async def execute(
        self, command: TypedCommand[Result], *, timeout_seconds: Duration | None = None
    ) -> Result:
        """Commit a typed command of a custom machine. Not retried once it may be in a log.

        Raises CommandRefused if the machine refuses it. After msgspec.ValidationError the command was carried
        out by a machine of another version, whose answer does not match the command's class.
        """
        needed = version_needed(command)
        done = await self.command(body_of(command), since_version=needed, timeout_seconds=timeout_seconds)
        return answer_to(command, done.result)

    async def evaluate(
        self, query: TypedQuery[Result], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> Result:
        """Answer a typed query of a custom machine."""
        found = await self.query(body_of(query), stale=stale, timeout_seconds=timeout_seconds)
        return answer_to(query, found.result)

    async def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Commit any operation, outside of a session. Not retried once it may be in a log."""
        done = await self._command(plain(operation), timeout_seconds)
        answer: A = decode_or_raise(done.result)  # type: ignore[assignment]  # The machine sees to that.
        return answer

    async def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Answer any question, linearizably; with `stale`, from one node's own state.

        The type of the answer depends on the question: a Range is answered by Items.
        """
        found = await self._query(question_bytes(question), timeout_seconds, stale=stale)
        answer: A = decode_or_raise(found.result)  # type: ignore[assignment]  # The machine sees to that.
        return answer

    async def leader(self, *, timeout_seconds: Duration | None = None) -> LeaderIs:
        """The leader's id, and the endpoints of all members."""
        return await self.run_call(routing.find_leader, timeout_seconds)

    async def members(self, *, timeout_seconds: Duration | None = None) -> Members:
        """The members of the cluster, as the leader knows them."""
        return await self.run_call(membership.members, timeout_seconds)

    async def add_member(
        self, node: int, endpoint: str, *, learner: bool = False, timeout_seconds: Duration | None = None
    ) -> Members:
        """Add a node that was started to join; wait until it has caught up and votes, unless `learner`."""
        add = partial(membership.add, node=node, endpoint=endpoint, learner=learner)
        return await self.run_call(add, timeout_seconds)

    async def promote_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Give a learner a vote once it has caught up."""
        return await self.run_call(partial(membership.promote, node=node), timeout_seconds)

    async def remove_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Remove a member. Its process then stops by itself."""
        return await self.run_call(partial(membership.remove, node=node), timeout_seconds)

    async def replace_member(
        self, old: int, new: int, endpoint: str, *, timeout_seconds: Duration | None = None
    ) -> Members:
        """Let a newly started node catch up, then let it replace a member, in one configuration change."""
        replace = partial(membership.replace, old=old, new=new, endpoint=endpoint)
        return await self.run_call(replace, timeout_seconds)

    async def update_member(
        self, node: int, endpoint: str, *, timeout_seconds: Duration | None = None
    ) -> Members:
        """Announce a member's new endpoint to all. The member must be restarted to listen there."""
        update = partial(membership.update, node=node, endpoint=endpoint)
        return await self.run_call(update, timeout_seconds)

    async def change_members(self, request: MemberChange) -> Members:
        """Make one change, optionally only to an expected configuration; CommandRefused for another one."""
        return await self.run_call(partial(membership.change, request=request))

    async def grant(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> int:
        """Grant a lease that ends `ttl` after its last keep-alive; returns its number."""
        return (await self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds)).lease

    async def keep_alive(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """Renew a lease for its full time. Returns the seconds left, 0 if it has ended."""
        return await self._lease_time(KeepAlive(index(lease)), timeout_seconds)

    async def time_left(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """The seconds until a lease ends without a keep-alive, 0 if it has ended."""
        return await self._lease_time(TimeLeft(index(lease)), timeout_seconds)

    async def revoke(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> bool:
        """End a lease and delete the keys attached to it. Returns whether it was still active."""
        return bool((await self.call(Revoke(index(lease)), timeout_seconds=timeout_seconds)).leases)

    async def _lease_time(self, request: KeepAlive | TimeLeft, timeout_seconds: Duration | None) -> float:
        asking = partial(sessions.lease_time, request=request)
        answer, _ = await self.run_call(asking, timeout_seconds)
        return answer.left_seconds

    async def lease(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> AsyncLease:
        """Grant a lease that ends `ttl` after its last refresh, as an object."""
        granted = await self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds)
        return AsyncLease(self, granted.lease, granted.ttl_ms / 1000)

    async def leases(self) -> AsyncIterator[AsyncLease]:
        """All active leases, oldest first, including those of sessions.

        Many leases are read in several pages.
        """
        after, more = 0, True
        while more:
            page = await self.ask(ListLeases(after))
            for after, ttl_ms in page.leases:
                yield AsyncLease(self, after, ttl_ms / 1000)
            more = page.more

    # -- watches ----------------------------------------------------------------------------------

    async def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait up to `timeout_seconds` for events from `watch.revision` on; see AsyncKeys."""
        seconds = min(timeout_of(timeout_seconds), sessions.LONG_POLL_SECONDS)
        return await self.run_call(partial(sessions.await_events, watch=watch, hold_seconds=seconds))

    async def _next_events(self, watch: Watch) -> Events:
        return await self.run_call(partial(sessions.next_events, watch=watch), TIMEOUT_SECONDS)

    async def events(self, watch: Watch) -> AsyncIterator[Event]:
        """Events from `watch.revision` on, in order, each once, from whichever node serves the watch.

        Never ends, and keeps waiting while no node can be reached. Raises EventsForgotten.
        """
        while True:
            try:
                told = await self._next_events(watch)
            except Rejected:
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
        """Changes to a key, or to all keys with a prefix, from a revision or from now on, until cancelled.

        Each change once and in order. With `prev_value` as `Changed`, at the cost of one read for each
        change. After a gap in the events, yields the difference: keys that have gone, and keys with another
        value; for this it remembers which keys exist. Raises EventsForgotten if the gap comes before it has
        caught up with the present.
        """
        observer = KeysObserver(*store.range_of(key, prefix=prefix), revision=start_revision)
        return self._watching(observer, self._with_previous) if prev_value else self._following(observer)

    def observe(self, key: Text, *, prefix: bool = False) -> AsyncWatching[KeyEvent]:
        """The value of a key, or of all keys with a prefix, then every change, as `watch` yields it."""
        return self._following(KeysObserver(*store.range_of(key, prefix=prefix), tell_present=True))

    def _following(self, observer: KeysObserver) -> AsyncWatching[KeyEvent]:
        async def as_it_is(event: KeyEvent) -> KeyEvent:
            return event

        return self._watching(observer, as_it_is)

    def _watching(
        self, observer: KeysObserver, tell: Callable[[KeyEvent], Awaitable[Seen]]
    ) -> AsyncWatching[Seen]:
        more = partial(self.run_call, observer.more, TIMEOUT_SECONDS)
        return AsyncWatching(observer, more, tell, self.wake_watchers)

    async def _with_previous(self, event: KeyEvent) -> Changed:
        return await previous_of(event, lambda key, revision: self.get(key, revision=revision))

    async def changes(self, observer: Observer) -> AsyncIterator[Event]:
        """The events of an observer, without end; keeps waiting while no node can be reached."""
        while True:
            with suppress(Rejected):
                for event in await self.run_call(observer.more, TIMEOUT_SECONDS):
                    yield event
