"""`python -m benchmarks road`: the files that one put enters, from the leader's inbox to the answer.

Owns the tracing of one put through three nodes over a network in memory, whose own files are left out. Knows
nothing of how long anything takes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from raft.machines.codec import encode_call
from raft.machines.commands import Call, Put
from raft.protocol.client import Command
from raft.protocol.registry import address_of
from tests.node.cluster import Cluster

ROOT = Path(__file__).resolve().parent.parent
NETWORK = {"actors/transport/loopback.py", "actors/transport/faults.py"}
WARM_UP = 100  # Until the disk has shown itself to be quick; then the loop writes.


def entered() -> Counter[str]:
    """How many calls one put makes in each file of the project, on all three nodes and at the client."""
    cluster = Cluster(3)
    leader = address_of(cluster.elect())
    command = Command(encode_call(Call(0, 0, 0, Put(b"key", b"value"))))

    def put() -> None:
        answer = cluster.client.ask(leader, command, 50.0)
        cluster.network.settle()
        assert answer.done

    for _ in range(WARM_UP):
        put()
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            calls[path.relative_to(ROOT).as_posix()] += 1

    sys.setprofile(note)
    try:
        put()
    finally:
        sys.setprofile(None)
    ours = {name for name in calls if name.startswith(("actors/", "raft/"))} - NETWORK
    return Counter({name: calls[name] for name in ours})


def main(arguments: Sequence[str]) -> int:
    """Print the files, the busiest first."""
    argparse.ArgumentParser(prog="python -m benchmarks road", description=__doc__).parse_args(arguments)
    calls = entered()
    for name, count in calls.most_common():
        print(f"{count:5}  {name}")
    print(f"{len(calls)} files, {calls.total()} calls")
    return 0
