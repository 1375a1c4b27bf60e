"""A cluster of one from the directory of a node whose majority is lost for good.

Owns what is read from such a directory, and what it becomes. Knows nothing of whether the majority is really
lost: who calls has to ask the others first.

All of the log is kept, also what is not known to be committed: some of it was acknowledged, and this node had
not been told yet. What the lost majority acknowledged and never sent here is gone. The new cluster begins as
a restored one does (see raft.node.process.restore): with an identity of its own, and far behind the old
log, so that a lost node that comes back after all can never be heard in it.

This is etcd's --force-new-cluster without its traps: there the cluster keeps its identity, so that a member
that comes back disturbs it, and the flag must not be forgotten at the next start.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from raft.core.changes import AnyConfChange
from raft.core.confchange import Changer
from raft.core.confchange import restore as restored_configuration
from raft.core.errors import ConfChangeRefused
from raft.core.tracker import Tracker
from raft.core.types import NO_LIMIT, ConfState, Entry, EntryKind, Index, NodeId, Snapshot, Term
from raft.machines.application import Application
from raft.machines.machine import COMMAND_ERRORS
from raft.node.members.identity import Origin, named_by
from raft.node.members.membership import readable_change
from raft.node.members.peers import decode_endpoints
from raft.node.members.versions import check_version
from raft.node.process.data_dir import INCARNATION, RECOVERED, RESTORED, ROLLED_BACK
from raft.node.process.replacement import REPLACED, replace_log, resume, unfinished_step
from raft.node.process.restore import IDENTITY_BYTES, NewCluster, first_index, lock_directory, refounded
from raft.node.snapshots.contents import State, pack_state, unpack_state
from raft.storage.errors import LogMissing
from raft.storage.files import RealFiles
from raft.storage.record import Identity
from raft.storage.recovery import header_of, sequences_in
from raft.storage.segment import SEGMENT_SUFFIX, segment_name
from raft.storage.snapshots import sealed
from raft.storage.store import Store


class Recovered(Struct, frozen=True, kw_only=True):
    """What a recovery notes in the node's directory. Times are for people."""

    identity: str
    cluster: str
    node: NodeId
    index: Index
    old_identity: str
    old_voters: tuple[NodeId, ...]
    old_last_index: Index
    old_last_term: Term
    old_commit: Index  # As far as the node knew; what is behind it may not have been committed.
    old_log: str  # Where it is kept.
    recovered_at: float


