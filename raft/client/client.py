"""The blocking client: each call returns when it is done, and no thread runs in between.

Owns the running of calls in the caller's thread. Which node is asked what: see calls.routing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from msgspec import Struct

from raft.client.asyncio_calls import TIMEOUT_SECONDS, AsyncCalls, CallFactory
from raft.client.blocking import blocking, blocking_iterator, run
from raft.client.calls import backup, routing, store
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Outcome, RetryBudget, Step
from raft.client.calls.store import Text
from raft.client.connection import Connection, Endpoints, closed_when_dropped
from raft.client.keys import Keys
from raft.client.sessions import candidacy
from raft.client.sessions.candidacy import Candidacy
from raft.client.sessions.lease import Lease
from raft.client.shared_connection import SharedConnection
from raft.client.watches.iterators import Changed, KeyEvent, Watching
from raft.durations import Duration, seconds_of, timeout_of
from raft.protocol.client import (
    BackupTaken,
    Committed,
    QueryResult,
)

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.sessions.election import Election
    from raft.client.sessions.session import Session

Result = TypeVar("Result")
A = TypeVar("A")


class Address(Struct, frozen=True):
    """The arguments of another connection to the same cluster."""

    endpoints: Endpoints
    cluster: str
    keys: str | Path | None


class Client(Keys):
    """One connection to a cluster, for any number of threads; starts no thread. Also a context manager.

    It belongs to the process that created it: in a forked child it raises ClientClosed, and the child creates
    its own. `endpoints` are the nodes' addresses by id, or a list of those of nodes 1, 2, 3 and so on; one
    live node among them is enough. Each call takes at most `timeout_seconds` and ends with its result, or
    with a ClientError that says whether a retry is safe.
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
        self.connection = Connection(endpoints, cluster=cluster, keys=keys)
        self._address = Address(endpoints, cluster, keys)
        self._runtime = self.connection.runtime
        self.view = self.connection.view()
        self.view.configuration = routing.UNKNOWN_CONFIGURATION
        self._shared = SharedConnection(self.connection, self.view.address_for)
        self._finalizer = closed_when_dropped(self, self.connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls of other threads end with ClientClosed. Idempotent."""
        self._finalizer.detach()
        self._shared.close()

    @property
    def unsuspended(self) -> UnsuspendedClient:
        """The same calls as coroutines that block instead of suspending."""
        return UnsuspendedClient(self.view, self._budget, self._drive, self.connection.wake_watchers)

    command = blocking(AsyncCalls.command)
    query = blocking(AsyncCalls.query)
    execute = blocking(AsyncCalls.execute)
    evaluate = blocking(AsyncCalls.evaluate)
    call = blocking(AsyncCalls.call)
    ask = blocking(AsyncCalls.ask)
    leader = blocking(AsyncCalls.leader)
    members = blocking(AsyncCalls.members)
    add_member = blocking(AsyncCalls.add_member)
    promote_member = blocking(AsyncCalls.promote_member)
    remove_member = blocking(AsyncCalls.remove_member)
    replace_member = blocking(AsyncCalls.replace_member)
    update_member = blocking(AsyncCalls.update_member)
    change_members = blocking(AsyncCalls.change_members)
    grant = blocking(AsyncCalls.grant)
    keep_alive = blocking(AsyncCalls.keep_alive)
    time_left = blocking(AsyncCalls.time_left)
    revoke = blocking(AsyncCalls.revoke)

    def read_backup(self, sink: backup.Sink, *, timeout_seconds: Duration | None = None) -> BackupTaken:
        """Read the state of the whole cluster as of now into a sink. The time-out applies to each chunk."""
        return self._drive(backup.read(self.view, lambda: self._budget(timeout_seconds), sink))

    # -- leases -----------------------------------------------------------------------------------

    def lease(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> Lease:
        """Grant a lease that ends `ttl` after its last refresh, as an object."""
        return Lease(run(self.unsuspended.lease(ttl, timeout_seconds=timeout_seconds)))

    def leases(self) -> Iterator[Lease]:
        """All active leases, oldest first, including those of sessions.

        Many leases are read in several pages.
        """
        return map(Lease, self._leases())

    _leases = blocking_iterator(AsyncCalls.leases)

    # -- sessions, elections and locks ------------------------------------------------------------

    def election(
        self,
        name: str,
        *,
        ttl: Duration = "5s",
        value: Text = b"",
        wait: bool = True,
        release_on_disconnect: bool = False,
    ) -> Election:
        """An election, to be entered: the body runs while this program leads; see sessions.election."""
        return self._held(candidacy.of_election(name, value, wait=wait), ttl, release_on_disconnect)

    def lock(self, name: str, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True) -> Election:
        """Mutual exclusion; entering returns a lock with a fencing token. Without `wait`, may raise Taken."""
        return self._held(candidacy.of_lock(name, value, wait=wait), ttl)

    def semaphore(
        self, name: str, seats: int, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True
    ) -> Election:
        """At most `seats` holders at once. All clients must pass the same number."""
        return self._held(candidacy.of_semaphore(name, seats, value, wait=wait), ttl)

    def only_leader(self, name: str, *, ttl: Duration = "5s") -> Election:
        """Decorator for a function of a Lead: each call runs it once, while this program leads."""
        return self.election(name, ttl=ttl)

    def session(self, ttl: Duration = "10s", *, release_on_disconnect: bool = False) -> Session:
        """A session, to be entered: exactly-once commands, and a lease to attach keys to."""
        from raft.client.sessions.session import Session

        seconds = seconds_of(ttl)
        return Session(
            self._connect_anew,
            lambda client: client.session(seconds, release_on_disconnect=release_on_disconnect),
        )

    # -- watches ----------------------------------------------------------------------------------

    await_events = blocking(AsyncCalls.await_events)
    events = blocking_iterator(AsyncCalls.events)
    changes = blocking_iterator(AsyncCalls.changes)

    @overload
    def watch(
        self, key: Text, *, prefix: bool = ..., start_revision: int = ..., prev_value: Literal[False] = ...
    ) -> Watching[KeyEvent]: ...

    @overload
    def watch(
        self, key: Text, *, prefix: bool = ..., start_revision: int = ..., prev_value: Literal[True]
    ) -> Watching[Changed]: ...

    def watch(
        self, key: Text, *, prefix: bool = False, start_revision: int = 0, prev_value: bool = False
    ) -> Watching[KeyEvent] | Watching[Changed]:
        """Changes to a key, or to all keys with a prefix, from a revision or from now on, until cancelled.

        Each change once and in order. With `prev_value` as `Changed`, at the cost of one read for each
        change. After a gap in the events, yields the difference: keys that have gone, and keys with another
        value; for this it remembers which keys exist. Raises EventsForgotten if the gap comes before it has
        caught up with the present.
        """
        calls = self.unsuspended
        if prev_value:
            return Watching(calls.watch(key, prefix=prefix, start_revision=start_revision, prev_value=True))
        return Watching(calls.watch(key, prefix=prefix, start_revision=start_revision))

    def observe(self, key: Text, *, prefix: bool = False) -> Watching[KeyEvent]:
        """The value of a key, or of all keys with a prefix, then every change, as `watch` yields it."""
        return Watching(self.unsuspended.observe(key, prefix=prefix))

    def _held(self, candidacy: Candidacy, ttl: Duration, release_on_disconnect: bool = False) -> Election:
        from raft.client.sessions.election import Election

        return Election(
            self, self._connect_anew, candidacy, seconds_of(ttl), release_on_disconnect=release_on_disconnect
        )

    def _connect_anew(self) -> AsyncClient:
        # Only sessions and elections need asyncio.
        from raft.client.asyncio_client import AsyncClient

        at = self._address
        return AsyncClient(
            at.endpoints, cluster=at.cluster, keys=at.keys, timeout_seconds=self.timeout_seconds
        )

    # -------------------------------------------------------------------------------------------

    def _budget(self, timeout_seconds: Duration | None = None) -> RetryBudget:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        return RetryBudget(self._runtime.clock.now, seconds)

    def _drive(self, steps: Generator[Step, Outcome, Result]) -> Result:
        return self._shared.run_call(steps)


class UnsuspendedClient(AsyncCalls):
    """AsyncCalls whose coroutines never suspend: they block in `drive`."""

    def __init__(
        self,
        view: ClusterView,
        budget: Callable[[Duration | None], RetryBudget],
        drive: Callable[[Generator[Step, Outcome, Any]], Any],
        wake_watchers: Callable[[], None],
    ) -> None:
        self.view = view
        self._budget = budget
        self._drive = drive
        self._wake_watchers = wake_watchers

    def wake_watchers(self) -> None:
        """Make all waiting iterators check whether they are cancelled."""
        self._wake_watchers()

    async def _command(self, body: bytes, timeout_seconds: Duration | None) -> Committed:
        steps = routing.command(self.view, body, self._budget(timeout_seconds))
        committed: Committed = self._drive(steps)
        return committed

    async def _query(self, body: bytes, timeout_seconds: Duration | None, *, stale: bool) -> QueryResult:
        query = store.query(body, stale=stale)
        found: QueryResult = self._drive(routing.query(self.view, query, self._budget(timeout_seconds)))
        return found

    async def run_call(self, begin: CallFactory[Result], timeout_seconds: Duration | None = None) -> Result:
        """Run a call's steps; see raft.client.calls.routing."""
        result: Result = self._drive(begin(self.view, budget=self._budget(timeout_seconds)))
        return result
