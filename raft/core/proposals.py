"""Which proposals a leader takes into its log.

Owns the checks before, and the places that entries get. Which changes of the configuration may enter the
log is membership's; sending the entries is replication's.
"""

from __future__ import annotations

from raft.core import membership, replication
from raft.core.errors import ProposalDropped
from raft.core.state import RaftState
from raft.core.types import NO_LIMIT, NO_NODE, Entry, EntryKind, payload_size


def append_proposed(raft: RaftState, entries: list[Entry]) -> None:
    """Append entries without index or term; raises ProposalDropped.

    A configuration change that is refused leaves an empty entry in its place.
    """
    check_accepting(raft)
    if any(entry.kind is not EntryKind.NORMAL for entry in entries):
        entries = membership.screen(raft, entries)
    term, following = raft.term, raft.log.last + 1
    append_accepted(
        raft, [Entry(term, following + i, entry.kind, entry.data) for i, entry in enumerate(entries)]
    )


def check_accepting(raft: RaftState) -> None:
    """Raise ProposalDropped while this leader takes no proposals."""
    if raft.transferee != NO_NODE:
        raise ProposalDropped(f"leadership is being transferred to node {raft.transferee}")
    if raft.id not in raft.tracker.progress:
        raise ProposalDropped("this leader is no longer a member")


def append_accepted(raft: RaftState, entries: list[Entry]) -> None:
    """Append entries with index and term, and send them; raises ProposalDropped above the size limit."""
    limit = raft.config.uncommitted_size_max
    if limit < NO_LIMIT:
        size = payload_size(entries)
        # With nothing uncommitted, an entry larger than the limit is let through, or it never could be.
        if size and raft.uncommitted_size and raft.uncommitted_size + size > limit:
            raise ProposalDropped(f"{raft.uncommitted_size} bytes of proposals are not applied yet")
        raft.uncommitted_size += size
    replication.append_to_log(raft, entries)
    replication.broadcast_append(raft)
