"""Which cluster a node belongs to.

Owns the cluster's identity as a value, how it is written into the log, and the question whether two nodes
are of one cluster. Knows nothing of how nodes ask each other.

A cluster's name is chosen by people, and two clusters may have the same one. Its identity is drawn by its
first leader, and is the first change of its configuration: an entry that changes no member and names the
identity in its context. From there on every log and every snapshot has it. So nodes that begin one cluster
by separate commands get one identity, independent of which of them leads first.

Until it knows the identity a node has only its founders to go by: the voters of its first configuration.
A node that is to join has neither, and an empty log; it takes the identity of the first leader that sends
it entries, and no others' from then on.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from raft.core.changes import (
    AnyConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeV2,
    decode_conf_change,
)
from raft.core.errors import ConfChangeRefused
from raft.core.types import NO_LIMIT, Entry, EntryKind, NodeId, Storage

IDENTITY_CHARACTERS_MAX: Final = 64
_FOUNDERS_SHOWN_MAX: Final = 7


class Origin(Struct, frozen=True):
    """A cluster as a node knows it; an identity of "" and no founders are not known."""

    identity: str = ""
    founders: tuple[NodeId, ...] = ()

    def __str__(self) -> str:
        if self.identity:
            return f"cluster {self.identity}"
        if self.founders:
            shown = ", ".join(str(node) for node in self.founders[:_FOUNDERS_SHOWN_MAX])
            return f"a cluster that nodes {shown} have begun"
        return "an unknown cluster"

    def fits(self, other: Origin) -> bool:
        """May both be the same cluster, by all that is known?"""
        if self.identity and other.identity:
            return self.identity == other.identity
        if self.founders and other.founders:
            return self.founders == other.founders
        return True


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Origin)


def founding(node: NodeId, origin: Origin) -> ConfChangeV2:
    """The change of configuration that names the cluster's identity; it changes no member."""
    return ConfChangeV2((ConfChangeSingle(ConfChangeKind.UPDATE, node),), context=_ENCODER.encode(origin))


def named_by(change: AnyConfChange) -> Origin | None:
    """The origin that a change names, if it does."""
    wanted = change.as_v2()
    if not wanted.context or any(step.kind is not ConfChangeKind.UPDATE for step in wanted.changes):
        return None
    try:
        origin = _DECODER.decode(wanted.context)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return origin if is_identity(origin.identity) else None


def origin_in(log: Storage, at_snapshot: Origin) -> Origin:
    """The origin that a log names, in its snapshot or in the committed entries after that."""
    if at_snapshot.identity:
        return at_snapshot
    hard_state, _ = log.initial_state()
    first, committed = log.first_index(), hard_state.commit
    entries = log.entries(first, committed + 1, NO_LIMIT) if first <= committed else []
    for entry in entries:
        if entry.kind is not EntryKind.NORMAL and (named := origin_at(entry)) is not None:
            return named
    return at_snapshot


def origin_at(entry: Entry) -> Origin | None:
    """The origin that an entry of the configuration names, if it does."""
    try:
        return named_by(decode_conf_change(entry))
    except ConfChangeRefused:
        return None


def is_identity(text: str) -> bool:
    """Can that be a cluster's identity?"""
    return 0 < len(text) <= IDENTITY_CHARACTERS_MAX and text.isascii() and text.isalnum()
