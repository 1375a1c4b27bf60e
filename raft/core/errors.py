"""The exceptions that leave `raft.core`, and whether a retry may help.

A stale or malformed message of a peer raises none of them: it is answered or dropped.
"""

from __future__ import annotations

MAJORITY_ROLLED_BACK = (
    "the disks of a majority have gone back to an earlier state, and acknowledged writes are missing there. "
    "Stop all nodes, keep copies of their data directories, and start from the newest ones"
)


class RaftError(Exception):
    """Anything that the core or its storage refuses."""


class ConfigError(RaftError):
    """An option is out of range, or two options contradict each other."""


class Compacted(RaftError):
    """The entry was compacted away; a snapshot covers it."""

    def __init__(self) -> None:
        super().__init__("requested index is unavailable due to compaction")


class SnapshotOutOfDate(RaftError):
    """The snapshot is older than the one already there."""

    def __init__(self) -> None:
        super().__init__("requested index is older than the existing snapshot")


class Unavailable(RaftError):
    """The entry is past the end of the log."""

    def __init__(self) -> None:
        super().__init__("requested entry at index is unavailable")


class SnapshotTemporarilyUnavailable(RaftError):
    """The snapshot is still being made; the core asks again later."""

    def __init__(self) -> None:
        super().__init__("snapshot is temporarily unavailable")


class ProposalDropped(RaftError):
    """The proposal never entered a log, so retrying it is safe."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"raft proposal dropped: {reason}")
        self.reason = reason


class ConfChangeRefused(RaftError):
    """The change can't be made in the current configuration. Nothing was appended or applied."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StepRefused(RaftError):
    """The message may not be stepped: it is not for the core, or is a reply of an unknown peer."""


class PeerNotFound(StepRefused):
    """A reply of a node that is in no configuration known here."""

    def __init__(self) -> None:
        super().__init__("raft: cannot step as peer not found")


class BrokenStorage(RaftError):
    """Storage contradicts itself or what this node has acknowledged: the node must stop."""


class RolledBack(BrokenStorage):
    """This node's log lacks entries that it had acknowledged: its disk has gone back to an earlier state."""


class MajorityRolledBack(RaftError):
    """Another member holds what is impossible if every member has kept what it acknowledged.

    The disks of a majority have gone back to an earlier state. If the node went on, it could answer with
    other values than those that were acknowledged, so it must stop.
    """
