"""Simulated clients with sessions: they count, campaign, make fenced writes, and vanish.

Owns their actions, with the production client's numbering, retries and lease clock. Knows nothing of the
guarantees.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from raft.client.calls.application import decode_or_raise, plain
from raft.client.calls.sessions import CommandWindow, commit_idempotent, lease_time
from raft.client.calls.steps import RetryBudget
from raft.client.errors import ClientError, FenceRejected, OutcomeUnknown, SessionExpired
from raft.lab.checkers.records import Outcome
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.session_checker import SessionCall, SessionChecker
from raft.lab.simulation.setting import Setting
from raft.machines.commands import Campaign, Fence, OpenSession, Operation, Own, Put, Resign
from raft.machines.lease_clock import HeldLease
from raft.machines.results import Answer, Campaigned, Opened
from raft.protocol.client import Committed, KeepAlive, LeaseTime

ELECTION = "office"
GUARDED = b"guarded"
TTLS_MS = (2_000, 4_000, 8_000)
TIMEOUTS_SECONDS = (1.0, 3.0, 10.0)
VANISHING_SHARE = 0.03  # Of all actions: the client silently forgets its session.


class Session:
    """One session, as its client sees it."""

    def __init__(self, opened: Opened, sent_seconds: float) -> None:
        self.lease = opened.session
        self.calls = CommandWindow(opened.session)
        self.held = HeldLease(opened.ttl_ms / 1000, sent_seconds)
        self.token = 0  # While it holds the seat.


class SessionClient:
    """One client, with one command in progress at a time, and keep-alives beside it."""

    def __init__(
        self,
        caller: Caller,
        *,
        setting: Setting,
        event_queue: EventQueue,
        run_log: RunLog,
        session_checker: SessionChecker,
    ) -> None:
        self.name = caller.name
        self.idle = True
        self.counted = 0
        self._caller = caller
        self._event_queue = event_queue
        self._run_log = run_log
        self._session_checker = session_checker
        self._dice = setting.dice(self.name)
        self._think_seconds = setting.think_seconds
        self._may_rely = setting.clocks_agree
        self._stopped = False
        self._session: Session | None = None
        self._token = 0  # The last one gained, perhaps in an earlier session.

    def start(self) -> None:
        """Begin to act."""
        self._event_queue.after(self._dice.expovariate(1 / self._think_seconds), self._act)

    def stop(self) -> None:
        """Stop acting, and let the lease run out."""
        self._stopped = True
        self._session = None

    # -- actions ------------------------------------------------------------------------------------

    def _act(self) -> None:
        if self._stopped:
            return
        if self._session is None or not self._relies(self._session):
            self._open()
            return
        if self._dice.random() < VANISHING_SHARE:
            self._run_log.tell(self.name, f"forgets its session {self._session.lease}")
            self._session = None
            self.start()
            return
        acts = [self._count, self._write] if self._token else [self._count, self._campaign]
        weights = [4, 4]
        if self._token:
            acts += [self._campaign, self._resign]
            weights += [1, 1]
        self._dice.choices(acts, weights)[0](self._session)

    def _count(self, session: Session) -> None:
        self.counted += 1
        self._do(session, Own(f"{self.name}.{self.counted}".encode()))

    def _campaign(self, session: Session) -> None:
        def seated(answer: Answer) -> None:
            if isinstance(answer, Campaigned) and answer.seated:
                self._token = session.token = answer.token

        self._do(session, Campaign(ELECTION, session.lease, wait=False), seated)

    def _write(self, session: Session) -> None:
        self.counted += 1
        fence = Fence(ELECTION, self._token)
        self._do(session, Put(GUARDED, f"{self.name}.{self.counted}".encode(), 0, fence))

    def _resign(self, session: Session) -> None:
        session.token = 0
        self._do(session, Resign(ELECTION, self._token))

    def _do(
        self, session: Session, operation: Operation, then: Callable[[Answer], None] | None = None
    ) -> None:
        session_call = SessionCall(
            client=self.name, operation=operation, called_seconds=self._event_queue.now()
        )
        self._session_checker.all.append(session_call)
        sequence, body = session.calls.begin(operation)
        self.idle = False

        def done(committed: Committed) -> None:
            session.calls.end(sequence)
            session_call.index = committed.index
            try:
                session_call.answer = decode_or_raise(committed.result)
            except FenceRejected as rejected:
                sure = self._may_rely and self._relies(session) and rejected.token == session.token
                assert not sure, f"{self.name} is sure to hold the token {rejected.token}: {rejected}"
                self._end(session_call, "refused")
            except SessionExpired:
                sure = self._may_rely and self._relies(session)
                assert not sure, f"{self.name} relies on its session, which has expired"
                self._end(
                    session_call, "unknown"
                )  # An earlier attempt of the same may have been carried out.
            else:
                if then is not None:
                    then(session_call.answer)
                self._end(session_call, "done")

        def failed(error: ClientError) -> None:
            session.calls.end(sequence)
            self._end(session_call, "unknown" if isinstance(error, OutcomeUnknown) else "refused")

        self._caller.run_call(commit_idempotent(self._caller.view, body, self._tries()), done, failed)

    def _end(self, session_call: SessionCall, outcome: Outcome) -> None:
        session_call.outcome = outcome
        if outcome != "unknown":
            session_call.returned_seconds = self._event_queue.now()
        self._run_log.count(f"session commands {outcome}")
        self._run_log.tell(self.name, f"{session_call.operation}: {session_call.answer or outcome}")
        self._rest()

    def _rest(self) -> None:
        self.idle = True
        if not self._stopped:
            self.start()

    def _tries(self) -> RetryBudget:
        return RetryBudget(self._caller.now, self._dice.choice(TIMEOUTS_SECONDS))

    # -- the lease ----------------------------------------------------------------------------------

    def _relies(self, session: Session) -> bool:
        """Is the lease still this client's, by its own clock?"""
        return session.held.remaining_seconds(self._caller.now()) > 0

    def _open(self) -> None:
        self.idle = False
        self._session = None
        sent_seconds = self._caller.now()
        body = plain(OpenSession(self._dice.choice(TTLS_MS)))

        def done(committed: Committed) -> None:
            opened = decode_or_raise(committed.result)
            assert isinstance(opened, Opened), f"unexpected answer to the opening of a session: {opened}"
            session = Session(opened, sent_seconds)
            if not self._stopped:
                self._session = session
                self._session_checker.relies(session.lease, lambda: self._may_rely and self._relies(session))
                self._run_log.count("sessions opened")
                self._event_queue.after(session.held.ttl_seconds / 3, partial(self._keep_alive, session))
            self._rest()

        self._caller.run_call(
            commit_idempotent(self._caller.view, body, self._tries()), done, lambda _error: self._rest()
        )

    def _keep_alive(self, session: Session) -> None:
        now = self._caller.now()
        left_seconds = session.held.remaining_seconds(now)
        if session is not self._session or not left_seconds:
            return

        def done(told: tuple[LeaseTime, float]) -> None:
            answer, sent_seconds = told
            if not answer.left_seconds:
                return
            session.held.kept_alive(sent_seconds)
            wait_seconds = session.held.next_keep_alive() - self._caller.now()
            self._event_queue.after(max(0.0, wait_seconds), partial(self._keep_alive, session))

        def failed(_error: ClientError) -> None:
            self._event_queue.after(0.01, partial(self._keep_alive, session))

        request = KeepAlive(session.lease)
        tries = RetryBudget(self._caller.now, left_seconds)
        self._caller.run_call(lease_time(self._caller.view, request, tries), done, failed)
