"""A session in an event loop: commands carried out exactly once, and a lease that is kept alive meanwhile.

Owns the holder's side of a lease: time counts from when the last keep-alive that was answered was sent,
so the holder knows that it has lost it before the cluster does. Nothing of it outlives `close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from raft.client import holding
from raft.client.application import checked_body, meaning, plain
from raft.client.asyncio_keys import AsyncKeys
from raft.client.errors import ClientError, LeadershipLost, OutcomeUnknown, Rejected, SessionExpired
from raft.durations import Duration, ttl_ms_of
from raft.machines.answers import Opened, TransactionDone
from raft.machines.lease_clock import HeldLease
from raft.machines.operations import Answered, OpenSession, Operation, Own, Revoke, Transaction
from raft.machines.typed import TypedCommand, answer_to, body_of
from raft.requests import KeepAlive

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient

Result = TypeVar("Result")
A = TypeVar("A")

# The last part of a lease is for the work to wind up in, once it is told to.
MARGIN_RATIO = 0.1
REVOKE_SECONDS_MAX = 1.0


class AsyncSession(AsyncKeys):
    """An open session, as an asynchronous context manager. Calls may run concurrently.

    `lease` is its number, and that of its lease; keys that are put with it go when the session ends.
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
        self._calls: holding.Calls
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
            raise RuntimeError("this session is open already; make another one by client.session()")
        self._is_opening = True
        try:
            await self._open()
        finally:
            self._is_opening = False

    async def _open(self) -> None:
        client, body = self._client, plain(OpenSession(self._ttl_ms))
        sent_seconds = client.now()
        # Should it be opened twice, nobody keeps the other one alive.
        opened = meaning((await client.converse(partial(holding.settle, body=body))).result)
        assert isinstance(opened, Opened), f"opening a session is not answered by {opened}"
        self.lease = opened.session
        self._calls = holding.Calls(opened.session)
        self._held = HeldLease(opened.ttl_ms / 1000, sent_seconds)
        self._lost.clear()
        self._set_alarm()
        self._keeper = asyncio.get_running_loop().create_task(self._keep_alive())

    async def close(self) -> None:
        """End the session and its lease, and with it all that hangs on that; at once if it can be done."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        keeper.cancel()
        self._lose()
        # Whatever hinders it, the lease ends by itself.
        with suppress(ClientError):
            body = plain(Revoke(self.lease))
            await self._client.converse(partial(holding.settle, body=body), REVOKE_SECONDS_MAX)

    # -- the lease ------------------------------------------------------------------------------

    @property
    def ttl_seconds(self) -> float:
        """How long the lease lasts after a keep-alive."""
        return self._ttl_ms / 1000

    @property
    def remaining_seconds(self) -> float:
        """For how long work may go on without another keep-alive; 0 once the lease is lost."""
        if self._lost.is_set():
            return 0.0
        margin_seconds = self._held.ttl_seconds * MARGIN_RATIO
        return max(0.0, self._held.remaining_seconds(self._client.now()) - margin_seconds)

    async def during(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something while the lease lasts; cancelled, and LeadershipLost, a while before it runs out."""
        task = asyncio.ensure_future(work)
        if not self.remaining_seconds:
            self._lose()
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            lost.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))  # It has the margin to wind up in.
        failure = None if task.cancelled() else task.exception()
        raise LeadershipLost(f"the lease {self.lease} was lost") from failure

    async def wait_lost(self) -> None:
        """Return when the lease is lost, or about to be."""
        await self._lost.wait()

    async def _keep_alive(self) -> None:
        client, held = self._client, self._held
        request = KeepAlive(self.lease, self._release_on_disconnect)
        if not self._release_on_disconnect:  # Else it is bound to the connection by the first one.
            await asyncio.sleep(max(0.0, held.next_keep_alive() - client.now()))
        while self.remaining_seconds:
            try:
                answer, sent_seconds = await client.converse(
                    partial(holding.lease_time, request=request), self.remaining_seconds
                )
            except (Rejected, OutcomeUnknown):
                continue
            if not answer.left_seconds:
                break
            held.kept_alive(sent_seconds)
            self._set_alarm()
            await asyncio.sleep(max(0.0, held.next_keep_alive() - client.now()))
        self._lose()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(self.remaining_seconds, self._lose)

    def _lose(self) -> None:
        self._lost.set()
        if self._alarm is not None:
            self._alarm.cancel()

    # -- commands, each carried out once ----------------------------------------------------------

    async def call(self, operation: Answered[A], *, timeout_seconds: Duration | None = None) -> A:
        """Have a command carried out exactly once, however often it has to be sent.

        OutcomeUnknown if a try was not answered and no later one told what became of it: then once or
        never. SessionExpired if the session had ended before the command could be carried out.
        """
        while self._calls.full:
            self._room.clear()
            await self._room.wait()
        sequence, body = self._calls.begin(cast(Operation, operation))
        try:
            settle = partial(holding.settle, body=body, calls=self._calls)
            return cast(A, meaning((await self._client.converse(settle, timeout_seconds)).result))
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

    async def transact(self, transaction: Transaction) -> TransactionDone:
        """Compare, then do one thing or the other, as one revision."""
        return await self.call(transaction)

    async def own(self, body: bytes, *, timeout_seconds: Duration | None = None) -> bytes:
        """A command of one's own machine."""
        return (await self.call(Own(checked_body(body)), timeout_seconds=timeout_seconds)).result

    async def execute(
        self, command: TypedCommand[Result], *, timeout_seconds: Duration | None = None
    ) -> Result:
        """A typed command of one's own machine; see `AsyncClient.execute`."""
        return answer_to(command, await self.own(body_of(command), timeout_seconds=timeout_seconds))
