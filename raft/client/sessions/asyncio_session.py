"""A session for asyncio: exactly-once commands, and a lease that is kept alive automatically.

Owns the holder's side of a lease: time counts from the sending of the last answered keep-alive, so the
holder knows that it has lost the lease before the cluster does. Nothing of it outlives `close`.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from raft.client.asyncio_keys import AsyncKeys
from raft.client.calls import sessions
from raft.client.calls.application import checked_body, decode_or_raise, plain
from raft.client.errors import (
    ClientError,
    LeadershipLost,
    OutcomeUnknown,
    Rejected,
    SessionExpired,
    is_by_loss,
)
from raft.durations import Duration, ttl_ms_of
from raft.machines.commands import Answered, OpenSession, Operation, Own, Revoke, Transaction, Watch
from raft.machines.lease_clock import HeldLease
from raft.machines.results import Events, Opened, TransactionDone
from raft.machines.typed import TypedCommand, answer_to, body_of, version_needed
from raft.protocol.client import KeepAlive

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

Result = TypeVar("Result")
A = TypeVar("A")

# The last part of a lease is for cancelled work to clean up in.
MARGIN_RATIO = 0.1
REVOKE_SECONDS_MAX = 1.0


class SessionState(enum.Enum):
    """The state of a session, in kazoo's terms."""

    CONNECTED = "connected"
    """Its keep-alives are answered."""
    SUSPENDED = "suspended"
    """A keep-alive has been unanswered for a third of the lease's time: the session may be lost soon."""
    LOST = "lost"
    """Its lease is over, or about to be; the keys attached to it are deleted, or will be."""


Listener = Callable[[SessionState], None]


