"""What a node gets from the program that starts it: a process, a test, a simulation.

Owns that list, the core's options that follow from the node's, and the first configuration of
a cluster. Knows nothing of the node's parts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Protocol

from msgspec import Struct, field

from raft.core.config import Config, ReadOnlyOption
from raft.core.errors import ConfigError
from raft.core.state import Observer
from raft.core.types import ConfState, HardState, Index, Snapshot, Storage
from raft.machines.application import Application
from raft.node.config import BadConfig, NodeConfig
from raft.node.leadership.peer_processes import Endings, ForgottenPledges, NoEndings, PledgeRecord
from raft.node.log_writer import Log
from raft.node.reporter import Journal
from raft.node.requests.admin import Faults
from raft.node.requests.recent import LINES_KEPT, LogLines, Ring
from raft.node.snapshots.contents import State, pack_state
from raft.node.snapshots.taker import SnapshotLog
from raft.node.space import LogSize
from raft.node.worker import InlineWorker, WorkDone, Worker
from raft.storage.snapshots import sealed

Post = Callable[[WorkDone], None]

IDENTITY_BYTES = 8
HEARTBEAT_TICKS = 2  # See NodeConfig.tick_seconds.


def process_usage() -> dict[str, float]:
    """What this process has used: seconds of the processor, and bytes of memory that are resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "cpu_seconds": time.process_time(),
        "resident_bytes": float(pages * os.sysconf("SC_PAGE_SIZE")),
    }


def drawn_identity() -> str:
    """A new cluster's identity, from the operating system: as by `secrets`, whose imports are large."""
    return os.urandom(IDENTITY_BYTES).hex()


class NodeStore(Storage, Log, SnapshotLog, LogSize, Protocol):
    """A log that the core can read and the node can write."""


class NodeEnvironment(Struct, kw_only=True):
    """`incarnation` numbers this process of the node; `leave` ends the process once the node has stopped."""

    config: NodeConfig
    incarnation: int
    store: NodeStore
    machine: Application
    random: Random
    journal: Journal
    disk_worker: Callable[[Post], Worker]
    # For the user's own machine; None runs it on the loop, which suits only a fast one.
    apply_worker: Callable[[Post], Worker] | None = None
    # For what takes long with a large state: its encoding, its file, its restoring.
    snapshot_worker: Callable[[Post], Worker] = InlineWorker
    observer: Observer | None = None  # Called for every event in the core.
    faults: Faults | None = None  # None: nothing can be broken on purpose.
    counters: Callable[[], Mapping[str, int]] = dict
    traffic: Callable[[], Mapping[str, tuple[int, int]]] = dict
    """By process: bytes that were sent there, and received from there."""
    # Peers know this incarnation number: the next process must use a greater one.
    note_incarnation: Callable[[int], None] = lambda _incarnation: None
    leave: Callable[[], None] = lambda: None
    # Whether it is certain that no process listens at an endpoint; see `actors.transport.endpoints`.
    is_deserted: Callable[[str], bool] = lambda _endpoint: False
    usage: Callable[[], Mapping[str, float]] = process_usage  # For its metrics.
    log_lines: LogLines = field(default_factory=lambda: Ring(LINES_KEPT))  # Of its process, to be told.
    endings: Endings = NoEndings()  # What is known of the processes of other nodes.
    pledges: PledgeRecord = ForgottenPledges()
    # The identity of a new cluster, if this node is the first to lead it. Not from `random`, which may have a
    # seed that another cluster has, too.
    draw_identity: Callable[[], str] = drawn_identity
    pid: int = 0
    # CPU seconds of the loop's thread: they distinguish a long turn from a stall.
    worked: Callable[[], float] = time.thread_time
    # The clock for reports to the supervisor, without simulated errors; None is the node's own.
    true_now: Callable[[], float] | None = None


def core_config(config: NodeConfig, applied: Index) -> Config:
    """The core's options for a node whose machine has applied up to `applied`.

    Raises BadConfig if the tuned values contradict each other.
    """
    tuning = config.tuning
    try:
        return Config(
            id=config.node,
            election_ticks=config.election_ticks,
            election_ticks_max=config.election_ticks_max,
            heartbeat_ticks=HEARTBEAT_TICKS,
            applied=applied,
            async_storage_writes=True,
            max_size_per_msg=tuning.append_bytes_max,
            max_committed_size_per_ready=tuning.apply_bytes_max,
            max_uncommitted_size=tuning.uncommitted_bytes_max,
            max_inflight_msgs=tuning.inflight_appends_max,
            max_inflight_bytes=tuning.inflight_bytes_max,
            check_quorum=config.check_quorum,
            pre_vote=config.pre_vote,
            read_only=ReadOnlyOption.LEASE_BASED if config.leases else ReadOnlyOption.SAFE,
            # Clients ask the leader itself, which knows the outcome of their commands.
            disable_proposal_forwarding=True,
            disable_conf_change_validation=not tuning.conf_change_validation,
            step_down_on_removal=tuning.step_down_on_removal,
            hand_over_on_removal=tuning.hand_over_on_removal,
            priority=tuning.priority,
        )
    except ConfigError as error:
        raise BadConfig(f"the tuned values contradict each other: {error}") from None


def bootstrap(store: NodeStore, config: NodeConfig) -> bool:
    """Give an empty log the first configuration, unless the node is to join; True if it was given.

    Every first member writes the same empty snapshot, at index 1 of term 1: so all logs begin alike,
    and a member that is added later learns the configuration as it learns everything else. It names the
    founders, which identify the cluster until it has an identity.
    """
    hard_state, _ = store.initial_state()
    if config.join or store.last_index() or hard_state != HardState():
        return False
    data = bytes(pack_state(State(founders=config.voters), ()))
    first = sealed(Snapshot(index=1, term=1, conf_state=ConfState(voters=config.voters), data=data))
    store.write(HardState(term=1, commit=1), (), first)
    store.accept(HardState(term=1, commit=1), (), first)
    return True
