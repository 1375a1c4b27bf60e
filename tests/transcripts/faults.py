"""How a command fails, in the words that a transcript expects.

Owns the sentences; the core's own may say more.
"""

from raft.core.errors import Compacted, ProposalDropped, RaftError, SnapshotOutOfDate


class CommandFailed(Exception):
    """The command stops here; the text is the last part of its answer."""


def sentence(error: Exception) -> str:
    """What is printed for an error."""
    match error:
        case ProposalDropped():
            return "raft proposal dropped"
        case Compacted():
            return "requested index is unavailable due to compaction"
        case SnapshotOutOfDate():
            return "requested index is older than the existing snapshot"
        case _:
            return str(error)


FAILURES = (CommandFailed, RaftError)
