"""The space quota of a node, and what a leader refuses before it is exceeded.

Owns the quota: the bytes of state, event history and log that this node may hold, and the alarm,
which is raised shortly before the quota is reached and cleared when there is room again. During an alarm the
leader refuses commands that let the state grow; deletions continue, events and the log are compacted.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.core.types import Role
from raft.machines.application import Application
from raft.machines.codec import encode_call
from raft.machines.commands import (
    Call,
    Campaign,
    Compact,
    CompareAndSwap,
    Grant,
    OpenSession,
    Operation,
    Own,
    Proclaim,
    Put,
    Transaction,
)
from raft.node.reporter import Journal
from raft.protocol.client import OutOfSpace

QUOTA_BYTES_MAX = 2 * 1024 * 1024 * 1024  # Unless another one is set.
MEMORY_SHARE = 4  # Of the available memory; a snapshot in transfer is as large as the state.
ALARM_SHARE = 15 / 16  # Of the quota: from there on nothing may grow,
CLEAR_SHARE = 7 / 8  # until there is less than this.
SMALL_SHARE = 17 / 16  # Small commands, needed to keep and to end leases, are accepted for longer.
TIDY_SHARE = 1 / 16  # During an alarm, history and log are limited to this share.
LOG_SHARE = 1 / 4
ENTRY_BYTES = 1_500  # What a command leaves besides its own bytes, in state, history and log.
TIDY_SECONDS = 1.0

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_GROWING = (Put, Own, Proclaim)
_SMALL = (Grant, OpenSession, Campaign)


class LogSize(Protocol):
    """The part of the log that is asked."""

    @property
    def size_bytes(self) -> int:
        """The total size of the entries in memory."""
        ...


class Room(Struct, frozen=True):
    """What a node holds, and what it may."""

    used_bytes: int
    quota_bytes: int
    alarm: bool


class Space:
    """The quota of one node. Only a leader refuses commands, and raises the alarm."""

    def __init__(
        self,
        *,
        quota_bytes: int,
        machine: Application,
        log: LogSize,
        raft: Raft,
        journal: Journal,
        want_snapshot: Callable[[], None],
        tell: Callable[[Room], None],
    ) -> None:
        self.quota_bytes = quota_bytes or default_quota()
        self.alarm = False
        self._machine = machine
        self._log = log
        self._raft = raft
        self._journal = journal
        self._want_snapshot = want_snapshot
        self._tell = tell
        self._room = 0
        self._term = 0
        self._tidy_at = 0.0
        self.allowance = 0
        """Bytes of commands that may be taken in without asking `refuse`; their taker subtracts."""
        self.low = False
        """Whether the allowance is used up, so that `check` is to be called in this turn."""

    @property
    def used_bytes(self) -> int:
        """State, the user's own machine's as far as that is known, event history and log."""
        return self._machine.size_bytes + self._machine.own.size_bytes + self._log.size_bytes

    @property
    def room(self) -> Room:
        """The current usage."""
        return Room(self.used_bytes, self.quota_bytes, self.alarm)

    @property
    def tight(self) -> bool:
        """Is it better to keep no entries that a snapshot covers?"""
        return self._log.size_bytes > LOG_SHARE * self.quota_bytes or self.alarm

    def refuse(self, operation: Operation, size: int) -> OutOfSpace | None:
        """The refusal of a command of that size; None if it is accepted."""
        cost = size + ENTRY_BYTES
        if self._raft.term != self._term:
            self._measure()  # In the turn that elected this leader.
        if not self.alarm and self._room > cost:
            self._room -= cost
            self.low = True
            return None
        if isinstance(operation, _SMALL):
            full = self.used_bytes + self._raft.uncommitted_size >= SMALL_SHARE * self.quota_bytes
            return self._refusal() if full else None
        if not grows(operation):
            return None
        if not self.alarm:
            self._set(alarm=True)
        return self._refusal()

    def check(self, now: float) -> None:
        """Once a tick, and in each turn while `low`: check the room, and free some if there is little."""
        if self._raft.role is not Role.LEADER:
            self.alarm = self.low = False
            self._room = self.allowance = 0
            if now >= self._tidy_at:
                self._tidy_at = now + TIDY_SECONDS
                self._tidy()
            return
        if not (self.low or self.alarm) and now < self._tidy_at and self._raft.term == self._term:
            return  # What has been taken in since the last look is not much.
        self._measure()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_SECONDS
            self._tidy()

    def _measure(self) -> None:
        used = self.used_bytes
        if self._raft.term != self._term:
            self._term = self._raft.term
            self._set(alarm=used >= ALARM_SHARE * self.quota_bytes)
        elif self.alarm and used < CLEAR_SHARE * self.quota_bytes:
            self._set(alarm=False)
        self._room = int(ALARM_SHARE * self.quota_bytes) - used - self._raft.uncommitted_size
        # A command's bytes may be in state, history and log, and count once when it is taken in.
        self.allowance = 0 if self.alarm else max(0, self._room // 4)
        self._room -= self.allowance
        self.low = False

    def _tidy(self) -> None:
        share = TIDY_SHARE if self.alarm else LOG_SHARE
        if self._log.size_bytes > share * self.quota_bytes:
            self._want_snapshot()
        history = self._machine.history
        if self.alarm and history.size_bytes > TIDY_SHARE * self.quota_bytes:
            try:
                self._raft.propose_batch([encode_call(Call(0, 0, 0, Compact(history.revision)))])
            except ProposalDropped:
                return

    def _set(self, *, alarm: bool) -> None:
        before, self.alarm = self.alarm, alarm
        self._tell(self.room)
        if alarm and not before:
            self._journal.event(
                "out-of-space",
                f"{self.used_bytes} of {self.quota_bytes} bytes are in use: only deleting goes on",
                used_bytes=self.used_bytes,
                quota_bytes=self.quota_bytes,
            )
        elif before and not alarm:
            self._journal.event("space-again", f"{self.used_bytes} of {self.quota_bytes} bytes are in use")

    def _refusal(self) -> OutOfSpace:
        return OutOfSpace(self.used_bytes, self.quota_bytes)


def grows(operation: Operation) -> bool:
    """Can a command make the state larger?"""
    if isinstance(operation, CompareAndSwap):
        return operation.new is not None
    if isinstance(operation, Transaction):
        return any(isinstance(part, Put) for part in (*operation.then, *operation.otherwise))
    return isinstance(operation, _GROWING)


def default_quota() -> int:
    """A quarter of the memory that this process may have, QUOTA_BYTES_MAX at most."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    for path in CGROUP_LIMITS:
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return min(QUOTA_BYTES_MAX, min(limits) // MEMORY_SHARE)