class Survivor:
    """What is left in one node's directory, which is held until `close`. Also a context manager."""

    def __init__(self, directory: Path, machine: Application) -> None:
        """Read it all, and let the machine come to the end of the log.

        Raises LogMissing, DirectoryInUse, CorruptLog or another StoreError, and WrongVersion or MachineError
        if the machine is another one than the directory needs.
        """
        self.directory = directory
        if unfinished_step(directory):
            lock = lock_directory(directory)
            try:
                self.resumed = resume(directory)
            finally:
                lock.close()
        else:
            self.resumed = False
        self.identity = identity_of(directory)
        self._store = Store.open(
            directory, identity=self.identity, create=False, beside=(INCARNATION, RECOVERED, RESTORED)
        )
        try:
            check_version(self._store, machine)
            self._read(machine)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the directory."""
        self._store.close()

    @property
    def node(self) -> NodeId:
        """Whose directory it is."""
        return self.identity.node

    def recover(self, *, now: float) -> Recovered:
        """Make a cluster of this node alone; it then starts as one that has run before.

        `now` is in seconds since the epoch. Raises StoreError or OSError; if it is interrupted, the next
        `Survivor` of the directory ends it.
        """
        age_seconds = now - self._written_at()
        new = NewCluster(
            identity=secrets.token_hex(IDENTITY_BYTES),
            members={self.node: self.endpoints.get(self.node, "")},
            index=first_index(self.last_index, age_seconds),
        )
        record = Recovered(
            identity=new.identity,
            cluster=self.identity.cluster,
            node=self.node,
            index=new.index,
            old_identity=self.old_identity,
            old_voters=self.voters,
            old_last_index=self.last_index,
            old_last_term=self.last_term,
            old_commit=self.commit,
            old_log=f"{REPLACED}-1 and so on",
            recovered_at=now,
        )
        data = pack_state(State(), self._machine.snapshot_parts())
        whole = Snapshot(self.last_index, self.last_term, ConfState(), data)
        text = msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n"
        replace_log(self.directory, self.identity, refounded(sealed(whole), new), {RECOVERED: text})
        return record

    # -- reading ------------------------------------------------------------------------------------

    def _read(self, machine: Application) -> None:
        store, self._machine = self._store, machine
        machine.checked_until = store.last_index()  # There is no replica left to differ from.
        snapshot = store.snapshot()
        state = unpack_state(snapshot.data)
        hard_state, conf_state = store.initial_state()
        self.commit = hard_state.commit
        self.last_index = store.last_index()
        self.last_term = store.term(self.last_index)
        self.old_identity = state.identity
        self.was_rolled_back = (self.directory / ROLLED_BACK).exists()
        self.endpoints = dict(state.members)
        if state.machine:
            machine.restore_parts(state.machine)
        tracker = Tracker(1, 1)
        tracker.switch(*restored_configuration(tracker, conf_state, snapshot.index))
        first = max(store.first_index(), snapshot.index + 1)
        for entry in store.entries(first, self.last_index + 1, NO_LIMIT) if first <= self.last_index else ():
            if entry.kind is not EntryKind.NORMAL:
                self._change(tracker, entry)
            elif entry.data:
                _apply(machine, entry)
        configuration = tracker.configuration
        self.voters = tuple(sorted(configuration.voter_ids()))
        self.halves = [half for half in (configuration.voters, configuration.outgoing) if half]

    def _change(self, tracker: Tracker, entry: Entry) -> None:
        try:
            change: AnyConfChange = readable_change(entry)
            tracker.switch(*Changer(tracker, entry.index).change(change.as_v2()))
        except ConfChangeRefused:
            return  # As on every replica: it changes nothing.
        if (named := named_by(change)) is not None:
            self.old_identity = self.old_identity or named.identity
            return
        self.endpoints |= decode_endpoints(change.as_v2().context)

    def may_be_of(self, identity: str) -> bool:
        """May that be its cluster? Either may not know the identity yet, which the first leader draws."""
        return Origin(self.old_identity).fits(Origin(identity))

    def _written_at(self) -> float:
        return max(path.stat().st_mtime for path in self.directory.glob(f"*{SEGMENT_SUFFIX}"))

    def is_quorum(self, alive: set[NodeId]) -> bool:
        """Are those nodes, with this one, a majority of the old cluster?"""
        alive = alive | {self.node}
        return all(len(half & alive) > len(half) // 2 for half in self.halves)


def log_end(directory: Path) -> tuple[Term, Index]:
    """The last entry of a log, by which nodes compare theirs: a greater one is more up to date.

    Raises StoreError.
    """
    store = Store.open(
        directory,
        identity=identity_of(directory),
        create=False,
        beside=(INCARNATION, RECOVERED, RESTORED),
    )
    try:
        last = store.last_index()
        return store.term(last), last
    finally:
        store.close()


def identity_of(directory: Path) -> Identity:
    """Whose log is in there. Raises LogMissing, CorruptLog or NewerFormat."""
    files = RealFiles()
    try:
        sequences = sequences_in(directory, files)
    except FileNotFoundError:
        raise LogMissing(f"there is no directory {directory}") from None
    if not sequences:
        raise LogMissing(f"there is no node's log in {directory}: name the directory of one node")
    path = directory / segment_name(sequences[-1])
    return header_of(files.read(path), path, sequences[-1]).identity


def _apply(machine: Application, entry: Entry) -> None:
    try:
        machine.apply(entry.index, bytes(entry.data or b""))
    except COMMAND_ERRORS:
        return  # The machine turned it down, as it did on every replica.
