"""Evidence from the disks at the end: which values were committed, and the state hash of each node.

Owns reading the directories of stopped nodes. A log that no longer begins with the first entry cannot prove
that something never happened; then nothing is concluded. Knows nothing of what clients were told.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from raft.core.types import Entry, EntryKind
from raft.lab.chaos import tally
from raft.lab.checkers.leadership import StateHash
from raft.machines.codec import decode_call
from raft.machines.commands import CompareAndSwap, Own, Put
from raft.node.snapshots.contents import unpack_state
from raft.storage.batch import Damage
from raft.storage.errors import CorruptLog
from raft.storage.files import RealFiles
from raft.storage.replay import Contradiction, Replay
from raft.storage.segment import scan, sequence_of
from raft.storage.snapshots import read_snapshot

FIRST_INDEX = 2  # The first configuration is at 1.


def committed_values(data: Path, members: Collection[int]) -> frozenset[str] | None:
    """Every text that a client wrote and a log holds; None if no member's log is complete.

    For members that have all applied the same entries and were then stopped, so the longest log is the log.
    Logs of removed nodes end too early.
    """
    logs = [log for node in members if (log := _log_of(data / f"n{node}")) is not None]
    if not logs:
        return None
    return frozenset(value for entry in max(logs, key=len) for value in _values(entry))


def state_hashes(data: Path, members: Collection[int]) -> list[StateHash]:
    """The hash of each member's machine at each of its snapshots."""
    hashes = []
    for node in members:
        directory = data / f"n{node}"
        replay = _replay_of(directory)
        for marker in replay.markers if replay is not None else ():
            with contextlib.suppress(CorruptLog):  # The log may name older snapshots, which were removed.
                snapshot = read_snapshot(RealFiles(), directory, marker)
                digest = blake2b(digest_size=16)
                for part in unpack_state(snapshot.data).machine:
                    digest.update(part)
                hashes.append(StateHash(node=node, applied=marker.index, digest=digest.hexdigest()))
    return hashes


def _log_of(directory: Path) -> list[Entry] | None:
    """A node's log from its beginning, None if it is incomplete or not readable."""
    replay = _replay_of(directory)
    if replay is None or not replay.entries or replay.entries[0].index != FIRST_INDEX:
        return None
    return replay.entries


def _replay_of(directory: Path) -> Replay | None:
    """The result of replaying a node's log; None if it is invalid."""
    segments = sorted(
        (sequence, path) for path in directory.iterdir() if (sequence := sequence_of(path.name)) is not None
    )
    replay = Replay(complete=segments[0][0] == 1 if segments else True)
    for sequence, path in segments:
        for batch in scan(path.read_bytes(), sequence):
            if isinstance(batch, Damage):
                return None
            try:
                replay.apply(batch.records)
            except Contradiction:
                return None
    return replay


def _values(entry: Entry) -> Iterator[str]:
    """What the command in an entry writes; the elements of sets are in keys."""
    call = decode_call(bytes(entry.data)) if entry.kind is EntryKind.NORMAL and entry.data else None
    match call and call.operation:
        case Put(key, b""):
            yield key.decode().rpartition("/")[2]
        case Put(_, value) | CompareAndSwap(_, _, bytes(value)):
            yield value.decode()
        case Own(body):
            command = msgspec.msgpack.decode(body, type=tally.Append | tally.Add)
            if isinstance(command, tally.Append):
                yield command.value
