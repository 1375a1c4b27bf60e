"""Node after node killed under a writing client: nothing acknowledged is lost, no term has two leaders."""

from __future__ import annotations

import random
import threading
import time

from raft.client.client import Client
from raft.client.errors import ClientError, OutcomeUnknown
from raft.cluster.records.events import LeaderElected, NodeExited, NodeStarted, Violation
from raft.cluster.rpc.messages import Done, GetLeader, Kill, LeaderAnswer
from tests.processes.clusters import Cluster, running

KILLS = 40
PACE_SECONDS = 0.002  # Between two writes.


class Writer(threading.Thread):
    """Writes one key after the other, and notes which writes were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(name="writer")
        self._client: Client = cluster.client()
        self._ended = threading.Event()
        self.acknowledged: list[int] = []
        self.unknown = 0
        self.longest_gap_seconds = 0.0

    def run(self) -> None:
        number = 0
        last = time.monotonic()
        with self._client as client:
            while not self._ended.wait(PACE_SECONDS):
                number += 1
                try:
                    client.put(f"k{number}", f"v{number}")
                except OutcomeUnknown:
                    self.unknown += 1
                    continue
                except ClientError:
                    continue
                now = time.monotonic()
                self.longest_gap_seconds = max(self.longest_gap_seconds, now - last)
                last = now
                self.acknowledged.append(number)

    def finish(self) -> None:
        self._ended.set()
        self.join()


def test_dozens_of_kills_lose_no_acknowledged_write_and_no_term_has_two_leaders() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with running(5) as cluster, cluster.launcher() as launcher:
        writer = Writer(cluster)
        writer.start()
        try:
            for _ in range(KILLS):
                after = len(cluster.read_events())
                launcher.ask(GetLeader(wait_seconds=5.0), LeaderAnswer)
                victim = dice.choice(["leader", "random"])
                launcher.ask(Kill(victim, restart_after_seconds=dice.choice([0.0, 0.02])), Done)
                killed = cluster.await_event(NodeExited, after=after).node
                cluster.await_event(NodeStarted, lambda event, node=killed: event.node == node, after)
        finally:
            writer.finish()
        with cluster.client() as reader:
            lost = [n for n in writer.acknowledged if reader.get(f"k{n}") != f"v{n}".encode()]
        events = cluster.read_events()
    assert len(writer.acknowledged) > KILLS, "the writer got nowhere"
    assert not lost, f"acknowledged and lost: {lost[:10]}"
    assert not [event for event in events if isinstance(event, Violation)]
    leaders = {(event.term, event.node) for event in events if isinstance(event, LeaderElected)}
    assert len(leaders) == len({term for term, _ in leaders}), leaders
    print(len(writer.acknowledged), "acknowledged,", writer.unknown, "unknown,", writer.longest_gap_seconds)
