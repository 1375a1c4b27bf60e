"""The kind of world of a seed: the speed of its network and disks, the configuration of its nodes.

Owns the random choice. Faults are chosen elsewhere, so that they can be removed one by one without changing
the world. Knows nothing of how a world is built.
"""

from __future__ import annotations

from random import Random

from msgspec import Struct

from raft.machines.lease_clock import DRIFT_RATIO
from raft.node.config import NodeConfig
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.tuning import Tuning
from raft.protocol.registry import process_of

DATA_DIR = "/data"
LEASE_READ_SPREAD_MAX = 0.05  # A leader's lease is a tenth shorter than the followers' promise.


class Setting(Struct, frozen=True, kw_only=True):
    """One world. Times are simulated seconds."""

    seed: int
    nodes: int = 5
    clients: int = 4
    holders: int = 1  # Clients with sessions.
    seconds: float = 60.0
    heartbeat_seconds: float = 0.2
    election_seconds_min: float = 1.0
    election_seconds_max: float = 2.0
    pre_vote: bool = True
    check_quorum: bool = True
    lease_reads: bool | None = None
    lease_mixture: bool = False  # Each incarnation of a node has another value of it.
    machines: int = 0  # On which processes can be watched, and share a clock; 0: none can.
    apply_on_worker: bool = False  # The custom machine has a thread,
    own_seconds: float = 0.001  # and takes about this long for each batch.
    segment_bytes: int = 16 * 1024
    append_bytes_max: int = 512 * 1024  # Per message: with a small value, appends are split often.
    apply_bytes_max: int = 64 * 1024
    padding_bytes_max: int = 0  # Of a client's value.
    entries_kept: int = 0  # Of those that a snapshot covers.
    snapshot_entries: int = 0  # A node takes a snapshot after this many; 0: only by request.
    clock_spread: float = 0.0  # A node's clock may be fast or slow by up to this share.
    latency_seconds: float = 0.001
    write_seconds: float = 0.002
    wake_seconds: float = 0.0  # The longest delay from work to the turn that does it.
    think_seconds: float = 0.4
    fault_gap_seconds: float = 1.5
    fault_seconds: float = 1.5

    def dice(self, purpose: str) -> Random:
        """Random numbers for one purpose, independent of all others."""
        return Random(f"{self.seed}:{purpose}")

    def clock_rate(self, node: int) -> float:
        """How many seconds a node's clock counts in one."""
        clock = self.machine_of(node) or f"clock {node}"
        return 1 + self.clock_spread * (2 * self.dice(clock).random() - 1)

    def machine_of(self, node: int) -> str:
        """The machine that a node runs on; "" if nothing can be watched there."""
        return f"machine {1 + node % self.machines}" if self.machines else ""

    def lease_reads_of(self, node: int, incarnation: int) -> bool | None:
        """Whether reads use leases in that incarnation of a node."""
        if not self.lease_mixture:
            return self.lease_reads
        trusts_clocks = self.check_quorum and self.clock_spread <= LEASE_READ_SPREAD_MAX
        choices = [None, False, True] if trusts_clocks else [None, False]
        return self.dice(f"leases {node} {incarnation}").choice(choices)

    @property
    def clocks_agree(self) -> bool:
        """Are the clocks as accurate as the holder of a lease assumes?"""
        return self.clock_spread <= DRIFT_RATIO / 2

    def config(self, node: int, incarnation: int, *, joins: bool) -> NodeConfig:
        """The configuration of one incarnation of a node, which is an initial member or joins later."""
        return NodeConfig(
            node=node,
            listen=endpoint_of(node),
            data_dir=DATA_DIR,
            peers={} if joins else {peer: endpoint_of(peer) for peer in self.ids if peer != node},
            join=joins,
            incarnation=incarnation,
            heartbeat_seconds=self.heartbeat_seconds,
            election_seconds_min=self.election_seconds_min,
            election_seconds_max=self.election_seconds_max,
            pre_vote=self.pre_vote,
            check_quorum=self.check_quorum,
            lease_reads=self.lease_reads_of(node, incarnation),
            snapshots=SnapshotPolicy(
                entries_max=self.snapshot_entries, bytes_max=0, entries_kept=self.entries_kept
            ),
            tuning=Tuning(append_bytes_max=self.append_bytes_max, apply_bytes_max=self.apply_bytes_max),
        ).check()

    @property
    def ids(self) -> range:
        """The ids of the initial members."""
        return range(1, self.nodes + 1)

    def describe(self) -> str:
        """One line for the run log."""
        words = [
            f"{self.nodes} nodes, {self.clients} clients, {self.holders} holders, {self.seconds:g} s",
            f"network {self.latency_seconds * 1000:.1f} ms, disk {self.write_seconds * 1000:.1f} ms",
            f"segments of {self.segment_bytes} bytes",
        ]
        words += [] if self.pre_vote else ["no pre-votes"]
        words += [] if self.check_quorum else ["no check-quorum"]
        words += [f"values of up to {self.padding_bytes_max} bytes"] if self.padding_bytes_max else []
        words += [f"messages of {self.append_bytes_max} bytes"] if self.append_bytes_max < 4096 else []
        words += [f"snapshots every {self.snapshot_entries} entries"] if self.snapshot_entries else []
        words += [f"clocks off by up to {self.clock_spread:.1%}"] if self.clock_spread else []
        words += {None: [], True: ["lease reads"], False: ["no lease reads"]}[self.lease_reads]
        words += ["any lease reads"] if self.lease_mixture else []
        words += [f"{self.machines} machines"] if self.machines else []
        words += [f"own machine takes {self.own_seconds:g} s"] if self.apply_on_worker else []
        return ", ".join(words)


