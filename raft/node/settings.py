"""The settings of a node in the words of its users, and the configuration that they make.

Owns the names of the settings and what they mean in a NodeConfig, whose defaults hold for each that is left
out. Whether the values can work together is the configuration's to say: see NodeConfig.check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from raft.durations import Duration, range_of, seconds_of
from raft.machines.machine import StateMachine
from raft.node.config import NodeConfig
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.tuning import Tuning, parse_tuning
from raft.protocol.admin import SetLink


class NodeSettings(TypedDict, total=False):
    """What a program may choose for its node, besides its id, its endpoint and its directory."""

    peers: Mapping[int, str]
    """The other members and where they listen; this one may be among them, so that all hosts can use the same
    list."""
    advertise: str
    """Where others reach this node, if that is not where it listens."""
    machine: str | type[StateMachine]
    """The user's own machine: the class, or "package.module:Class"."""
    cluster: str
    """Its name; nodes and clients of others are not listened to."""
    keys: str | Path
    """The node's CURVE key file; a must beyond loopback. Its clients speak by it, too."""
    existing: bool
    """The node has run before: an empty directory is refused, since acknowledged entries would be lost."""
    join: bool
    """It is not among the first members: it waits until `add_member` brings it in."""
    repair_from_peers: bool
    """A damaged log is set aside, and rebuilt from the peers."""
    log_path: str | Path
    """The node's log, one JSON object per line; DATA_DIR.log by default.

    It is renamed to LOG.1, and that to LOG.2, and so on, when it grows large.
    """
    log_level: str
    """DEBUG, INFO (the default), WARNING or ERROR."""
    heartbeat: Duration
    election_timeout: tuple[Duration, Duration] | str
    """The shortest and the longest, as a pair or as "250ms-500ms".

    Both are several times a heartbeat and a disk's worst fsync.
    """
    lease_reads: bool | None
    """Reads without asking a quorum. None, the default: among nodes with ipc endpoints on one Linux machine.

    True: wherever nodes are; quicker, true only while clocks run at about the same rate, and a dead leader is
    missed for an election timeout. False: never.
    """
    snapshots: SnapshotPolicy
    tuning: Tuning
    fault_injection: bool
    """For experiments: what hosts the node may break its network, disk and clock on purpose."""


class ProcessSettings(NodeSettings, total=False):
    """What a launcher or a command line may choose besides."""

    fsync_warn: Duration
    """A leader whose writes take longer makes room for one whose disk is faster."""
    tune: Iterable[str]
    """Tuning as text: "priority=-1"."""
    pre_vote: bool
    check_quorum: bool
    ephemeral_log: bool
    """No fsync: a power cut loses acknowledged writes."""
    trace: str
    """A file that gets every event in the core."""
    seed: str
    """For the draws of this node; "" takes them from the operating system."""
    supervisor: str
    """Where a launcher listens for reports."""
    network_namespace: str
    links: tuple[SetLink, ...]
    """Ways to peers that are broken from the first moment on."""


def configure(
    node: int, listen: str, data_dir: str | Path, **settings: Unpack[ProcessSettings]
) -> NodeConfig:
    """The configuration that the settings make, not yet checked.

    Raises BadTuning, ValueError or TypeError for a value that cannot be read, and ActorsError for a machine
    that no other process could import.
    """
    fields: dict[str, Any] = dict(settings)
    if "heartbeat" in settings:
        fields["heartbeat_seconds"] = seconds_of(fields.pop("heartbeat"))
    if "election_timeout" in settings:
        low, high = range_of(fields.pop("election_timeout"))
        fields |= {"election_seconds_min": low, "election_seconds_max": high}
    if "fsync_warn" in settings:
        fields["fsync_handover_seconds"] = seconds_of(fields.pop("fsync_warn"))
    if "tune" in settings:
        fields["tuning"] = parse_tuning(fields.pop("tune"))
    fields["first_start"] = not fields.pop("existing", False)
    fields["sync"] = not fields.pop("ephemeral_log", False)
    fields["peers"] = dict(settings.get("peers", {}))
    fields["machine"] = machine_name(settings.get("machine", ""))
    fields |= {name: str(fields[name]) for name in ("keys", "log_path") if name in settings}
    return NodeConfig(node=node, listen=listen, data_dir=str(data_dir), **fields)


def machine_name(machine: str | type[StateMachine]) -> str:
    """How the node's process finds the machine; ActorsError for a class that it cannot find."""
    if isinstance(machine, str):
        return machine
    from actors.processes.child_main import name_class  # Here, since no process of a node needs it.

    return name_class(machine)
