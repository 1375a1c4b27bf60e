"""Session commands, lease requests and events as steps: see calls.routing.

Owns the sequence numbers of a session's commands, on which exactly-once rests. Knows nothing of sockets or
event loops.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from actors.errors import AskFailed, Undeliverable
from raft.client.calls.application import call_bytes, decode_or_raise, question_bytes
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.routing import (
    ask,
    await_slow_answer,
    explain_undeliverable,
    handle_refusal,
    refresh_members,
    wait_before_retry,
)
from raft.client.calls.steps import Ask, AwaitChannel, Outcome, RetryBudget, Step
from raft.client.errors import CommandRefused, EventsForgotten, OutcomeUnknown, Rejected, SessionExpired
from raft.client.failure_detector import ANSWER_SECONDS_MAX
from raft.client.watches.channels import Channel, Channels
from raft.machines import results
from raft.machines.codec import is_answers_full, is_of_session
from raft.machines.commands import SESSION_WINDOW, Call, Operation, Transaction, Watch
from raft.protocol.client import (
    AwaitEvents,
    Command,
    Committed,
    KeepAlive,
    LeaseTime,
    QueryResult,
    TimeLeft,
    Unknown,
    WatchOpened,
)

# How long a node holds a request for events while there are none (long polling).
LONG_POLL_SECONDS = 1.0


NOTHING = Transaction((), ())


class CommandWindow:
    """The commands of one session: their sequence numbers, and up to which one all are settled."""

    def __init__(self, session: int) -> None:
        self.session = session
        self._last = 0
        self._open: set[int] = set()
        self._acknowledged = 0  # By an answered command that had no other purpose.
        self._acknowledging = False

    @property
    def full(self) -> bool:
        """Are so many commands open that another one would be refused?"""
        return bool(self._open) and self._last + 1 - min(self._open) >= SESSION_WINDOW

    def begin(self, operation: Operation) -> tuple[int, bytes]:
        """The sequence number and bytes of a new command. Raises CommandRefused if it exceeds a limit."""
        assert not self.full, "the session's window is full"
        sequence = self._last + 1
        acknowledged = min(self._open, default=sequence) - 1
        body = call_bytes(Call(self.session, sequence, acknowledged, operation))
        self._last = sequence
        self._open.add(sequence)
        return sequence, body

    def end(self, sequence: int) -> None:
        """The command has its answer, or will not be asked for it again."""
        self._open.discard(sequence)

    def acknowledge(self, view: ClusterView, budget: RetryBudget) -> Generator[Step, Outcome, None]:
        """Acknowledge the answers that have arrived, by a command that does nothing else.

        If there are new ones.
        """
        acknowledged = min(self._open, default=self._last + 1) - 1
        if self._acknowledging or acknowledged <= self._acknowledged:
            return
        self._acknowledging = True
        self._last += 1
        sequence = self._last
        self._open.add(sequence)
        try:
            body = call_bytes(Call(self.session, sequence, acknowledged, NOTHING))
            answer = yield from ask(view, view.choose(0, budget.now()), Command(body), budget)
            if isinstance(answer, Committed):
                self._acknowledged = acknowledged
        finally:
            self._acknowledging = False
            self.end(sequence)


# -- calls ---------------------------------------------------------------------------------------


def commit_idempotent(
    view: ClusterView, body: bytes, budget: RetryBudget, calls: CommandWindow | None = None
) -> Generator[Step, Outcome, Committed]:
    """Commit a command that may be in the log any number of times: repeat it until it is answered.

    The same bytes are sent each time, so a session applies them once. Once an attempt has ended unknown, only
    an answer to the command itself settles it: that the session has expired, or that a node refuses such
    commands, says nothing about that attempt. Then, or when the time is up, raises OutcomeUnknown. With the
    session's `calls`, waits while the session's unacknowledged answers take too many bytes.
    """
    doubt = ""
    try:
        while True:
            node = view.choose(budget.begin_attempt(), budget.now())
            answer = yield from ask(view, node, Command(body), budget)
            answer = yield from await_slow_answer(node, answer, budget)
            if isinstance(answer, Committed):
                view.leader = node
                yield from refresh_members(view, node, answer, budget)
                if calls is not None and is_answers_full(answer.result):
                    budget.note_failure(Rejected, "the session's unacknowledged answers take too many bytes")
                    yield from calls.acknowledge(view, budget)
                    yield from wait_before_retry(view, budget)
                    continue
                if doubt and is_of_session(answer.result):
                    decode_or_raise(answer.result)
                return answer
            if isinstance(answer, Unknown):
                doubt = answer.reason
            elif isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable):
                doubt = f"node {node} may or may not have taken the command: {answer}"
            if not handle_refusal(view, node, answer, budget):
                yield from wait_before_retry(view, budget)
    except (Rejected, CommandRefused, SessionExpired) as error:
        if not doubt:
            raise
        raise OutcomeUnknown(f"{doubt}; then: {error}") from error


def lease_time(
    view: ClusterView, request: KeepAlive | TimeLeft, budget: RetryBudget
) -> Generator[Step, Outcome, tuple[LeaseTime, float]]:
    """Ask the leader about a lease; returns the answer, and when the answered request was sent."""
    while True:
        node = view.choose(budget.begin_attempt(), budget.now())
        sent_seconds = budget.now()
        answer = yield from ask(view, node, request, budget)
        if isinstance(answer, LeaseTime):
            view.leader = node
            return answer, sent_seconds
        if not handle_refusal(view, node, answer, budget):
            yield from wait_before_retry(view, budget)


def next_events(
    view: ClusterView, watch: Watch, budget: RetryBudget, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Step, Outcome, results.Events]:
    """As `await_events`, but by the shared channel: one message serves all iterators over the range.

    An iterator that is behind the events kept there asks a node for the rest.
    """
    if view.channels is None:
        return (yield from await_events(view, watch, budget))
    channel = view.channels.of(watch)
    while True:
        told = channel.take(watch)
        if told is not None:
            return told
        if cancelled():
            return results.Events((), watch.revision, watch.revision, watch.skip)
        if channel.node and not view.is_up(channel.node):
            channel.lost()
        if not channel.reaches(watch):
            return (yield from await_events(view, watch, budget))
        if not channel.node:
            yield from _open_watch(view, view.channels, channel, watch, budget)
            continue
        yield AwaitChannel(channel)


def _open_watch(
    view: ClusterView, channels: Channels, channel: Channel, watch: Watch, budget: RetryBudget
) -> Generator[Step, Outcome, None]:
    """Open a watch at a node."""
    node = view.choose(budget.begin_attempt(), budget.now())
    request = channels.begin(channel, node, watch)
    answer = yield from ask(view, node, request, budget)
    if isinstance(answer, WatchOpened):
        return
    if channel.number == request.number:
        channel.lost()
    if not handle_refusal(view, node, answer, budget):
        yield from wait_before_retry(view, budget)


def await_events(
    view: ClusterView, watch: Watch, budget: RetryBudget, hold_seconds: float = LONG_POLL_SECONDS
) -> Generator[Step, Outcome, results.Events]:
    """Wait for events at any node, up to `hold_seconds` while there are none."""
    request = AwaitEvents(question_bytes(watch), hold_seconds)
    while True:
        node = view.choose(budget.begin_attempt(), budget.now())
        outcome = yield Ask(node, request, hold_seconds + ANSWER_SECONDS_MAX)
        answer = yield from explain_undeliverable(view, node, outcome, budget)
        if isinstance(answer, QueryResult):
            yield from refresh_members(view, node, answer, budget)
            told = decode_or_raise(answer.result)
            if isinstance(told, results.Compacted):
                raise EventsForgotten(told.revision)
            assert isinstance(told, results.Events), f"unexpected answer to a watch: {told}"
            return told
        if not handle_refusal(view, node, answer, budget):
            yield from wait_before_retry(view, budget)
