"""What the core wants done, as one value.

Owns the shape of a Ready and the order in which it is honoured; how one is made is output's.
"""

from __future__ import annotations

import msgspec

from raft.core.messages import Message
from raft.core.types import Entry, HardState, ReadState, Snapshot, SoftState


class Ready(msgspec.Struct, gc=False):
    """One batch of effects. Without asynchronous writes the order is: save, send, apply, advance.

    With asynchronous writes `messages` holds all of it: a StorageAppend and a StorageApply stand
    for the saving and applying, and `entries`, `snapshot` and `committed` are for reading only.
    """

    soft_state: SoftState | None
    """Who leads and in which role this node is, if that changed."""
    hard_state: HardState | None
    """To be saved, if it changed."""
    read_states: list[ReadState]
    """Confirmed reads."""
    entries: list[Entry]
    """To be saved, replacing what is stored at their indexes and above."""
    snapshot: Snapshot | None
    """To be saved, replacing the whole log, and restored by the machine."""
    committed: list[Entry]
    """To be applied, in order; without asynchronous writes they are among those to be saved first."""
    messages: list[Message]
    """To be sent; without asynchronous writes not before the rest is durable."""
    must_sync: bool
    """Whether saving has to reach the disk: a change of the commit index alone need not."""
