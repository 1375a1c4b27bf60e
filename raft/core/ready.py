"""The effects that a core asks for, as one value.

Owns the shape of a Ready and the order in which it is carried out; how one is made is output's.
"""

from __future__ import annotations

import msgspec

from raft.core.messages import Message
from raft.core.types import Entry, HardState, ReadState, Snapshot, SoftState


class Ready(msgspec.Struct, gc=False):
    """One batch of effects. Without asynchronous writes the order is: save, send, apply, advance.

    With asynchronous writes `messages` holds everything: a StorageAppend asks for saving, a StorageApply
    for applying, and `entries`, `snapshot` and `committed` are for information only.
    """

    soft_state: SoftState | None
    """The leader and this node's role, if one of them changed."""
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
