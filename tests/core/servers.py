"""Servers without a network: a pure core each, a disk that survives crashes, and a state machine.

Owns the order of effects (save, send, apply, advance), in both modes of writing, and what a crash loses.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from random import Random

import msgspec

from raft.core.changes import decode_conf_change
from raft.core.config import Config
from raft.core.errors import ConfChangeRefused, PeerNotFound
from raft.core.messages import Message, StorageAppend, StorageApply
from raft.core.raft import Raft
from raft.core.types import (
    NO_LIMIT,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Index,
    NodeId,
    ReadState,
    Snapshot,
)
from raft.storage.memory import MemoryStorage

START = Snapshot(index=2, term=1, conf_state=ConfState(voters=(1, 2, 3)))


class Machine:
    """A state machine whose state is a digest of every command so far, in order."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.index = snapshot.index
        self.state = snapshot.data
        self.conf_state = snapshot.conf_state
        self.commands: list[bytes] = []

    def apply(self, entry: Entry) -> None:
        """Take the next entry; anything but the next one is an error of the caller's."""
        assert entry.index == self.index + 1, f"entry {entry.index} is applied after {self.index}"
        self.index = entry.index
        if entry.kind is EntryKind.NORMAL and entry.data:
            self.commands.append(entry.data)
            self.state = hashlib.blake2s(bytes(self.state) + (entry.data or b""), digest_size=8).digest()


class Server:
    """One node. Its `disk` is what a crash leaves; all else is made anew by `boot`."""

    def __init__(self, config: Config, start: Snapshot, random: Random) -> None:
        self.config = config
        self.random = random
        self.disk = MemoryStorage()
        if start.index:
            self.disk.apply_snapshot(start)
        self.reads: list[ReadState] = []
        self.boot()

    @property
    def id(self) -> NodeId:
        return self.config.id

    def boot(self) -> None:
        """Start from the disk. Whatever was not written there is gone."""
        snapshot = self.disk.snapshot()
        self.machine = Machine(snapshot)
        stored, _ = self.disk.initial_state()
        # With threads of their own, entries may be applied before the commit index that allowed it is stored.
        self.disk.set_hard_state(HardState(stored.term, stored.vote, max(stored.commit, snapshot.index)))
        config = msgspec.structs.replace(self.config, applied=snapshot.index)
        self.core = Raft(config, self.disk, self.random)
        self.append_work: deque[StorageAppend] = deque()
        self.apply_work: deque[StorageApply] = deque()
        self.reads.clear()

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        """Make durable, in one piece."""
        if hard_state is not None:
            self.disk.set_hard_state(hard_state)
        if snapshot is not None and snapshot.index > self.disk.snapshot().index:
            self.disk.apply_snapshot(snapshot)
            if snapshot.index > self.machine.index:
                self.machine = Machine(snapshot)
        self.disk.append(entries)

    def apply(self, entries: Iterable[Entry]) -> None:
        """Run committed entries; those that a restored snapshot covers already do nothing."""
        for entry in entries:
            news = entry.index > self.machine.index
            if entry.kind is not EntryKind.NORMAL:
                # A change that can't be made is refused by every replica alike, and changes nothing.
                with suppress(ConfChangeRefused):
                    conf_state = self.core.apply_conf_change(decode_conf_change(entry), entry.index)
                    if news:
                        self.machine.conf_state = conf_state
            if news:
                self.machine.apply(entry)

    def handle_ready(self, *, crash_after_save: bool = False) -> list[Message]:
        """Honour one Ready and return what is to be sent. A crash after saving sends nothing."""
        ready = self.core.ready()
        self.reads += ready.read_states
        if self.config.async_storage_writes:
            return self._queue(ready.messages)
        self.save(ready.hard_state, ready.entries, ready.snapshot)
        if crash_after_save:
            self.boot()
            return []
        self.apply(ready.committed)
        self.core.advance(ready)
        return ready.messages

    def _queue(self, messages: Iterable[Message]) -> list[Message]:
        outgoing: list[Message] = []
        for message in messages:
            match message:
                case StorageAppend():
                    self.append_work.append(message)
                case StorageApply():
                    self.apply_work.append(message)
                case _:
                    outgoing.append(message)
        return outgoing

    def write(self) -> list[Message]:
        """Do the oldest work of the append thread; what it lets out is returned."""
        if not self.append_work:
            return []
        work = self.append_work.popleft()
        self.save(work.hard_state, work.entries, work.snapshot)
        return self._respond(work.responses)

    def run_machine(self) -> list[Message]:
        """Do the oldest work of the apply thread."""
        if not self.apply_work:
            return []
        work = self.apply_work.popleft()
        self.apply(work.entries)
        return self._respond(work.responses)

    def _respond(self, responses: Iterable[Message]) -> list[Message]:
        outgoing: list[Message] = []
        for response in responses:
            if response.to == self.id:
                # A node that has just removed itself is no peer of its own any more.
                with suppress(PeerNotFound):
                    self.core.step(response)
            else:
                outgoing.append(response)
        return outgoing

    def run_until_idle(self) -> list[Message]:
        """All the work that needs no news from others, done in order."""
        outgoing: list[Message] = []
        while self.core.has_ready() or self.append_work or self.apply_work:
            if self.core.has_ready():
                outgoing += self.handle_ready()
            outgoing += self.write()
            outgoing += self.run_machine()
        return outgoing

    def compact(self, keep_entries: int) -> None:
        """Take a snapshot of what has been applied, and drop the log up to `keep_entries` before it."""
        index = self.machine.index
        if index > self.disk.last_index() or index <= self.disk.snapshot().index:
            return
        self.disk.create_snapshot(index, self.machine.conf_state, self.machine.state)
        if index - keep_entries >= self.disk.first_index():
            self.disk.compact(index - keep_entries)

    def log(self) -> list[Entry]:
        """The entries that are durable and not compacted."""
        first, last = self.disk.first_index(), self.disk.last_index()
        return self.disk.entries(first, last + 1, NO_LIMIT) if first <= last else []

    def term_at(self, index: Index) -> int:
        """The term of an entry in the core's own view of the log."""
        return self.core.log.term(index)
