"""The blocking client: each call returns when it is done, and nothing runs in between.

Owns the driving of conversations in the caller's thread. Knows nothing of what is asked of whom: see
conversation.
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
from raft.client.calls.routing import Outcome, RetryBudget, Step
from raft.client.calls.store import Text
from raft.client.calls.watches import KeysObserver, Observer
from raft.client.connection import Connection, Endpoints, closed_when_dropped
from raft.client.errors import Rejected
from raft.client.keys import Keys
from raft.client.sessions import seats as seats_
from raft.client.sessions.lease import Lease
from raft.client.sessions.seats import Seat
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
    """What it takes to connect once more."""

    endpoints: Endpoints
    cluster: str
    keys: str | Path | None


class Client(Keys):
    """One connection to a cluster, for any number of threads; no thread of its own. Also a context manager.

    It belongs to the process that made it: a forked child makes its own, and gets ClientClosed from this one.

    `endpoints` are the nodes' addresses by id, or a list of those of nodes 1, 2, 3 and so on; one living
    node among them is enough. Each call takes at most `timeout_seconds` and ends with its result, or with
    a ClientError that says whether a retry is safe.
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
        self._view.configuration = routing.NOT_TOLD
        self._shared = SharedConnection(self._connection, self._view.address_for)
        self._finalizer = closed_when_dropped(self, self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; calls of other threads end with ClientClosed. Idempotent."""
        self._finalizer.detach()
        self._shared.close()

    # -- one's own machine, and whatever else there is --------------------------------------------

    def command(
        self, body: bytes, *, since_version: int = 1, timeout_seconds: Duration | None = None
    ) -> Committed:
        """Have a command of one's own machine committed; never tried again once it may be in a log.

        UnsupportedVersion unless all members' machines are of `since_version` or a newer one.
        """
        done = self._command(application.own_command(body, since_version), timeout_seconds)
        return msgspec.structs.replace(done, result=application.own_result(done.result))

    def query(
        self, body: bytes, *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> QueryResult:
        """Have a query of one's own machine answered."""
        found = self._query(application.own_query(body), timeout_seconds, stale=stale)
        return msgspec.structs.replace(found, result=application.own_result(found.result))

    def execute(self, command: TypedCommand[Result], *, timeout_seconds: Duration | None = None) -> Result:
        """Have a typed command of one's own machine committed; never tried again once it may be in a log.

        Raises CommandRefused if the machine turns it down. After msgspec.ValidationError it was carried out,
        by a machine of another version: its answer is not what the command's class says.
        """
        needed = version_needed(command)
        done = self.command(body_of(command), since_version=needed, timeout_seconds=timeout_seconds)
        return answer_to(command, done.result)

    def evaluate(
        self, query: TypedQuery[Result], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> Result:
        """Have a typed query of one's own machine answered."""
        found = self.query(body_of(query), stale=stale, timeout_seconds=timeout_seconds)
        return answer_to(query, found.result)

    def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Have any operation committed, outside of a session: never tried again once it may be in a log."""
        done = self._command(plain(operation), timeout_seconds)
        answer: A = decode_or_raise(done.result)  # type: ignore[assignment]  # The machine sees to that.
        return answer

    def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """Have any question answered, linearizably; if it may be stale, by some node alone.

        The answer is of the type that the question names: a Range is answered by Items.
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
        """Who leads, and where all members are."""
        return self._drive(routing.who_leads(self._view, self._budget(timeout_seconds)))

    def read_backup(self, sink: backup.Sink, *, timeout_seconds: Duration | None = None) -> BackupTaken:
        """Read the state of the whole cluster, as of now, into a sink; the time is for each piece of it."""
        return self._drive(backup.read(self._view, lambda: self._budget(timeout_seconds), sink))

    # -- leases -----------------------------------------------------------------------------------

    def lease(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> Lease:
        """Begin a lease that ends so long after its last refresh; as an object."""
        granted = self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds)
        return Lease(self, granted.lease, granted.ttl_ms / 1000)

    def leases(self) -> Iterator[Lease]:
        """All leases that last, oldest first, those of sessions too; of very many, not all of one moment."""
        after, more = 0, True
        while more:
            page = self.ask(ListLeases(after))
            for after, ttl_ms in page.leases:
                yield Lease(self, after, ttl_ms / 1000)
            more = page.more

    def grant(self, ttl: Duration, *, timeout_seconds: Duration | None = None) -> int:
        """Begin a lease that ends so long after its last keep-alive; its number."""
        return self.call(Grant(ttl_ms_of(ttl)), timeout_seconds=timeout_seconds).lease

    def keep_alive(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """Give a lease its full time again; the seconds left, 0 if it has ended."""
        return self._lease_time(KeepAlive(index(lease)), timeout_seconds)

    def time_left(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> float:
        """The seconds that a lease lasts without a keep-alive, 0 if it has ended."""
        return self._lease_time(TimeLeft(index(lease)), timeout_seconds)

    def revoke(self, lease: SupportsIndex, *, timeout_seconds: Duration | None = None) -> bool:
        """End a lease, and all that hangs on it; whether it lasted until then."""
        return bool(self.call(Revoke(index(lease)), timeout_seconds=timeout_seconds).leases)

    def _lease_time(self, request: KeepAlive | TimeLeft, timeout_seconds: Duration | None) -> float:
        budget = self._budget(timeout_seconds)
        answer, _ = self._drive(sessions.lease_time(self._view, request, budget))
        return answer.left_seconds

    # -- what is held ----------------------------------------------------------------------------

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
        return self._held(seats_.of_election(name, value, wait=wait), ttl, release_on_disconnect)

    def lock(self, name: str, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True) -> Election:
        """Mutual exclusion; entered, it gives a token for what checks tokens. Without `wait`: or Taken."""
        return self._held(seats_.of_lock(name, value, wait=wait), ttl)

    def semaphore(
        self, name: str, seats: int, *, ttl: Duration = "5s", value: Text = b"", wait: bool = True
    ) -> Election:
        """At most so many at once; all must name the same number."""
        return self._held(seats_.of_semaphore(name, seats, value, wait=wait), ttl)

    def only_leader(self, name: str, *, ttl: Duration = "5s") -> Election:
        """Decorates a function of a Lead: a call runs it once, while this program leads."""
        return self.election(name, ttl=ttl)

    def session(self, ttl: Duration = "10s", *, release_on_disconnect: bool = False) -> Session:
        """A session, to be entered: commands carried out exactly once, and a lease to hang things on."""
        from raft.client.sessions.session import Session

        seconds = seconds_of(ttl)
        return Session(
            self._connect_anew,
            lambda client: client.session(seconds, release_on_disconnect=release_on_disconnect),
        )

    def news(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """Wait for events from `watch.revision` on, so long at most; see Keys."""
        seconds = min(timeout_of(timeout_seconds), sessions.HOLD_SECONDS)
        return self._drive(sessions.news(self._view, watch, self._budget(), seconds))

    def events(self, watch: Watch) -> Iterator[Event]:
        """What happens from `watch.revision` on, in order, each event once, whichever node tells it.

        Goes on for ever, and waits for as long as no node can be asked. Raises EventsForgotten.
        """
        while True:
            try:
                told = self._drive(sessions.followed(self._view, watch, self._budget(TIMEOUT_SECONDS)))
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
        """What happens to a key, or to all that begin so, from a revision or from now on, until cancelled.

        Each change once and in order; with `prev_value` as `Changed`, which costs a read for each. If events
        are forgotten that were not told, then the difference: what has gone meanwhile, and what holds another
        value; for that it remembers which keys are bound. Raises EventsForgotten if that happens before it
        has caught up with the present.
        """
        observer = KeysObserver(*store.range_of(key, prefix=prefix), revision=start_revision)
        return self._watching(observer, self._with_previous) if prev_value else self._following(observer)

    def observe(self, key: Text, *, prefix: bool = False) -> Watching[KeyEvent]:
        """What a key holds now, or all that begin so, then every change, as `watch` tells them."""
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
        """What an observer is told, for ever; waits for as long as no node can be asked."""
        while True:
            with suppress(Rejected):
                yield from self._drive(observer.more(self._view, self._budget(TIMEOUT_SECONDS)))

    def _held(self, seat: Seat, ttl: Duration, release_on_disconnect: bool = False) -> Election:
        from raft.client.sessions.election import Election

        return Election(
            self, self._connect_anew, seat, seconds_of(ttl), release_on_disconnect=release_on_disconnect
        )

    def _connect_anew(self) -> AsyncClient:
        # Asyncio is only loaded by who holds something.
        from raft.client.asyncio_client import AsyncClient

        at = self._address
        return AsyncClient(
            at.endpoints, cluster=at.cluster, keys=at.keys, timeout_seconds=self.timeout_seconds
        )

    # -- who belongs to the cluster -------------------------------------------------------------

    def members(self, *, timeout_seconds: Duration | None = None) -> Members:
        """Who belongs to the cluster, as its leader knows it."""
        return self._drive(membership.members(self._view, self._budget(timeout_seconds)))

    def add_member(
        self, node: int, endpoint: str, *, learner: bool = False, timeout_seconds: Duration | None = None
    ) -> Members:
        """Add a node that was started to join, and wait until it has caught up and votes; or as a learner."""
        budget = self._budget(timeout_seconds)
        return self._drive(membership.add(self._view, node, endpoint, budget, learner=learner))

    def promote_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Give a learner a vote, once it has caught up."""
        return self._drive(membership.promote(self._view, node, self._budget(timeout_seconds)))

    def remove_member(self, node: int, *, timeout_seconds: Duration | None = None) -> Members:
        """Remove a member, which then stops by itself."""
        return self._drive(membership.remove(self._view, node, self._budget(timeout_seconds)))

    def replace_member(
        self, old: int, new: int, endpoint: str, *, timeout_seconds: Duration | None = None
    ) -> Members:
        """Let a node that was started to join catch up, and take the place of a member, in one change."""
        budget = self._budget(timeout_seconds)
        return self._drive(membership.replace(self._view, old, new, endpoint, budget))

    def update_member(self, node: int, endpoint: str, *, timeout_seconds: Duration | None = None) -> Members:
        """Tell all where a member is reached from now on; it has to be started again to listen elsewhere."""
        return self._drive(membership.update(self._view, node, endpoint, self._budget(timeout_seconds)))

    def change_members(self, request: MemberChange) -> Members:
        """One change alone, perhaps to an expected configuration only; raises CommandRefused for another."""
        return self._drive(membership.change(self._view, request, self._budget()))

    # -------------------------------------------------------------------------------------------

    def _budget(self, timeout_seconds: Duration | None = None) -> RetryBudget:
        seconds = self.timeout_seconds if timeout_seconds is None else timeout_of(timeout_seconds)
        return RetryBudget(self._runtime.clock.now, seconds)

    def _drive(self, steps: Generator[Step, Outcome, Result]) -> Result:
        return self._shared.carry_out(steps)
