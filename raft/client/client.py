"""The blocking client: each call returns when it is done, and no thread runs in between.

Owns the running of calls in the caller's thread. Which node is asked what: see calls.routing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from operator import index
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, SupportsIndex, TypeVar, overload

import msgspec
from msgspec import Struct

from raft.client.calls import application, backup, membership, routing, sessions, store
from raft.client.calls.application import decode_or_raise, plain, question_bytes
from raft.client.calls.steps import Outcome, RetryBudget, Step
from raft.client.calls.store import Text
from raft.client.calls.watches import KeysObserver, Observer
from raft.client.connection import Connection, Endpoints, closed_when_dropped
from raft.client.errors import Rejected
from raft.client.keys import Keys
from raft.client.sessions import candidacy
from raft.client.sessions.candidacy import Candidacy
from raft.client.sessions.lease import Lease
from raft.client.shared_connection import SharedConnection
from raft.client.watches.iterators import Changed, KeyEvent, Seen, Watching, previous_of
from raft.durations import Duration, seconds_of, timeout_of, ttl_ms_of
from raft.machines.commands import Answered, Grant, ListLeases, Revoke, Watch
from raft.machines.results import Event, Events
from raft.machines.typed import TypedCommand, TypedQuery, answer_to, body_of, version_needed
from raft.protocol.client import (
    BackupTaken,
    Committed,
    KeepAlive,
    LeaderIs,
    MemberChange,
    Members,
    QueryResult,
    TimeLeft,
)

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.sessions.election import Election
    from raft.client.sessions.session import Session

Result = TypeVar("Result")
A = TypeVar("A")

TIMEOUT_SECONDS = 5.0


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
        self._connection = Connection(endpoints, cluster=cluster, keys=keys)
        self._address = Address(endpoints, cluster, keys)
        self._runtime = self._connection.runtime
        self._view = self._connection.view()
        self._view.configuration = routing.UNKNOWN_CONFIGURATION
        self._shared = SharedConnection(self._connection, self._view.address_for)
        self._finalizer = closed_when_dropped(self, self._connection)

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

    # -- custom machines and generic calls --------------------------------------------------------

    def command(
        self, body: bytes, *, since_version: int = 1, timeout_seconds: Duration | None = None
    ) -> Committed:
        """Commit a command of a custom machine. Not retried once it may be in a log.

        Raises UnsupportedVersion unless the machines of all members have version `since_version` or newer.
        """
        done = self._command(application.own_command(body, since_version), timeout_seconds)
        return msgspec.structs.replace(done, result=application.own_result(done.result))

    def query(
        self, body: bytes, *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> QueryResult:
        """Answer a query of a custom machine."""
        found = self._query(application.own_query(body), timeout_seconds, stale=stale)
        return msgspec.structs.replace(found, result=application.own_result(found.result))

    def execute(self, command: TypedCommand[Result], *, timeout_seconds: Duration | None = None) -> Result:
        """Commit a typed command of a custom machine. Not retried once it may be in a log.

        Raises CommandRefused if the machine refuses it. After msgspec.ValidationError the command was carried
        out by a machine of another version, whose answer does not match the command's class.
        """
        needed = version_needed(command)
        done = self.command(body_of(command), since_version=needed, timeout_seconds=timeout_seconds)
        return answer_to(command, done.result)

    def evaluate(
        self, query: TypedQuery[Result], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> Result:
        """Answer a typed query of a custom machine."""
        found = self.query(body_of(query), stale=stale, timeout_seconds=timeout_seconds)
        return answer_to(query, found.result)

    def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Commit any operation, outside of a session. Not retried once it may be in a log."""
        done = self._command(plain(operation), timeout_seconds)
        answer: A = decode_or_raise(done.result)  # type: ignore[assignment]  # The machine sees to that.
        return answer

    def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Answer any question, linearizably; with `stale`, from one node's own state.

        The type of the answer depends on the question: a Range is answered by Items.
        """
        found = self._query(question_bytes(question), timeout_seconds, stale=stale)
        answer: A = decode_or_raise(found.result)  # type: ignore[assignment]  # The machine sees to that.
        return answer

    def _command(self, body: bytes, timeout_seconds: Duration | None) -> Committed:
        return self._drive(routing.command(self._view, body, self._budget(timeout_seconds)))

    def _query(self, body: bytes, timeout_seconds: Duration | None, *, stale: bool) -> QueryResult:
        query = store.query(body, stale=stale)
        return self._drive(routing.query(self._view, query, self._budget(timeout_seconds)))

    def leader(self, *, timeout_seconds: Duration | None = None) -> LeaderIs:
        """The leader's id, and the endpoints of all members."""
        return self._drive(routing.find_leader(self._view, self._budget(timeout_seconds)))

    def read_backup(self, sink: backup.Sink, *, timeout_seconds: Duration | None = None) -> BackupTaken:
        """Read the state of the whole cluster as of now into a sink. The time-out applies to each chunk."""
        return self._drive(backup.read(self._view, lambda: self._budget(timeout_seconds), sink))

    # -- leases -----------------------------------------------------------------------------------

    def lease(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> Lease:
        """Grant a lease that ends `ttl` after its last refresh, as an object."""
        granted = self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds)
        return Lease(self, granted.lease, granted.ttl_ms / 1000)

    def leases(self) -> Iterator[Lease]:
        """All active leases, oldest first, including those of sessions.

        Many leases are read in several pages.
        """
        after, more = 0, True
        while more:
            page = self.ask(ListLeases(after))
            for after, ttl_ms in page.leases:
                yield Lease(self, after, ttl_ms / 1000)
            more = page.more

    def grant(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> int:
        """Grant a lease that ends `ttl` after its last keep-alive; returns its number."""
        return self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds).lease

    def keep_alive(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """Renew a lease for its full time. Returns the seconds left, 0 if it has ended."""
        return self._lease_time(KeepAlive(index(lease)), timeout_seconds)

    def time_left(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """The seconds until a lease ends without a keep-alive, 0 if it has ended."""
        return self._lease_time(TimeLeft(index(lease)), timeout_seconds)

    def revoke(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> bool:
        """End a lease and delete the keys attached to it. Returns whether it was still active."""
        return bool(self.call(Revoke(index(lease)), timeout_seconds=timeout_seconds).leases)

    def _lease_time(self, request: KeepAlive | TimeLeft, timeout_seconds: Duration | None) -> float:
        budget = self._budget(timeout_seconds)
        answer, _ = self._drive(sessions.lease_time(self._view, request, budget))
        return answer.left_seconds

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

    def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait up to `timeout_seconds` for events from `watch.revision` on; see Keys."""
        seconds = min(timeout_of(timeout_seconds), sessions.LONG_POLL_SECONDS)
        return self._drive(sessions.await_events(self._view, watch, self._budget(), seconds))

    def events(self, watch: Watch) -> Iterator[Event]:
        """Events from `watch.revision` on, in order, each once, from whichever node serves the watch.

        Never ends, and keeps waiting while no node can be reached. Raises EventsForgotten.
        """
        while True:
            try:
                told = self._drive(sessions.next_events(self._view, watch, self._budget(TIMEOUT_SECONDS)))
            except Rejected:
                continue
            yield from told.events
            watch = msgspec.structs.replace(watch, revision=told.next, skip=told.skip)

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
        observer = KeysObserver(*store.range_of(key, prefix=prefix), revision=start_revision)
        return self._watching(observer, self._with_previous) if prev_value else self._following(observer)

    def observe(self, key: Text, *, prefix: bool = False) -> Watching[KeyEvent]:
        """The value of a key, or of all keys with a prefix, then every change, as `watch` yields it."""
        return self._following(KeysObserver(*store.range_of(key, prefix=prefix), tell_present=True))

    def _following(self, observer: KeysObserver) -> Watching[KeyEvent]:
        return self._watching(observer, lambda event: event)

    def _watching(self, observer: KeysObserver, tell: Callable[[KeyEvent], Seen]) -> Watching[Seen]:
        def more() -> Sequence[Event]:
            return self._drive(observer.more(self._view, self._budget(TIMEOUT_SECONDS)))

        return Watching(observer, more, tell, self._connection.wake_watchers)

    def _with_previous(self, event: KeyEvent) -> Changed:
        return previous_of(event, lambda key, revision: self.get(key, revision=revision))

    def changes(self, observer: Observer) -> Iterator[Event]:
        """The events of an observer, without end; keeps waiting while no node can be reached."""
        while True:
            with suppress(Rejected):
                yield from self._drive(observer.more(self._view, self._budget(TIMEOUT_SECONDS)))

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

    # -- membership -----------------------------------------------------------------------------

    def members(self, *, timeout_seconds: Duration | None = None) -> Members:
        """The members of the cluster, as the leader knows them."""
        return self._drive(membership.members(self._view, self._budget(timeout_seconds)))

    def add_member(
        self, node: int, endpoint: str, *, learner: bool = False, timeout_seconds: Duration | None = None
    ) -> Members:
        """Add a node that was started to join; wait until it has caught up and votes, unless `learner`."""
        budget = self._budget(timeout_seconds)
        return self._drive(membership.add(self._view, node, endpoint, budget, learner=learner))

    def promote_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Give a learner a vote once it has caught up."""
        return self._drive(membership.promote(self._view, node, self._budget(timeout_seconds)))

    def remove_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Remove a member. Its process then stops by itself."""
        return self._drive(membership.remove(self._view, node, self._budget(timeout_seconds)))

    def replace_member(
        self, old: int, new: int, endpoint: str, *, timeout_seconds: Duration | None = None
    ) -> Members:
        """Let a newly started node catch up, then let it replace a member, in one configuration change."""
        budget = self._budget(timeout_seconds)
        return self._drive(membership.replace(self._view, old, new, endpoint, budget))

    def update_member(self, node: int, endpoint: str, *, timeout_seconds: Duration | None = None) -> Members:
        """Announce a member's new endpoint to all. The member must be restarted to listen there."""
        return self._drive(membership.update(self._view, node, endpoint, self._budget(timeout_seconds)))

    def change_members(self, request: MemberChange) -> Members:
        """Make one change, optionally only to an expected configuration; CommandRefused for another one."""
        return self._drive(membership.change(self._view, request, self._budget()))

    # -------------------------------------------------------------------------------------------

    def _budget(self, timeout_seconds: Duration | None = None) -> RetryBudget:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        return RetryBudget(self._runtime.clock.now, seconds)

    def _drive(self, steps: Generator[Step, Outcome, Result]) -> Result:
        return self._shared.run_call(steps)
