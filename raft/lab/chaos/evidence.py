"""What the durable logs say in the end: which values were really committed.

Owns reading the logs of nodes that have stopped. A log that no longer begins with the first entry can't tell
that something never happened; then nothing is said. Knows nothing of what clients were told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from raft.core.types import Entry, EntryKind
from raft.lab.chaos import tally
from raft.machines.encoding import decode_call
from raft.machines.operations import CompareAndSwap, Own, Put
from raft.storage.batch import Damage
from raft.storage.replay import Contradiction, Replay
from raft.storage.segment import scan, sequence_of

FIRST_INDEX = 2  # The first configuration is at 1.


def committed_values(data: Path, members: Collection[int]) -> frozenset[str] | None:
    """Every text that a client wrote and a log has; None if no member's log is whole.

    For members that have all applied the same entries, and then were stopped: so the longest log is the log.
    What removed nodes have left ends too early.
    """
    logs = [log for node in members if (log := _log_of(data / f"n{node}")) is not None]
    if not logs:
        return None
    return frozenset(value for entry in max(logs, key=len) for value in _values(entry))


def _log_of(directory: Path) -> list[Entry] | None:
    """A node's log from its beginning, None if there is less of it, or something else."""
    replay = Replay(complete=True)
    segments = sorted(
        (sequence, path) for path in directory.iterdir() if (sequence := sequence_of(path.name)) is not None
    )
    for sequence, path in segments:
        for batch in scan(path.read_bytes(), sequence):
            if isinstance(batch, Damage):
                return None
            try:
                replay.apply(batch.records)
            except Contradiction:
                return None
    return replay.entries if replay.entries and replay.entries[0].index == FIRST_INDEX else None


def _values(entry: Entry) -> Iterator[str]:
    """What the command in an entry writes; sets have their elements in keys."""
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