def endpoint_of(node: int) -> str:
    """A node's (unused) endpoint."""
    return f"ipc:///simulated/{process_of(node)}"


def draw_setting(seed: int, *, nodes: int, seconds: float) -> Setting:
    """The world of a seed."""
    dice = Random(f"{seed}:setting")
    check_quorum = dice.random() < 0.7
    clock_spread = dice.choice([0.0, DRIFT_RATIO / 2, LEASE_READ_SPREAD_MAX, 0.2])
    return Setting(
        seed=seed,
        nodes=nodes,
        seconds=seconds,
        pre_vote=dice.random() < 0.85,
        check_quorum=check_quorum,
        lease_reads=(check_quorum and clock_spread <= LEASE_READ_SPREAD_MAX and dice.random() < 0.4) or None,
        clock_spread=clock_spread,
        clients=dice.choice([2, 3, 4]),
        holders=dice.choice([1, 2]),
        apply_on_worker=dice.random() < 0.25,
        segment_bytes=dice.choice([2048, 8192, 32768]),
        latency_seconds=dice.choice([0.0005, 0.002, 0.008]),
        write_seconds=dice.choice([0.0005, 0.003, 0.012, 0.06]),
        wake_seconds=dice.choice([0.0, 0.002, 0.01]),
        heartbeat_seconds=dice.choice([0.2, 0.4]),
        think_seconds=dice.choice([0.2, 0.4, 0.8]),
        fault_gap_seconds=dice.choice([0.4, 0.8, 1.6, 3.2]),
        fault_seconds=dice.choice([0.5, 1.5, 4.0]),
        append_bytes_max=dice.choice([1, 200, 512 * 1024]),
        apply_bytes_max=dice.choice([1, 64 * 1024]),
        padding_bytes_max=dice.choice([0, 400, 1600, 1600]),
        snapshot_entries=dice.choice([0, 5, 10, 40]),
        entries_kept=dice.choice([0, 2, 8]),
        own_seconds=dice.choice([0.001, 1.0]),
        lease_mixture=dice.random() < 0.25,
        machines=dice.choice([0, 1, 1, 1, 2]),
    )
