"""Messages that reached no handler: how many, why, and the last few.

Owns the count. Knows nothing of mailboxes or transports, which report here.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from typing import Final

import msgspec

from actors.address import Address

RECENT_DEAD_LETTERS_MAX: Final = 32


class Reason(enum.StrEnum):
    """Why a message was not handled; a transport's refusals are written `peer full` and the like."""

    NO_SUCH_ACTOR = "no such actor"
    NO_HANDLER = "no handler"
    MAILBOX_FULL = "mailbox full"
    STASH_FULL = "stash full"
    STOPPED = "actor stopped"
    UNDECODABLE = "undecodable"
    UNENCODABLE = "answer that cannot be encoded"
    UNASKED_REPLY = "reply to nothing open"
    ANSWERED_BEFORE = "answered before"
    NO_REPLY_EXPECTED = "no reply expected"
    FORBIDDEN = "not allowed to its sender"


class DeadLetter(msgspec.Struct, frozen=True):
    """One message that reached no handler, without its content."""

    reason: str
    to: Address
    sender: Address | None
    kind: str


class DeadLetters:
    """All messages of a runtime that were not handled, counted by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.recent: deque[DeadLetter] = deque(maxlen=RECENT_DEAD_LETTERS_MAX)

    def add(self, reason: str, to: Address, sender: Address | None, kind: str, count: int = 1) -> None:
        """Count `count` messages of that kind that went nowhere."""
        self.counts[reason] += count
        self.recent.append(DeadLetter(reason, to, sender, kind))

    @property
    def total(self) -> int:
        """How many there were since the start."""
        return self.counts.total()
