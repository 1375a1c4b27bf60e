"""Sessions, leases and events, step by step.

Owns the numbering of a session's commands, on which exactly-once rests, and the conversations about
leases and events. Knows nothing of sockets or event loops.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from actors.errors import AskFailed, Undeliverable
from raft.client.calls.application import call_bytes, decode_or_raise, question_bytes
from raft.client.calls.routing import (
    Ask,
    ClusterView,
    Hear,
    Outcome,
    RetryBudget,
    Step,
    ask,
    explained,
    keep_up,
    rest,
    take_refusal,
    worked_on,
)
from raft.client.errors import CommandRefused, EventsForgotten, OutcomeUnknown, Rejected, SessionExpired
from raft.client.failure_detector import PATIENCE_SECONDS_MAX
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

# How long a node keeps somebody waiting who asks for events that there are none of.
HOLD_SECONDS = 1.0


NOTHING = Transaction((), ())


class Calls:
    """The commands of one session: their numbers, and up to which one all are settled."""

    def __init__(self, session: int) -> None:
        self.session = session
        self._last = 0
        self._open: set[int] = set()
        self._acknowledged = 0  # Said by a command that was answered, and had no other purpose.
        self._acknowledging = False

    @property
    def full(self) -> bool:
        """So many are open that one more would be turned down."""
        return bool(self._open) and self._last + 1 - min(self._open) >= SESSION_WINDOW

    def begin(self, operation: Operation) -> tuple[int, bytes]:
        """The number and the bytes of a new command; CommandRefused for one beyond the limits."""
        assert not self.full, "the session's window is full"
        sequence = self._last + 1
        acknowledged = min(self._open, default=sequence) - 1
        body = call_bytes(Call(self.session, sequence, acknowledged, operation))
        self._last = sequence
        self._open.add(sequence)
        return sequence, body

    def end(self, sequence: int) -> None:
        """The command has its answer, or its answer will not be asked for any more."""
        self._open.discard(sequence)

    def acknowledge(self, view: ClusterView, budget: RetryBudget) -> Generator[Step, Outcome, None]:
        """Say which answers have arrived, by a command that does nothing else, if there is anything new."""
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


# -- conversations -------------------------------------------------------------------------------


def settle(
    view: ClusterView, body: bytes, budget: RetryBudget, calls: Calls | None = None
) -> Generator[Step, Outcome, Committed]:
    """Have a command committed that does the same however often it is in the log: ask till it is answered.

    The same bytes again and again, so a session carries them out once. Once a try has ended unknown, only
    an answer to the command itself settles it: that the session has expired, or that a node turns such
    commands down, says nothing of that try. OutcomeUnknown then, or if the time is up. With the session's
    `calls`, waits while the answers that it keeps have too many bytes.
    """
    doubt = ""
    try:
        while True:
            node = view.choose(budget.begin(), budget.now())
            answer = yield from ask(view, node, Command(body), budget)
            answer = yield from worked_on(node, answer, budget)
            if isinstance(answer, Committed):
                view.leader = node
                yield from keep_up(view, node, answer, budget)
                if calls is not None and is_answers_full(answer.result):
                    budget.note(Rejected, "the answers that the session keeps have too many bytes")
                    yield from calls.acknowledge(view, budget)
                    yield from rest(view, budget)
                    continue
                if doubt and is_of_session(answer.result):
                    decode_or_raise(answer.result)
                return answer
            if isinstance(answer, Unknown):
                doubt = answer.reason
            elif isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable):
                doubt = f"node {node} may or may not have taken the command: {answer}"
            if not take_refusal(view, node, answer, budget):
                yield from rest(view, budget)
    except (Rejected, CommandRefused, SessionExpired) as error:
        if not doubt:
            raise
        raise OutcomeUnknown(f"{doubt}; then: {error}") from error


def lease_time(
    view: ClusterView, request: KeepAlive | TimeLeft, budget: RetryBudget
) -> Generator[Step, Outcome, tuple[LeaseTime, float]]:
    """Ask the leader about a lease; the answer, and when the question was sent that it answers."""
    while True:
        node = view.choose(budget.begin(), budget.now())
        sent_seconds = budget.now()
        answer = yield from ask(view, node, request, budget)
        if isinstance(answer, LeaseTime):
            view.leader = node
            return answer, sent_seconds
        if not take_refusal(view, node, answer, budget):
            yield from rest(view, budget)


def followed(
    view: ClusterView, watch: Watch, budget: RetryBudget, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Step, Outcome, results.Events]:
    """As `news`, by the channel of what is watched, so that one message serves all who wait for the same.

    Who has fallen behind what is kept there asks for the rest.
    """
    if view.channels is None:
        return (yield from news(view, watch, budget))
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
            return (yield from news(view, watch, budget))
        if not channel.node:
            yield from _open(view, view.channels, channel, watch, budget)
            continue
        yield Hear(channel)


def _open(
    view: ClusterView, channels: Channels, channel: Channel, watch: Watch, budget: RetryBudget
) -> Generator[Step, Outcome, None]:
    """Have a node tell what happens."""
    node = view.choose(budget.begin(), budget.now())
    request = channels.begin(channel, node, watch)
    answer = yield from ask(view, node, request, budget)
    if isinstance(answer, WatchOpened):
        return
    if channel.number == request.number:
        channel.lost()
    if not take_refusal(view, node, answer, budget):
        yield from rest(view, budget)


def news(
    view: ClusterView, watch: Watch, budget: RetryBudget, hold_seconds: float = HOLD_SECONDS
) -> Generator[Step, Outcome, results.Events]:
    """Wait for events, so long at most if there are none; any node may tell them."""
    request = AwaitEvents(question_bytes(watch), hold_seconds)
    while True:
        node = view.choose(budget.begin(), budget.now())
        outcome = yield Ask(node, request, hold_seconds + PATIENCE_SECONDS_MAX)
        answer = yield from explained(view, node, outcome, budget)
        if isinstance(answer, QueryResult):
            yield from keep_up(view, node, answer, budget)
            told = decode_or_raise(answer.result)
            if isinstance(told, results.Compacted):
                raise EventsForgotten(told.revision)
            assert isinstance(told, results.Events), f"a watch is not answered by {told}"
            return told
        if not take_refusal(view, node, answer, budget):
            yield from rest(view, budget)