class AsyncSession(AsyncKeys):
    """An open session, as an asynchronous context manager. Calls may run concurrently.

    `lease` is the number of the session and of its lease; keys put with it are deleted when the session ends.
    """

    def __init__(self, client: AsyncClient, ttl: Duration, *, release_on_disconnect: bool = False) -> None:
        self.lease = 0
        self._client = client
        self._ttl_ms = ttl_ms_of(ttl)
        self._release_on_disconnect = release_on_disconnect
        self._room = asyncio.Event()
        self._lost = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_opening = False
        self._listeners: list[Listener] = []
        self._working: Counter[asyncio.Task[Any] | None] = Counter()  # Active `during` calls by task.
        self.state = SessionState.LOST
        """LOST before it is opened, too."""
        self._calls: sessions.CommandWindow
        self._held: HeldLease

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open it, and begin to keep it alive."""
        if self._is_opening or self._keeper is not None:
            raise RuntimeError("this session is already open; create another one by client.session()")
        self._is_opening = True
        try:
            await self._open()
        finally:
            self._is_opening = False

    async def _open(self) -> None:
        client, body = self._client, plain(OpenSession(self._ttl_ms))
        sent_seconds = client.now()
        # If it is opened twice, the other session expires, since it gets no keep-alive.
        opened = decode_or_raise(
            (await client.run_call(partial(sessions.commit_idempotent, body=body))).result
        )
        assert isinstance(opened, Opened), f"unexpected answer to the opening of a session: {opened}"
        self.lease = opened.session
        self._calls = sessions.CommandWindow(opened.session)
        self._held = HeldLease(opened.ttl_ms / 1000, sent_seconds)
        self._lost.clear()
        self._set_alarm()
        self._become(SessionState.CONNECTED)
        self._keeper = asyncio.get_running_loop().create_task(self._keep_alive())

    async def close(self) -> None:
        """End the session and its lease, and delete the keys attached to it, at once if possible."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        keeper.cancel()
        self._listeners.clear()  # They are called for a loss, not for a close.
        self._lose()
        # If this fails, the lease ends by itself.
        with suppress(ClientError):
            body = plain(Revoke(self.lease))
            await self._client.run_call(partial(sessions.commit_idempotent, body=body), REVOKE_SECONDS_MAX)

    # -- the lease ------------------------------------------------------------------------------

    @property
    def ttl_seconds(self) -> float:
        """How long the lease lasts after a keep-alive."""
        return self._ttl_ms / 1000

    @property
    def remaining_seconds(self) -> float:
        """How long work may continue without another keep-alive; 0 once the lease is lost."""
        if self._lost.is_set():
            return 0.0
        margin_seconds = self._held.ttl_seconds * MARGIN_RATIO
        return max(0.0, self._held.remaining_seconds(self._client.now()) - margin_seconds)

    async def during(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do work while the lease lasts.

        Shortly before it ends, cancels the work and raises LeadershipLost; also if the work raises that a
        request came too late for the lease.
        """
        task = asyncio.ensure_future(work)
        if not self.remaining_seconds:
            self._lose()
        lost = asyncio.ensure_future(self._lost.wait())
        me = asyncio.current_task()
        self._working[me] += 1
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            failure = task.exception() if task.done() and not task.cancelled() else None
            # A request may be refused for the end of the lease before that is noticed here.
            if task.done() and not is_by_loss(failure, self.remaining_seconds):
                return task.result()
        finally:
            lost.cancel()
            if not task.done():
                task.cancel()
                await _ended(task)  # It has the margin to clean up in.
            self._working -= Counter((me,))
        failure = None if task.cancelled() else task.exception()
        raise LeadershipLost(f"the lease {self.lease} was lost") from failure

    def is_working(self, task: asyncio.Task[Any] | None) -> bool:
        """Is that task within `during`, which handles the loss?"""
        return self._working[task] > 0

    async def refresh(self) -> float:
        """Renew the lease for its full time now, besides the automatic keep-alives; returns the seconds left.

        Raises LeadershipLost if it is over.
        """
        left_seconds = self.remaining_seconds
        if not left_seconds or not await self._send_keep_alive(left_seconds):
            self._lose()
            raise LeadershipLost(f"the lease {self.lease} was lost")
        return self.remaining_seconds

    def add_listener(self, listener: Listener) -> None:
        """Call it, in the event loop, with each new state; it must neither block nor raise."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Stop calling it."""
        with suppress(ValueError):
            self._listeners.remove(listener)

    async def wait_lost(self) -> None:
        """Return when the lease is lost, or about to be."""
        await self._lost.wait()

    async def _keep_alive(self) -> None:
        held = self._held
        if not self._release_on_disconnect:  # Otherwise the first keep-alive binds it to the connection.
            await asyncio.sleep(max(0.0, held.next_keep_alive() - self._client.now()))
        while left_seconds := self.remaining_seconds:
            try:
                if not await self._send_keep_alive(left_seconds):
                    break
            except (Rejected, OutcomeUnknown):
                continue
            await asyncio.sleep(max(0.0, held.next_keep_alive() - self._client.now()))
        self._lose()

    async def _send_keep_alive(self, left_seconds: float) -> bool:
        """Send one keep-alive; False if the lease has ended.

        Raises Rejected or OutcomeUnknown after that time.
        """
        held = self._held
        request = KeepAlive(self.lease, self._release_on_disconnect)
        loop = asyncio.get_running_loop()
        unanswered = loop.call_later(held.ttl_seconds / 3, self._become, SessionState.SUSPENDED)
        try:
            asking = partial(sessions.lease_time, request=request)
            answer, sent_seconds = await self._client.run_call(asking, left_seconds)
        finally:
            unanswered.cancel()
        if not answer.left_seconds:
            return False
        held.kept_alive(sent_seconds)
        self._set_alarm()
        self._become(SessionState.CONNECTED)
        return True

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(self.remaining_seconds, self._lose)

    def _lose(self) -> None:
        self._lost.set()
        if self._alarm is not None:
            self._alarm.cancel()
        self._become(SessionState.LOST)

    def _become(self, state: SessionState) -> None:
        if state is self.state or (self._lost.is_set() and state is not SessionState.LOST):
            return
        self.state = state
        for listener in list(self._listeners):
            listener(state)

    # -- exactly-once commands --------------------------------------------------------------------

    async def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Carry out a command exactly once, however often it has to be sent.

        OutcomeUnknown if an attempt was not answered and no later one told its outcome: then once or never.
        SessionExpired if the session had ended before the command could be carried out.
        """
        while self._calls.full:
            self._room.clear()
            await self._room.wait()
        sequence, body = self._calls.begin(cast(Operation, operation))
        try:
            commit_idempotent = partial(sessions.commit_idempotent, body=body, calls=self._calls)
            return cast(
                A, decode_or_raise((await self._client.run_call(commit_idempotent, timeout_seconds)).result)
            )
        except (SessionExpired, OutcomeUnknown) as error:
            if isinstance(error, SessionExpired) or isinstance(error.__cause__, SessionExpired):
                self._lose()
            raise
        finally:
            self._calls.end(sequence)
            self._room.set()

    async def ask(
        self, question: Answered[A], *, stale: bool = False, timeout_seconds: Duration | None = None
    ) -> A:
        """See `AsyncClient.ask`: questions need no session."""
        return await self._client.ask(question, stale=stale, timeout_seconds=timeout_seconds)

    async def await_events(self, watch: Watch, *, timeout_seconds: Duration) -> Events:
        """See `AsyncClient.await_events`."""
        return await self._client.await_events(watch, timeout_seconds=timeout_seconds)

    async def transact(self, transaction: Transaction) -> TransactionDone:
        """Carry out a transaction in one revision."""
        return await self.call(transaction)

    async def own(
        self, body: bytes, *, since_version: int = 1, timeout_seconds: Duration | None = None
    ) -> bytes:
        """A command of a custom machine; see `AsyncClient.command`."""
        operation = Own(checked_body(body), since_version)
        return (await self.call(operation, timeout_seconds=timeout_seconds)).result

    async def execute(
        self, command: TypedCommand[Result], *, timeout_seconds: Duration | None = None
    ) -> Result:
        """A typed command of a custom machine; see `AsyncClient.execute`."""
        needed = version_needed(command)
        answer = await self.own(body_of(command), since_version=needed, timeout_seconds=timeout_seconds)
        return answer_to(command, answer)


async def _ended(task: asyncio.Task[Any]) -> None:
    """Wait until a cancelled task has ended, even if this one is cancelled meanwhile."""
    interrupt: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
