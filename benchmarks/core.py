"""How long three cores in memory take to commit, with messages passed by hand.

Owns the loop that a user of `raft.core` would write: save, send, apply, advance, until no node has anything
to do. So a proposal's time includes all three nodes learning that it is committed and applying it.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence

from benchmarks._rows import Row, tell
from raft.core import Config, Raft
from raft.core.types import ConfState, Snapshot
from raft.storage.memory import MemoryStorage

LIMITS_MICROSECONDS = {"lone": 30.0, "batched": 4.0}
PAYLOAD = b"x" * 64
BATCH = 64
ROUNDS = 25
ROUND_SECONDS = 0.08


class Cluster:
    """Three nodes that follow the first, and what each of them has applied."""

    def __init__(self) -> None:
        members = (1, 2, 3)
        first = Snapshot(1, 1, ConfState(members))
        self.storages = {node: MemoryStorage() for node in members}
        for storage in self.storages.values():
            storage.apply_snapshot(first)
        self.nodes = {
            node: Raft(Config(id=node, applied=1), self.storages[node], random.Random(node))
            for node in members
        }
        self.applied = dict.fromkeys(members, 0)
        self.leader = self.nodes[1]
        self.leader.campaign()
        self.settle()

    def settle(self) -> None:
        """Let everything happen that can."""
        nodes = self.nodes
        busy = True
        while busy:
            busy = False
            for number, node in nodes.items():
                if node.has_ready():
                    busy = True
                    ready = node.ready()
                    storage = self.storages[number]
                    if ready.hard_state is not None:
                        storage.set_hard_state(ready.hard_state)
                    if ready.entries:
                        storage.append(ready.entries)
                    for message in ready.messages:
                        nodes[message.to].step(message)
                    self.applied[number] += len(ready.committed)
                    node.advance(ready)

    def compact(self) -> None:
        """Forget what is applied, so that a long run stays small."""
        for number, node in self.nodes.items():
            self.storages[number].compact(node.log.applied)


def lone(cluster: Cluster) -> int:
    """One proposal, committed and applied everywhere."""
    cluster.leader.propose(PAYLOAD)
    cluster.settle()
    return 1


def batched(cluster: Cluster) -> int:
    """As many at once as a busy node takes in one turn."""
    cluster.leader.propose_batch([PAYLOAD] * BATCH)
    cluster.settle()
    return BATCH


def measure() -> dict[str, float]:
    """Return the median of several rounds, in microseconds per proposal."""
    cluster = Cluster()
    answers = {}
    for name, act in (("lone", lone), ("batched", batched)):
        rounds = []
        for _ in range(ROUNDS):
            before, proposed, started = cluster.applied[3], 0, time.perf_counter()
            while (spent := time.perf_counter() - started) < ROUND_SECONDS:
                for _ in range(20):
                    proposed += act(cluster)
            assert cluster.applied[3] - before == proposed, "not everything was applied"
            rounds.append(spent / proposed * 1e6)
            cluster.compact()
        answers[name] = statistics.median(rounds)
    return answers


def main(arguments: Sequence[str]) -> int:
    """Print the medians; 1 if one of them is over its limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks core", description=__doc__)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    rows = (
        Row(f"{name} proposal", found, "us", LIMITS_MICROSECONDS[name]) for name, found in measure().items()
    )
    return tell(rows, options.output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
