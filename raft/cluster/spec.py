"""The requested shape of a cluster, and the record of a running one.

Owns the checks of the shape as a whole, and the record in the run directory by which other processes find
the nodes, the logs and the clock.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from actors.processes.private_files import replace_file
from raft.cluster.failures import BadUsage, Unreachable
from raft.cluster.quantities import format_duration
from raft.node.snapshots.policy import SnapshotPolicy
from raft.protocol.client import MEMBERS_MAX

if TYPE_CHECKING:
    from raft.node.settings import ProcessSettings

NODES_MAX = MEMBERS_MAX
VERSION = 1
NETNS = "netns"


class ClusterSpec(Struct, frozen=True, kw_only=True):
    """A requested cluster; call `check` before use."""

    name: str = "default"
    nodes: int = 5
    data_dir: str | None = None
    keep: bool = False
    heartbeat_seconds: float = 0.050
    election_seconds_min: float = 0.250
    election_seconds_max: float = 0.500
    seed: int | None = None
    machine: str | None = None
    trace: str | None = None
    tune: tuple[str, ...] = ()  # NAME=VALUE, see raft.node.tuning.
    pre_vote: bool = True
    check_quorum: bool = True
    lease_reads: bool | None = None
    ephemeral_log: bool = False
    repair_from_peers: bool = False
    snapshots: SnapshotPolicy = SnapshotPolicy()
    hosts: str = ""  # NETNS: each node in a network namespace of its own.

    def node_settings(self) -> ProcessSettings:
        """The settings that all nodes of the cluster share."""
        return {
            "heartbeat": self.heartbeat_seconds,
            "election_timeout": (self.election_seconds_min, self.election_seconds_max),
            "pre_vote": self.pre_vote,
            "check_quorum": self.check_quorum,
            "lease_reads": self.lease_reads,
            "trace": self.trace or "",
            "tune": self.tune,
            "machine": self.machine or "",
            "ephemeral_log": self.ephemeral_log,
            "snapshots": self.snapshots,
        }

    def check(self) -> None:
        """Raise BadUsage for an invalid shape, naming the options that contradict each other."""
        if not 1 <= self.nodes <= NODES_MAX:
            raise BadUsage(f"--nodes {self.nodes}: a cluster has 1 to {NODES_MAX} nodes, best 3, 5 or 7")
        if self.heartbeat_seconds * 2 > self.election_seconds_min:
            raise BadUsage(
                f"--heartbeat {format_duration(self.heartbeat_seconds)} is too slow for --election-timeout "
                f"{format_duration(self.election_seconds_min)}-{format_duration(self.election_seconds_max)}: "
                "at least two heartbeats must fit into the shortest timeout"
            )
        if self.lease_reads and not self.check_quorum:
            raise BadUsage("--lease-reads needs check-quorum: a lease is what a quorum has confirmed")
        if self.hosts not in ("", NETNS):
            raise BadUsage(f"--hosts {self.hosts}: the only kind of hosts is {NETNS}")
        if self.tune:
            check_tuning(self.tune)
        if self.machine is not None and not _names_a_class(self.machine):
            raise BadUsage(f"--machine {self.machine!r}: write it as package.module:Class")


def check_tuning(words: tuple[str, ...]) -> None:
    """Raise BadUsage for invalid tuning, or limits that contradict each other."""
    # Imported here: few commands tune, but all load this module.
    from raft.node.config import BadConfig, NodeConfig
    from raft.node.environment import core_config
    from raft.node.tuning import BadTuning, parse_tuning

    try:
        probe = NodeConfig(node=1, listen="", data_dir="", tuning=parse_tuning(words))
        core_config(probe, applied=0)
    except (BadTuning, BadConfig) as error:
        raise BadUsage(f"--tune: {error}") from None


def _names_a_class(text: str) -> bool:
    module, colon, name = text.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


class NodeRecord(Struct, kw_only=True):
    """Where one node is found; `pid` 0 while it is down."""

    id: int
    endpoint: str
    log: str
    pid: int = 0


class ClusterRecord(Struct, kw_only=True):
    """A running cluster, as other processes find it in `cluster.json`."""

    v: int = VERSION
    name: str
    cluster: str  # The id in frames and data directories.
    pid: int
    started_seconds: float  # Monotonic: the zero of every event's `t`.
    data_dir: str
    log_dir: str
    events: str
    spec: ClusterSpec
    keys: str = ""  # The key file by which clients speak to the nodes; "" if those need none.
    nodes: list[NodeRecord]

    def write(self, path: Path) -> None:
        """Replace the file atomically, so that a reader sees the old or the new one."""
        replace_file(path, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n", sync=False)

    @classmethod
    def read(cls, path: Path) -> ClusterRecord:
        """Raises Unreachable if there is none, or none that this version understands."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            raise Unreachable(
                f"the cluster starts or ends at the moment, or its files were removed: {path} does not exist"
            ) from None
        except (msgspec.DecodeError, RecursionError, OSError) as error:
            raise Unreachable(f"{path} cannot be read: {error}") from error
