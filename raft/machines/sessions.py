"""Sessions: every command carried out once, however often it is in the log (thesis section 6.3).

Owns the answers that clients may still ask for, and tells a retry from a new command. A session is named by
the log index that opened it, and so is its lease; it ends with that. Knows nothing of what commands do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

from msgspec import Struct

from raft.machines.answers import (
    Acknowledged,
    AnswersFull,
    Refusal,
    Refused,
    SequenceReused,
    SessionExpired,
    WindowFull,
)
from raft.machines.operations import SESSION_BYTES_MAX, SESSION_WINDOW, Call


class Kept(Struct, frozen=True, array_like=True, gc=False):
    """The answer to a command that has been carried out, and the checksum of that command."""

    checksum: int
    answer: bytes


class Session(Struct, gc=False):
    """All sequences up to `acknowledged` are settled; of those beyond it, these have been carried out."""

    acknowledged: int = 0
    kept: dict[int, Kept] = {}
    kept_bytes: int = 0


class SessionState(Struct, frozen=True, array_like=True):
    """A session in a snapshot."""

    session: int
    acknowledged: int
    kept: tuple[tuple[int, Kept], ...]


class Sessions:
    """The sessions whose leases last."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}

    def open(self, index: int) -> None:
        """Begin a session."""
        self._sessions[index] = Session()

    def drop(self, leases: Iterable[int]) -> None:
        """End the sessions whose leases have ended."""
        for lease in leases:
            self._sessions.pop(lease, None)

    def settled(self, call: Call, command: bytes) -> bytes | Refusal | None:
        """The answer to a command that is not to be carried out, again or at all; None for one that is."""
        session = self._sessions.get(call.session)
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
            _forget(session, acknowledged)
        if sequence > session.acknowledged + SESSION_WINDOW:
            return WindowFull(session.acknowledged)
        # The first one always fits: nothing can be acknowledged before it, so it could never be done.
        if session.kept_bytes > SESSION_BYTES_MAX and sequence > session.acknowledged + 1:
            return AnswersFull(session.acknowledged, session.kept_bytes)
        return None

    def keep(self, call: Call, command: bytes, answer: bytes) -> None:
        """Remember the answer to a command just carried out, unless it has ended its own session."""
        session = self._sessions.get(call.session)
        if session is not None:
            session.kept[call.sequence] = Kept(crc32(command), answer)
            session.kept_bytes += len(answer)

    def snapshot(self) -> list[SessionState]:
        """Everything, oldest session first."""
        return [
            SessionState(number, session.acknowledged, tuple(sorted(session.kept.items(), key=_sequence)))
            for number, session in sorted(self._sessions.items(), key=_sequence)
        ]

    def restore(self, sessions: Sequence[SessionState]) -> None:
        """Become what `snapshot` gave."""
        self._sessions = {
            it.session: Session(it.acknowledged, dict(it.kept), sum(len(kept.answer) for _, kept in it.kept))
            for it in sessions
        }


def _forget(session: Session, acknowledged: int) -> None:
    """Let go of answers that won't be asked for; no more than a window of them was ever kept."""
    kept, before = session.kept, session.acknowledged
    for sequence in range(before + 1, min(acknowledged, before + SESSION_WINDOW) + 1):
        settled = kept.pop(sequence, None)
        if settled is not None:
            session.kept_bytes -= len(settled.answer)
    session.acknowledged = acknowledged


def _sequence(pair: tuple[int, object]) -> int:
    return pair[0]
