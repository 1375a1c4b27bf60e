"""What waits for an actor: a bounded queue, and a short one that goes first.

Owns order and bound, in messages and, for those of other processes that are not small, in bytes. Full
means that the newest message is refused, unless the policy says that the oldest makes way; either is a dead
letter, counted by the caller. Never refused is what an actor's own doing bounds: what it tells or posts to
itself, the replies to its asks, its timers, and, before everything else, what its runtime tells it of those
that it watches or has started.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from actors.address import Address

QueuedMessage = tuple[Any, Address | None, int] | tuple[Any, Address | None, int, int]
"""A message, its sender, and the correlation of the ask that it is, or 0; its bytes when they are counted.

A bare tuple for speed.
"""


class Overflow(enum.Enum):
    """Which message becomes a dead letter when a mailbox is full."""

    DROP_NEWEST = "drop-newest"
    DROP_OLDEST = "drop-oldest"


class MailboxPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait for an actor, and what happens to the rest."""

    messages_max: int = 10_000
    bytes_max: int = 64 * 1024 * 1024
    """As they came from other processes; one message always finds a place."""
    overflow: Overflow = Overflow.DROP_NEWEST

    def __post_init__(self) -> None:
        if self.messages_max < 1:
            raise ValueError(f"a mailbox holds at least one message, not {self.messages_max}")
        if self.bytes_max < 0:
            raise ValueError(f"bytes_max counts bytes, and can't be {self.bytes_max}")


class Mailbox:
    """The letters that wait for one actor, through all of its incarnations."""

    __slots__ = ("_bytes_max", "_drop_oldest", "_messages_max", "bytes", "dropped", "ordinary", "urgent")

    def __init__(self, policy: MailboxPolicy) -> None:
        self._messages_max = policy.messages_max
        self._bytes_max = policy.bytes_max
        self.bytes = 0
        """Of the letters that wait here or are put aside, as far as they are counted."""
        self._drop_oldest = policy.overflow is Overflow.DROP_OLDEST
        self.urgent: deque[QueuedMessage] = deque()
        self.ordinary: deque[QueuedMessage] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.urgent) + len(self.ordinary)

    def put(self, queued: QueuedMessage) -> QueuedMessage | None:
        """Let a letter wait; returns the one that finds no place any more, if any."""
        ordinary = self.ordinary
        if len(ordinary) < self._messages_max:
            ordinary.append(queued)
            return None
        self.dropped += 1
        if not self._drop_oldest:
            return queued
        oldest = ordinary.popleft()
        self.take_from_count(oldest)
        ordinary.append(queued)
        return oldest

    def put_all(self, letters: Sequence[QueuedMessage]) -> Sequence[QueuedMessage]:
        """As `put` for each of them, in their order."""
        if len(self.ordinary) + len(letters) <= self._messages_max:
            self.ordinary.extend(letters)
            return ()
        return [lost for queued in letters if (lost := self.put(queued)) is not None]

    def put_counted(self, queued: tuple[Any, Address | None, int, int]) -> list[QueuedMessage]:
        """As `put`, for a letter that knows its bytes; several old ones may have to make way for it."""
        lost: list[QueuedMessage] = []
        while self.bytes and self.bytes + queued[3] > self._bytes_max:
            if not self._drop_oldest or not self.ordinary:
                self.dropped += 1
                return [*lost, queued]
            self.dropped += 1
            lost.append(self.ordinary.popleft())
            self.take_from_count(lost[-1])
        refused = self.put(queued)
        if refused is not queued:
            self.bytes += queued[3]
        return lost if refused is None else [*lost, refused]

    def take_from_count(self, queued: QueuedMessage) -> None:
        """A letter waits no more."""
        if len(queued) == 4:
            self.bytes -= queued[3]

    def add_to_count(self, queued: QueuedMessage) -> None:
        """A letter that was taken waits again."""
        if len(queued) == 4:
            self.bytes += queued[3]

    def put_own(self, queued: QueuedMessage) -> None:
        """Let a letter wait that is of the actor's own making, however many there are."""
        self.ordinary.append(queued)

    def put_urgent(self, queued: QueuedMessage) -> None:
        """Let a letter of the runtime wait, before all others but those of its like."""
        self.urgent.append(queued)

    def put_back(self, queued_messages: Iterable[QueuedMessage]) -> None:
        """Let letters that were taken before go next, in their order."""
        self.ordinary.extendleft(reversed(list(queued_messages)))

    def withdraw(self, unwanted: Callable[[Any], bool]) -> None:
        """Take back those letters of the runtime whose message is not wanted any more."""
        if self.urgent:
            kept = [queued for queued in self.urgent if not unwanted(queued[0])]
            self.urgent.clear()
            self.urgent.extend(kept)

    def has_room_aside(self, stashed: int) -> bool:
        """May one more letter be stashed when so many are? As many as may wait."""
        return stashed < self._messages_max

    def clear(self) -> list[QueuedMessage]:
        """Take everything that waits."""
        queued_messages = [*self.urgent, *self.ordinary]
        self.urgent.clear()
        self.ordinary.clear()
        self.bytes = 0
        return queued_messages
