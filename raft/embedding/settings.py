"""A program's settings for its node, and the configuration that results.

Owns the names of the settings and their defaults. Whether they can work is the node's own configuration's
to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from msgspec import Struct

from actors.errors import ActorsError
from actors.failures.supervision import RestartPolicy
from actors.processes.child_main import name_class
from raft.durations import Duration, range_of, seconds_of
from raft.embedding.errors import NodeRefused
from raft.machines.machine import StateMachine
from raft.node.config import BadConfig, NodeConfig, check_not_imported
from raft.node.environment import core_config
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.tuning import Tuning

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
RESTARTS = RestartPolicy(max_restarts=5, window_seconds=30.0)


class Settings(TypedDict, total=False):
    """Everything but a node's id, its endpoint and its directory; all have defaults."""

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
    restarts: RestartPolicy
    """How often, and how soon, a node that crashed is started again."""
    stop_seconds_max: Duration
    """How long the node may take to hand over and end before it is killed; 5 by default."""


class Plan(Struct, frozen=True, kw_only=True):
    """Validated settings."""

    config: NodeConfig
    output_path: Path
    """The output of the node's process: truncated whenever the program starts."""
    restarts: RestartPolicy
    stop_seconds_max: float

    @property
    def endpoints(self) -> dict[int, str]:
        """The endpoints of the members known to the program, this node first."""
        return {self.config.node: self.config.address, **self.config.peers}


def plan_of(node: int, listen: str, data_dir: str | Path, settings: Settings) -> Plan:
    """Check the settings of a node; raises NodeRefused for what cannot work, before anything is made."""
    check_not_imported()
    unknown = sorted(set(settings) - set(Settings.__annotations__))
    if unknown:
        raise TypeError(
            f"a node has no setting {unknown[0]!r}; there are {', '.join(Settings.__annotations__)}"
        )
    directory = Path(data_dir).absolute()
    peers = dict(settings.get("peers", {}))
    advertise = settings.get("advertise", "")
    if peers.get(node) in (listen, advertise):
        del peers[node]
    beside = directory.with_name(directory.name + ".log")
    log_path = Path(settings.get("log_path", beside)).absolute()
    default = NodeConfig(node=node, listen=listen, data_dir=str(directory))
    usual = default.election_seconds_min, default.election_seconds_max
    try:
        low, high = range_of(settings.get("election_timeout", usual))
        config = NodeConfig(
            node=node,
            listen=listen,
            advertise=advertise,
            data_dir=str(directory),
            peers=peers,
            join=settings.get("join", False),
            first_start=not settings.get("existing", False),
            repair_from_peers=settings.get("repair_from_peers", False),
            cluster=settings.get("cluster", default.cluster),
            heartbeat_seconds=seconds_of(settings.get("heartbeat", default.heartbeat_seconds)),
            election_seconds_min=low,
            election_seconds_max=high,
            lease_reads=settings.get("lease_reads", default.lease_reads),
            machine=machine_name(settings.get("machine", default.machine)),
            snapshots=settings.get("snapshots", default.snapshots),
            tuning=settings.get("tuning", default.tuning),
            fault_injection=settings.get("fault_injection", False),
            log_path=str(log_path),
            log_level=_level_of(settings.get("log_level", default.log_level)),
            keys=str(Path(settings["keys"]).absolute()) if "keys" in settings else "",
        ).check()
        core_config(config, applied=0)
        stop_seconds_max = seconds_of(settings.get("stop_seconds_max", 5.0))
    except (BadConfig, ActorsError, ValueError, TypeError) as error:
        raise NodeRefused(str(error)) from None
    return Plan(
        config=config,
        output_path=log_path.with_name(log_path.name + ".out"),
        restarts=settings.get("restarts", RESTARTS),
        stop_seconds_max=stop_seconds_max,
    )


def machine_name(machine: str | type[StateMachine]) -> str:
    """How the node's process finds the machine; ActorsError for a class that it cannot find."""
    return machine if isinstance(machine, str) else name_class(machine)


def _level_of(level: str) -> str:
    if level not in LOG_LEVELS:
        raise ValueError(f"log_level is one of {', '.join(LOG_LEVELS)}, not {level!r}")
    return level
