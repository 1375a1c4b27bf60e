"""One node of a transcript: a core, its storage, a state machine that appends, the work of its two threads.

Owns what is done with the contents of a Ready (save, apply) and what a crash leaves of a node.
"""

from collections import deque
from collections.abc import Sequence
from random import Random

import msgspec

from raft.core.changes import decode_conf_change
from raft.core.config import Config
from raft.core.messages import Propose, StorageAppend, StorageApply
from raft.core.raft import Raft
from raft.core.types import ConfState, Entry, EntryKind, HardState, NodeId, Snapshot
from raft.storage.memory import MemoryStorage
from tests.transcripts.faults import CommandFailed


class Options(Config, frozen=True, kw_only=True):
    """A configuration that may contradict itself: some transcripts show what comes of a message size of 0."""

    def __post_init__(self) -> None:
        """Accept everything."""


class LeastOfAll(Random):
    """A generator that draws the least of every range, so that an election timeout is always the same."""

    def random(self) -> float:
        return 0.0

    def getrandbits(self, k: int, /) -> int:
        return 0


class HistoryStorage(MemoryStorage):
    """A storage whose snapshot is always the newest state of the state machine.

    The snapshot that it started from, or that a leader sent, is `installed`.
    """

    def __init__(self, first: Snapshot) -> None:
        super().__init__()
        if first.index > 0:
            self.apply_snapshot(first)
        self.history = [first]
        self._boot: tuple[HardState, ConfState] | None = None

    @property
    def installed(self) -> Snapshot:
        return super().snapshot()

    def snapshot(self) -> Snapshot:
        return self.history[-1]

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._boot or super().initial_state()

    def reboot(self) -> Snapshot:
        """Make ready for a new core; the answer is the state that it starts from."""
        base = max(self.history[-1], self.installed, key=lambda snapshot: snapshot.index)
        stored, _ = super().initial_state()
        self._boot = HardState(stored.term, stored.vote, max(stored.commit, base.index)), base.conf_state
        return base


class Node:
    """A node with the id that its options say."""

    def __init__(self, options: Options, first: Snapshot) -> None:
        self.options = options
        self.storage = HistoryStorage(first)
        self.core = Raft(options, self.storage, LeastOfAll())
        self.append_work: deque[StorageAppend] = deque()
        self.apply_work: deque[StorageApply] = deque()

    @property
    def id(self) -> NodeId:
        return self.options.id

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        """Store what a Ready or a StorageAppend holds."""
        if hard_state is not None and hard_state != HardState():
            self.storage.set_hard_state(hard_state)
        if snapshot is not None and snapshot.index > 0:
            if entries:
                raise CommandFailed("can't apply snapshot and entries at the same time")
            self.storage.apply_snapshot(snapshot)
        else:
            self.storage.append(entries)

    def apply(self, entries: Sequence[Entry]) -> None:
        """Run entries through the state machine, which appends all payloads, and keep every state."""
        history = self.storage.history
        for entry in entries:
            data, conf_state = history[-1].data, history[-1].conf_state
            if entry.kind is EntryKind.NORMAL:
                data = bytes(data) + (entry.data or b"")
            else:
                conf_state = self.core.apply_conf_change(decode_conf_change(entry), entry.index)
            history.append(Snapshot(entry.index, entry.term, conf_state, data))

    def propose_entry(self, entry: Entry) -> None:
        """Propose as if a message had brought it: a change that the leader refuses becomes an empty entry."""
        self.core.step(Propose(sender=self.id, to=self.id, term=0, entries=[entry]))

    def restart(self) -> None:
        """Crash, then start again from storage."""
        self.append_work.clear()
        self.apply_work.clear()
        base = self.storage.reboot()
        self.options = msgspec.structs.replace(self.options, applied=base.index)
        self.core = Raft(self.options, self.storage, LeastOfAll())
