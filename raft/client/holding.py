"""Sessions, leases and events, step by step.

Owns the numbering of a session's commands, on which exactly-once rests, and the conversations about
leases and events. Knows nothing of sockets or event loops.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from actors.errors import AskFailed, Undeliverable
from raft.client.application import call_bytes, meaning, question_bytes
from raft.client.channels import Channel, Channels
from raft.client.conversation import (
    Ask,
    Attempts,
    Book,
    Hear,
    Outcome,
    Step,
    ask,
    explained,
    keep_up,
    rest,
    take_refusal,
    worked_on,
)
from raft.client.errors import CommandRefused, EventsForgotten, OutcomeUnknown, Rejected, SessionExpired
from raft.client.patience import PATIENCE_SECONDS_MAX
from raft.machines import answers
from raft.machines.encoding import is_answers_full, is_of_session
from raft.machines.operations import SESSION_WINDOW, Call, Operation, Transaction, Watch
from raft.requests import (
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

    def acknowledge(self, book: Book, attempts: Attempts) -> Generator[Step, Outcome, None]:
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
            answer = yield from ask(book, book.choose(0, attempts.now()), Command(body), attempts)
            if isinstance(answer, Committed):
                self._acknowledged = acknowledged
        finally:
            self._acknowledging = False
            self.end(sequence)


# -- conversations -------------------------------------------------------------------------------


def settle(
    book: Book, body: bytes, attempts: Attempts, calls: Calls | None = None
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
            node = book.choose(attempts.begin(), attempts.now())
            answer = yield from ask(book, node, Command(body), attempts)
            answer = yield from worked_on(node, answer, attempts)
            if isinstance(answer, Committed):
                book.leader = node
                yield from keep_up(book, node, answer, attempts)
                if calls is not None and is_answers_full(answer.result):
                    attempts.note(Rejected, "the answers that the session keeps have too many bytes")
                    yield from calls.acknowledge(book, attempts)
                    yield from rest(book, attempts)
                    continue
                if doubt and is_of_session(answer.result):
                    meaning(answer.result)
                return answer
            if isinstance(answer, Unknown):
                doubt = answer.reason
            elif isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable):
                doubt = f"node {node} may or may not have taken the command: {answer}"
            if not take_refusal(book, node, answer, attempts):
                yield from rest(book, attempts)
    except (Rejected, CommandRefused, SessionExpired) as error:
        if not doubt:
            raise
        raise OutcomeUnknown(f"{doubt}; then: {error}") from error


def lease_time(
    book: Book, request: KeepAlive | TimeLeft, attempts: Attempts
) -> Generator[Step, Outcome, tuple[LeaseTime, float]]:
    """Ask the leader about a lease; the answer, and when the question was sent that it answers."""
    while True:
        node = book.choose(attempts.begin(), attempts.now())
        sent_seconds = attempts.now()
        answer = yield from ask(book, node, request, attempts)
        if isinstance(answer, LeaseTime):
            book.leader = node
            return answer, sent_seconds
        if not take_refusal(book, node, answer, attempts):
            yield from rest(book, attempts)


def followed(
    book: Book, watch: Watch, attempts: Attempts, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Step, Outcome, answers.Events]:
    """As `news`, by the channel of what is watched, so that one message serves all who wait for the same.

    Who has fallen behind what is kept there asks for the rest.
    """
    if book.channels is None:
        return (yield from news(book, watch, attempts))
    channel = book.channels.of(watch)
    while True:
        told = channel.take(watch)
        if told is not None:
            return told
        if cancelled():
            return answers.Events((), watch.revision, watch.revision, watch.skip)
        if channel.node and not book.is_up(channel.node):
            channel.lost()
        if not channel.reaches(watch):
            return (yield from news(book, watch, attempts))
        if not channel.node:
            yield from _open(book, book.channels, channel, watch, attempts)
            continue
        yield Hear(channel)


def _open(
    book: Book, channels: Channels, channel: Channel, watch: Watch, attempts: Attempts
) -> Generator[Step, Outcome, None]:
    """Have a node tell what happens."""
    node = book.choose(attempts.begin(), attempts.now())
    request = channels.begin(channel, node, watch)
    answer = yield from ask(book, node, request, attempts)
    if isinstance(answer, WatchOpened):
        return
    if channel.number == request.number:
        channel.lost()
    if not take_refusal(book, node, answer, attempts):
        yield from rest(book, attempts)


def news(
    book: Book, watch: Watch, attempts: Attempts, hold_seconds: float = HOLD_SECONDS
) -> Generator[Step, Outcome, answers.Events]:
    """Wait for events, so long at most if there are none; any node may tell them."""
    request = AwaitEvents(question_bytes(watch), hold_seconds)
    while True:
        node = book.choose(attempts.begin(), attempts.now())
        outcome = yield Ask(node, request, hold_seconds + PATIENCE_SECONDS_MAX)
        answer = yield from explained(book, node, outcome, attempts)
        if isinstance(answer, QueryResult):
            yield from keep_up(book, node, answer, attempts)
            told = meaning(answer.result)
            if isinstance(told, answers.Compacted):
                raise EventsForgotten(told.revision)
            assert isinstance(told, answers.Events), f"a watch is not answered by {told}"
            return told
        if not take_refusal(book, node, answer, attempts):
            yield from rest(book, attempts)
