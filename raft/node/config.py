"""The configuration of one node, and its validation.

Owns the node's configuration as one value that travels from the launcher as msgpack, its defaults
and its checks. Knows nothing of how a command line or a cluster's directory is read.
"""

from __future__ import annotations

import os
from math import ceil

import msgspec
from msgspec import Struct

from actors.transport.base import NO_KEY
from actors.transport.endpoints import EndpointError, canonical, check_endpoint, check_target
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.tuning import Tuning
from raft.protocol.admin import SetLink
from raft.protocol.client import MEMBERS_MAX

NODE_ID_MAX = 1_000_000
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
EXIT_FAILED = 1
EXIT_REFUSED = 2  # It cannot start like this, and a restart would not help.
EXIT_REMOVED = 3  # It was removed from its cluster.
EXIT_DISK_FAILED = 4  # The contents of the disk are unknown; a new process can read them.
EXIT_CORRUPT = 5  # Durable data are damaged: it refuses to start.
EXIT_LOG_MISSING = 6  # Its directory is empty, and it has run before: it refuses to start.
EXIT_DIVERGED = 7  # Its machine's answers differ from the leader's: it is not deterministic.
EXIT_ROLLED_BACK = (
    8  # Its log lacks what it had acknowledged: an old copy, or a disk that lost synced writes.
)
EXIT_BROKEN_PROMISE = (
    9  # Another member's log contradicts what is committed here: a majority was rolled back.
)
EXIT_WRONG_VERSION = 10  # Its machine is older than the members have agreed, or can't read its snapshot.
EXIT_OUT_OF_MEMORY = 11  # It had no memory for a committed command; it continues when there is more.


IMPORTING = "RAFT_IMPORTS_MACHINE"
"""The environment variable that names a machine while a node imports the module that it is in."""


class StartedWhileImported(RuntimeError):
    """A program tried to start a node while a node imports it."""


def check_not_imported() -> None:
    """Raise StartedWhileImported in a process that is a node, and imports its machine's module just now."""
    machine = os.environ.get(IMPORTING)
    if machine:
        raise StartedWhileImported(
            f"an attempt has been made to start a node while another one imports {machine} here: "
            "you have probably forgotten to use the proper idiom in the main module, "
            "if __name__ == '__main__': main(), behind which all belongs that starts a node"
        )


class BadConfig(Exception):
    """The configuration cannot work; the text says which option to change."""


class NodeConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that a node process needs to know; `check` says whether it can work."""

    node: int
    listen: str  # "ipc:///path" or "tcp://host:port"
    advertise: str = ""  # Where others reach this node, if that is not where it listens; see `address`.
    data_dir: str
    peers: dict[int, str] = {}  # The other members known at the start, by id, and where they listen.
    join: bool = False  # Begin without a configuration, and wait for the leader of a cluster to bring one.
    cluster: str = "default"
    incarnation: int = 0  # 0: counted in the data directory.
    heartbeat_seconds: float = 0.050
    election_seconds_min: float = 0.250
    election_seconds_max: float = 0.500
    fsync_handover_seconds: float = 0.0  # A slower leader makes room for a faster one; 0.0: see fsync_limit.
    first_start: bool = False  # May begin with an empty directory: never set for a node that has run before.
    repair_from_peers: bool = False  # A damaged log is set aside, and the node joins its cluster again.
    pre_vote: bool = True
    check_quorum: bool = True
    lease_reads: bool | None = None  # None: only where a leader's end can be proved; see `peer_processes`.
    machine: str = ""  # One of the user's own beside the built-in one: "package.module:Class".
    tuning: Tuning = Tuning()  # The core's limits and habits.
    snapshots: SnapshotPolicy = SnapshotPolicy()
    sync: bool = True  # False: no fsync, so that a power cut loses acknowledged writes.
    seed: str = ""  # For the draws of this node; "" takes them from the operating system.
    supervisor: str = ""  # Where the launcher listens for reports; "" for a node on its own.
    fault_injection: bool = False  # The supervisor may break this node on purpose; else nothing can.
    links: tuple[SetLink, ...] = ()  # Ways to peers that are broken from the first moment on.
    keys: str = ""  # This node's CURVE key file; a must beyond loopback.
    network_namespace: str = ""  # The file of one in which it runs; its supervisor stays outside.
    trace: str = ""  # A file that gets every event in the core; all nodes of a machine may share it.
    log_path: str = ""  # "" logs to standard error.
    log_level: str = "INFO"

    @property
    def supervisor_has_keys(self) -> bool:
        """Does the supervisor show this node's key? That of nodes in namespaces has none."""
        return bool(self.keys) and not self.network_namespace

    @property
    def supervisor_key(self) -> bytes | None:
        """The key that the supervisor must have, if that is not the one in the list."""
        return NO_KEY if self.network_namespace else None

    @property
    def address(self) -> str:
        """Where others reach this node, as the cluster keeps it and tells clients."""
        return self.advertise or self.listen

    @property
    def tick_seconds(self) -> float:
        """Half a heartbeat: fine enough to tell rivals' election timeouts apart, coarse enough to idle."""
        return self.heartbeat_seconds / 2

    @property
    def fsync_limit_seconds(self) -> float:
        """From which time on a write counts as slow: half of the shortest election timeout, or as given."""
        return self.fsync_handover_seconds or self.election_seconds_min / 2

    @property
    def election_ticks(self) -> int:
        """The shortest election timeout in ticks."""
        return max(1, round(self.election_seconds_min / self.tick_seconds))

    @property
    def election_ticks_max(self) -> int:
        """The longest election timeout in ticks; always more than the shortest."""
        return max(self.election_ticks + 1, round(self.election_seconds_max / self.tick_seconds))

    @property
    def leases(self) -> bool:
        """Whether this node may hold a lease, and withhold its vote for another's."""
        return self.check_quorum and self.lease_reads is not False

    @property
    def withholds_milliseconds(self) -> int:
        """For how long this node withholds its vote for a lease; 0 if it does not."""
        return self.election_milliseconds if self.leases else 0

    @property
    def election_milliseconds(self) -> int:
        """The shortest election timeout as it is counted, in ticks."""
        return int(self.election_ticks * self.tick_seconds * 1000)

    def ticks_of(self, milliseconds: float) -> int:
        """At least so many ticks take so long."""
        return ceil(milliseconds / 1000 / self.tick_seconds)

    @property
    def voters(self) -> tuple[int, ...]:
        """The ids of the first members, this node's among them; of no use where `join` is set."""
        return tuple(sorted({self.node, *self.peers}))

    def encode(self) -> bytes:
        """The configuration as msgpack, for a node process's argument."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> NodeConfig:
        """Read what `encode` wrote; BadConfig for anything else."""
        try:
            return msgspec.msgpack.decode(raw, type=cls)
        except msgspec.DecodeError as error:
            raise BadConfig(f"not a node's configuration: {error}") from None

    def check(self) -> NodeConfig:
        """Return the configuration, or raise BadConfig for the first thing that cannot work."""
        self._check_members()
        self._check_times()
        self._check_endpoints()
        policy = self.snapshots
        if min(policy.entries_max or 0, policy.bytes_max, policy.entries_kept) < 0:
            raise BadConfig(f"the limits for snapshots are numbers from 0 on, not {policy}")
        if self.tuning.quota_bytes < 0:
            raise BadConfig(f"quota_bytes is a number from 0 on, not {self.tuning.quota_bytes}")
        if self.links and not self.fault_injection:
            raise BadConfig("a node begins with broken links only if it is started with fault injection")
        if self.network_namespace and not self.fault_injection:
            raise BadConfig("a node enters a network namespace only if it is started with fault injection")
        if not self.data_dir:
            raise BadConfig("a node needs a data directory: give --data-dir")
        if self.log_level not in LOG_LEVELS:
            raise BadConfig(f"log_level is one of {', '.join(LOG_LEVELS)}, not {self.log_level!r}")
        module, _, name = self.machine.partition(":")
        if self.machine and not (module and name):
            raise BadConfig(f"a machine is written package.module:Class, not {self.machine!r}")
        return self

    def _check_members(self) -> None:
        for node in (self.node, *self.peers):
            if not 1 <= node <= NODE_ID_MAX:
                raise BadConfig(f"a node's id is a number from 1 to {NODE_ID_MAX}, not {node}")
        if self.node in self.peers:
            raise BadConfig(
                f"node {self.node} is listed among its own peers: give --peer for the others only"
            )
        if len(self.peers) >= MEMBERS_MAX:
            raise BadConfig(f"a cluster has at most {MEMBERS_MAX} members, not {len(self.peers) + 1}")
        endpoints = [canonical(endpoint) for endpoint in (self.address, *self.peers.values())]
        for endpoint in (self.address, *self.peers.values()):
            if endpoints.count(canonical(endpoint)) > 1:
                raise BadConfig(f"two members share the endpoint {endpoint}")

    def _check_endpoints(self) -> None:
        try:
            for endpoint in filter(None, (self.listen, self.supervisor)):
                check_endpoint(endpoint, has_keys=bool(self.keys))
            for endpoint in self.peers.values():
                check_target(endpoint, has_keys=bool(self.keys))
        except EndpointError as error:
            raise BadConfig(str(error)) from None
        try:
            check_target(self.address, has_keys=bool(self.keys))
        except EndpointError as error:
            raise BadConfig(
                f"others could not reach this node: {error}; it may listen there if --advertise says where"
            ) from None

    def _check_times(self) -> None:
        if not 0.001 <= self.heartbeat_seconds <= 60:
            raise BadConfig(f"a heartbeat takes 1ms to 60s, not {self.heartbeat_seconds}s")
        if self.election_seconds_min < 2 * self.heartbeat_seconds:
            raise BadConfig(
                f"the shortest election timeout ({self.election_seconds_min}s) is less than two heartbeats "
                f"({self.heartbeat_seconds}s each): one late heartbeat would cost an election"
            )
        if self.election_seconds_max <= self.election_seconds_min:
            raise BadConfig(
                f"the longest election timeout ({self.election_seconds_max}s) has to be more than the "
                f"shortest ({self.election_seconds_min}s), or rivals that tie once tie for ever"
            )
        if self.lease_reads and not self.check_quorum:
            raise BadConfig("lease reads need check-quorum: a leader without a quorum has no lease")
