"""The messages between processes, and their encoding."""

from __future__ import annotations

import typing

import pytest

from raft.core import messages
from raft.core.messages import AppendEntries
from raft.core.types import Entry, EntryKind
from raft.protocol import admin, client
from raft.protocol.registry import (
    CORE_MESSAGES,
    REGISTRY,
    TAGS,
    Append,
    BadEntry,
    pack_append,
    pack_entries,
    unpack_append,
)


def test_every_message_between_processes_has_a_tag() -> None:
    peers = set(typing.get_args(messages.PeerMessage))
    assert peers - set(CORE_MESSAGES) == {
        messages.AppendEntries,
        messages.InstallSnapshot,
        messages.Propose,
    }
    assert set(CORE_MESSAGES) | {Append} <= set(TAGS.values())
    for module in (client, admin):
        structs = {
            thing
            for thing in vars(module).values()
            if isinstance(thing, type) and hasattr(thing, "__struct_fields__") and thing.__name__ != "Struct"
        }
        inside = {admin.HistogramCounts, admin.LeaseStatus}
        assert structs - inside <= set(TAGS.values()), "which travels inside of another"


def test_an_entry_is_sent_in_the_bytes_that_its_leader_made() -> None:
    import msgspec

    entries = [Entry(3, 8, EntryKind.NORMAL, b"x" * 300), Entry(3, 9, EntryKind.CONF_CHANGE_V2, b"")]
    message = AppendEntries(1, 2, 3, 2, 7, 6, entries)
    raw = msgspec.msgpack.encode(pack_append(message, pack_entries(message.entries)))
    arrived = unpack_append(REGISTRY.decode(REGISTRY.tag(Append), raw))
    assert arrived == message
    assert [entry.encoded_cache for entry in arrived.entries] == [entry.encoded() for entry in entries]
    assert all(entry.encoded() in raw for entry in entries)


def test_bytes_that_are_no_entry_are_refused() -> None:
    import msgspec

    with pytest.raises(BadEntry):
        unpack_append(Append(1, 2, 3, 2, 7, 6, [msgspec.Raw(b"\x01")]))
