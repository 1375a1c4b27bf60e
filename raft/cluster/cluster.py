"""The running cluster as its supervisor holds it: the state that all verbs share.

Owns the state (nodes, leadership, faults, the journal) and the selection of nodes. Performs no actions.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path

from raft.cluster.failures import VerbFailed
from raft.cluster.faults.registry import FaultRegistry
from raft.cluster.hosts import ClusterHosts
from raft.cluster.processes.node_process import NodeProcess, NodeState
from raft.cluster.records.journal import Journal
from raft.cluster.records.leader_history import LeaderHistory
from raft.cluster.rundir import RunDirectory
from raft.cluster.selectors import NothingMatches, SelectionScope, select, select_one
from raft.cluster.spec import ClusterRecord, NodeRecord


class Cluster:
    """State only; changed by the supervisor and by the classes that carry out verbs for it."""

    def __init__(
        self,
        record: ClusterRecord,
        run_directory: RunDirectory,
        journal: Journal,
        rng: random.Random,
        hosts: ClusterHosts | None = None,
    ) -> None:
        self.record = record
        self.spec = record.spec
        self.run_directory = run_directory
        self.journal = journal
        self.random = rng
        self.nodes = {node.id: NodeProcess(node.id) for node in record.nodes}
        self.history = LeaderHistory()
        self.safety = ElectionSafety()
        self.hosts = hosts
        self.faults = FaultRegistry(cuts_outside=hosts is not None)
        self.ending = False
        self.out_of_space = False  # As last reported by a leader.
        self.record_error = ""  # Why the record in the run directory is out of date; empty if it is not.

    def endpoint_of(self, node: int) -> str:
        """Where a node listens, and others reach it."""
        if self.hosts is not None:
            return self.hosts.endpoint(node)
        return self.run_directory.node_endpoint(node)

    def add_node(self, node: int) -> NodeProcess:
        """Add a node, which has no process yet."""
        log = str(Path(self.record.log_dir) / f"n{node}.log")
        self.record.nodes.append(NodeRecord(id=node, endpoint=self.endpoint_of(node), log=log))
        process = self.nodes[node] = NodeProcess(node)
        self.save_record()
        return process

    def remove_node(self, node: NodeProcess) -> None:
        """Remove a node that has left the cluster and has no process."""
        self.record.nodes = [entry for entry in self.record.nodes if entry.id != node.id]
        self.nodes.pop(node.id, None)
        for fault in self.faults.active:
            if fault.nodes == (node.id,) and not fault.links:  # Its process and its disk no longer exist.
                self.faults.remove(fault.id)
        self.save_record()

    @property
    def expected_up(self) -> list[int]:
        """The nodes that run, or are expected to run soon."""
        return [node.id for node in self.nodes.values() if node.state is not NodeState.GAVE_UP]

    def in_state(self, states: Collection[NodeState]) -> list[NodeProcess]:
        """The nodes in one of `states`, by id."""
        return [node for node in self.nodes.values() if node.state in states]

    def choose(self, selector: str, states: Collection[NodeState] = tuple(NodeState)) -> list[NodeProcess]:
        """The nodes that a selector means now; group words select only nodes in one of `states`.

        Raises VerbFailed for a node that was named but is in none of them.
        """
        try:
            chosen = [self.nodes[node] for node in select(selector, self._scope(states), self.random)]
        except NothingMatches:
            if self.in_state(states):
                raise
            wanted = " or ".join(state.value for state in NodeState if state in states)
            known = ", ".join(f"{node.name} is {node.state.value}" for node in self.nodes.values())
            raise NothingMatches(f"no node is {wanted}: {known}") from None
        unfit = [node for node in chosen if node.state not in states]
        if unfit:
            raise VerbFailed(", ".join(f"{node.name} is {node.state.value}" for node in unfit))
        return chosen

    def choose_one(self, selector: str) -> NodeProcess:
        """The one node that a selector means now."""
        return self.nodes[select_one(selector, self._scope(tuple(NodeState)), self.random)]

    def save_record(self) -> None:
        """Publish which nodes run where. On a full disk the old record stays until there is space."""
        for entry in self.record.nodes:
            entry.pid = self.nodes[entry.id].pid or 0
        try:
            self.record.write(self.run_directory.record)
        except OSError as error:
            self.record_error = error.strerror or str(error)
        else:
            self.record_error = ""

    def _scope(self, states: Collection[NodeState]) -> SelectionScope:
        leader = self.history.leader
        return SelectionScope(
            tuple(self.nodes),
            tuple(node.id for node in self.in_state(states)),
            leader.node if leader is not None else 0,
        )


class ElectionSafety:
    """Remembers the leader of each term."""

    def __init__(self) -> None:
        self._leaders: dict[int, list[int]] = {}

    def note_leader(self, term: int, node: int) -> int | None:
        """Note that `node` leads `term`; returns another node that did before, if there is one."""
        leaders = self._leaders.setdefault(term, [])
        if node in leaders:
            return None
        leaders.append(node)
        return leaders[0] if len(leaders) > 1 else None
