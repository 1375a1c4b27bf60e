"""Sessions: every command carried out once, however often it is in the log (thesis section 6.3).

Owns the answers that clients may still ask for, and tells a retry from a new command. A session is named by
the log index that opened it, and so is its lease; it ends with that. Knows nothing of what commands do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from zlib import crc32

from msgspec import Struct

from raft.machines.commands import SESSION_BYTES_MAX, SESSION_WINDOW, Call
from raft.machines.results import (
    Acknowledged,
    AnswersFull,
    Refusal,
    Refused,
    SequenceReused,
    SessionExpired,
    WindowFull,
)
from raft.machines.table import Table


class Kept(Struct, frozen=True, array_like=True, gc=False):
    """The answer to a command that has been carried out, and the checksum of that command."""

    checksum: int
    answer: bytes


KEPT_APART: Final = b""
"""In place of an answer: the command is in the log, and the user's own machine keeps what it answers."""


class Session(Struct, gc=False):
    """All sequences up to `acknowledged` are settled; of those beyond it, these have been carried out."""

    acknowledged: int = 0
    kept: dict[int, Kept] = {}
    kept_bytes: int = 0

    def keep(self, sequence: int, kept: Kept) -> None:
        """Remember an answer."""
        self.kept[sequence] = kept
        self.kept_bytes += len(kept.answer)

    def forget(self, acknowledged: int) -> None:
        """Let go of answers that won't be asked for; no more than a window of them was ever kept."""
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
    """The sessions whose leases last."""

    def __init__(self) -> None:
        self._table: Table[int, Session] = Table()
        self.size_bytes = 0
        """What all kept answers come to."""

    def __len__(self) -> int:
        return len(self._table)

    def open(self, index: int) -> None:
        """Begin a session."""
        self._table.put(index, Session())

    def acknowledged(self, number: int) -> int:
        """Up to which sequence a session that lasts has settled everything."""
        return self._table.live[number].acknowledged

    def of(self, number: int) -> Session:
        """A session to be changed, begun if it is not there yet."""
        if number not in self._table.live:
            self.open(number)
        return self._table.own(number, _copy)

    def drop(self, leases: Iterable[int]) -> None:
        """End the sessions whose leases have ended."""
        for lease in leases:
            if lease in self._table.live:
                self.size_bytes -= self._table.pop(lease).kept_bytes

    def forget(self, session: Session, acknowledged: int) -> None:
        """Let go of answers that won't be asked for, of a session to be changed."""
        self.size_bytes -= session.kept_bytes
        session.forget(acknowledged)
        self.size_bytes += session.kept_bytes

    def remember(self, session: Session, sequence: int, kept: Kept) -> None:
        """Keep an answer, in a session to be changed."""
        session.keep(sequence, kept)
        self.size_bytes += len(kept.answer)

    def settled(self, call: Call, command: bytes) -> bytes | Refusal | None:
        """The answer to a command that is not to be carried out, again or at all; None for one that is.

        KEPT_APART for one that the user's own machine has the answer to.
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
        # The first one always fits: nothing can be acknowledged before it, so it could never be done.
        if session.kept_bytes > SESSION_BYTES_MAX and sequence > session.acknowledged + 1:
            return AnswersFull(session.acknowledged, session.kept_bytes)
        return None

    def keep(self, call: Call, command: bytes, answer: bytes) -> None:
        """Remember the answer to a command just carried out, unless it has ended its own session."""
        if call.session in self._table.live:
            self.remember(self.of(call.session), call.sequence, Kept(crc32(command), answer))

    def snapshot(self) -> list[SessionState]:
        """Everything, oldest session first."""
        return [_state(number, session) for number, session in self._table.items()]

    def frozen(self) -> Iterator[SessionState]:
        """The same, as of this moment, to be drawn later."""
        return (_state(number, session) for number, session in self._table.frozen())

    def restore(self, sessions: Iterable[SessionState]) -> None:
        """Become what `snapshot` gave."""
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
