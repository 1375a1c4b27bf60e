"""Sessions: every command carried out once, however often it is in the log (thesis section 6.3).

Theory of operation. A client numbers the commands of its session 1, 2, 3, ... and sends with each the highest
sequence up to which it knows all answers (`acknowledged`). For each session the machine keeps `acknowledged`
and the answers after it, at most SESSION_WINDOW of them and about SESSION_BYTES_MAX bytes. A command with

- a sequence whose answer is kept is a retry, and gets that answer (SequenceReused if its bytes differ);
- a sequence up to `acknowledged` is a late copy, and gets `Acknowledged` without an effect;
- a sequence beyond the window or the limit of bytes gets `WindowFull` or `AnswersFull`, without an effect;
- any other sequence is new: it is carried out, and its answer is kept until it is acknowledged.

So commands may overtake each other within the window, and each is carried out at most once. That holds as
long as the session lasts: it ends with its lease, and its commands get `SessionExpired` from then on.

Owns the kept answers. A session and its lease are named by the log index of the command that opened it.
Knows nothing of what commands do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from zlib import crc32

from msgspec import Struct

from raft.machines.commands import SESSION_BYTES_MAX, SESSION_WINDOW, Call
from raft.machines.keys import Table
from raft.machines.results import (
    Acknowledged,
    AnswersFull,
    Refusal,
    Refused,
    SequenceReused,
    SessionExpired,
    WindowFull,
)


class Kept(Struct, frozen=True, array_like=True, gc=False):
    """The answer to a command that has been carried out, and the checksum of that command."""

    checksum: int
    answer: bytes


KEPT_BY_OWN_MACHINE: Final = b""
"""In place of an answer: the user's own machine keeps the answer to this command."""


class Session(Struct, gc=False):
    """All sequences up to `acknowledged` are done with; of those beyond it, `kept` were carried out."""

    acknowledged: int = 0
    kept: dict[int, Kept] = {}
    kept_bytes: int = 0

    def keep(self, sequence: int, kept: Kept) -> None:
        """Remember an answer."""
        self.kept[sequence] = kept
        self.kept_bytes += len(kept.answer)

    def forget(self, acknowledged: int) -> None:
        """Remove acknowledged answers; at most a window of them is ever kept."""
        kept, before = self.kept, self.acknowledged
        for sequence in range(before + 1, min(acknowledged, before + SESSION_WINDOW) + 1):
            settled = kept.pop(sequence, None)
            if settled is not None:
                self.kept_bytes -= len(settled.answer)
        self.acknowledged = max(before, acknowledged)


class SessionState(Struct, frozen=True, array_like=True):
    """A session in a snapshot."""

    session: int
    acknowledged: int
    kept: tuple[tuple[int, Kept], ...]


class Sessions:
    """All sessions that have not ended."""

    def __init__(self) -> None:
        self._table: Table[int, Session] = Table()
        self.size_bytes = 0
        """The total size of all kept answers."""

    def __len__(self) -> int:
        return len(self._table)

    def open(self, index: int) -> None:
        """Open a session."""
        self._table.put(index, Session())

    def acknowledged(self, number: int) -> int:
        """The sequence up to which an open session has acknowledged all answers."""
        return self._table.live[number].acknowledged

    def of(self, number: int) -> Session:
        """A session that the caller may change, opened if missing."""
        if number not in self._table.live:
            self.open(number)
        return self._table.own(number, _copy)

    def drop(self, leases: Iterable[int]) -> None:
        """End the sessions whose leases have ended."""
        for lease in leases:
            if lease in self._table.live:
                self.size_bytes -= self._table.pop(lease).kept_bytes

    def forget(self, session: Session, acknowledged: int) -> None:
        """Remove acknowledged answers of a session that came from `of`."""
        self.size_bytes -= session.kept_bytes
        session.forget(acknowledged)
        self.size_bytes += session.kept_bytes

    def remember(self, session: Session, sequence: int, kept: Kept) -> None:
        """Keep an answer in a session that came from `of`."""
        session.keep(sequence, kept)
        self.size_bytes += len(kept.answer)

    def settled(self, call: Call, command: bytes) -> bytes | Refusal | None:
        """The answer to a command that must not be carried out; None for a new command.

        KEPT_BY_OWN_MACHINE if the user's own machine keeps the answer.
        """
        session = self._table.live.get(call.session)
        if session is None:
            return SessionExpired(call.session)
        sequence, acknowledged = call.sequence, call.acknowledged
        if not 0 <= acknowledged < sequence:
            return Refused(f"command {sequence} can't acknowledge the answers up to {acknowledged}")
        kept = session.kept.get(sequence)
        if kept is not None:
            if kept.checksum != crc32(command):
                return SequenceReused(call.session, sequence)
            return kept.answer
        if sequence <= session.acknowledged:
            return Acknowledged(sequence)
        if acknowledged > session.acknowledged:
            session = self.of(call.session)
            self.forget(session, acknowledged)
        if sequence > session.acknowledged + SESSION_WINDOW:
            return WindowFull(session.acknowledged)
        # The first one is always accepted: nothing before it can be acknowledged to make room.
        if session.kept_bytes > SESSION_BYTES_MAX and sequence > session.acknowledged + 1:
            return AnswersFull(session.acknowledged, session.kept_bytes)
        return None

    def keep(self, call: Call, command: bytes, answer: bytes) -> None:
        """Remember the answer to a command just carried out, unless it has ended its own session."""
        if call.session in self._table.live:
            self.remember(self.of(call.session), call.sequence, Kept(crc32(command), answer))

    def snapshot(self) -> list[SessionState]:
        """The state of all sessions, oldest first."""
        return [_state(number, session) for number, session in self._table.items()]

    def frozen(self) -> Iterator[SessionState]:
        """The same for this moment, read lazily."""
        return (_state(number, session) for number, session in self._table.frozen())

    def restore(self, sessions: Iterable[SessionState]) -> None:
        """Restore the state of an earlier `snapshot`."""
        self._table.fill((it.session, _session(it)) for it in sessions)
        self.size_bytes = sum(session.kept_bytes for session in self._table.live.values())


def _copy(session: Session) -> Session:
    return Session(session.acknowledged, session.kept.copy(), session.kept_bytes)


def _session(state: SessionState) -> Session:
    return Session(state.acknowledged, dict(state.kept), sum(len(kept.answer) for _, kept in state.kept))


def _state(number: int, session: Session) -> SessionState:
    return SessionState(number, session.acknowledged, tuple(sorted(session.kept.items(), key=_sequence)))


def _sequence(pair: tuple[int, object]) -> int:
    return pair[0]
