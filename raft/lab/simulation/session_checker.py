"""The commands of session clients, and the guarantees for them.

Owns the guarantees beyond a store's: each command of a session is carried out once, tokens grow with every
leadership, no token passes a fence after a newer one has, and a lease ends for its holder before it ends in
the cluster. Knows nothing of how clients behave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, zip_longest

from msgspec import Struct

from raft.core.types import EntryKind, Index
from raft.lab.checkers.records import Outcome
from raft.lab.simulation.referee import Content
from raft.lab.simulation.tally import Tally
from raft.machines.application import Application
from raft.machines.codec import decode_call, encode_answer
from raft.machines.commands import Campaign, Expire, Operation, Own, Put, WatchKeys
from raft.machines.results import Answer, Campaigned, Done, Event, Events, Stored

NEVER = float("inf")


class Model:
    """One machine that applies the whole log, and nothing else: its answers and events are the true ones."""

    def __init__(self, log: Mapping[Index, tuple[int, Content]], last: Index) -> None:
        self.tally = Tally()
        self.machine = Application(self.tally)
        self.answers: dict[Index, bytes] = {}
        self.events: list[Event] = []
        for index in range(2, last + 1):
            _, (kind, data) = log[index]
            if data and kind is EntryKind.NORMAL:
                self.answers[index] = self.machine.apply(index, data)
                news = self.machine.events_since(WatchKeys(index, b"", None))
                self.events += news.events if isinstance(news, Events) else ()

    def check_watched(self, events: Sequence[Event], following: int) -> None:
        """Check a watcher's events: all that happened before the revision `following`, in order."""
        true = [event for event in self.events if event.revision < following]
        for told, happened in zip_longest(events, true):
            assert told == happened, f"a watcher was told {told} where {happened} happened"


class SessionCall(Struct, kw_only=True):
    """One command of a session. Times are simulated seconds."""

    client: str
    operation: Operation
    called_seconds: float
    returned_seconds: float = NEVER
    outcome: Outcome = "unknown"
    index: Index = 0
    answer: Answer | None = None


class SessionChecker:
    """All commands of all clients. `sure` returns for each lease whether its holder still relies on it."""

    def __init__(self) -> None:
        self.all: list[SessionCall] = []
        self._sure: dict[int, Callable[[], bool]] = {}

    def relies(self, lease: int, sure: Callable[[], bool]) -> None:
        """A client holds a lease."""
        self._sure[lease] = sure

    def committed(self, index: Index, content: Content) -> None:
        """An entry was just committed: no lease may expire that its holder relies on."""
        kind, data = content
        call = decode_call(data) if data and kind is EntryKind.NORMAL else None
        if call is None or not isinstance(call.operation, Expire):
            return
        for lease in call.operation.leases:
            sure = self._sure.get(lease)
            assert sure is None or not sure(), (
                f"the lease {lease} ends at {index}, and its holder relies on it"
            )

    def check(self, model: Model) -> None:
        """Check all commands against the whole log, and against each other."""
        for session_call in self.all:
            if session_call.answer is not None:
                told = f"{session_call.client} was told {session_call.answer} of {session_call.operation}"
                assert encode_answer(session_call.answer) == model.answers.get(session_call.index), (
                    f"{told}, not so at {session_call.index}"
                )
        check_counts(self.all, model.tally.counts)
        check_seats(self.all)
        check_fences(self.all)


def check_counts(session_checker: Sequence[SessionCall], counts: Mapping[bytes, int]) -> None:
    """Exactly once, or at most once if the outcome is unknown; and after all commands that ended before."""
    done = []
    for session_call in session_checker:
        if not isinstance(session_call.operation, Own):
            continue
        count = counts.get(session_call.operation.body, 0)
        allowed = {"done": (1,), "refused": (0,)}.get(session_call.outcome, (0, 1))
        assert count in allowed, (
            f"{session_call.operation.body!r} was counted {count} times and is {session_call.outcome}"
        )
        if isinstance(session_call.answer, Done):
            done.append((session_call, int(session_call.answer.result)))
    done.sort(key=lambda pair: pair[1])
    earliest = NEVER
    for session_call, total in reversed(done):
        assert session_call.called_seconds <= earliest, (
            f"{session_call.client} was told {total} after a higher number"
        )
        earliest = min(earliest, session_call.returned_seconds)


def check_seats(session_checker: Sequence[SessionCall]) -> None:
    """A later seat has a higher token."""
    seats = [
        (session_call.answer.token, session_call)
        for session_call in session_checker
        if isinstance(session_call.operation, Campaign)
        and isinstance(session_call.answer, Campaigned)
        and session_call.answer.token
    ]
    seats.sort(key=lambda seat: seat[0])
    for (token, _), (following, _) in pairwise(seats):
        assert token < following, f"two holders have the token {token}"
    earliest = NEVER
    for token, session_call in reversed(seats):
        assert session_call.called_seconds <= earliest, (
            f"{session_call.client} got the token {token} after a higher one"
        )
        earliest = min(earliest, session_call.returned_seconds)


def check_fences(session_checker: Sequence[SessionCall]) -> None:
    """Once a token has passed the fence, no lower one does."""
    passed = sorted(
        (session_call.answer.revision, session_call.operation.fence.token, session_call.client)
        for session_call in session_checker
        if isinstance(session_call.operation, Put)
        and session_call.operation.fence
        and isinstance(session_call.answer, Stored)
    )
    for (_, before, _), (revision, token, client) in pairwise(passed):
        assert before <= token, f"{client} passes the fence at {revision} with {token} after {before} has"
