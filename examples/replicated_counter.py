"""A state machine of one's own, replicated by three nodes: `python examples/replicated_counter.py`.

The machine is an ordinary class. Its state must follow from the commands alone: no clock, no randomness.
"""

import asyncio
import os
import signal
import tempfile

import msgspec

from raft.client import AsyncClient
from raft.embedding import AsyncNode
from raft.machines.machine import MachineError


class Add(msgspec.Struct, tag=True):
    """Add to a counter, which is made if need be; answered by its value."""

    counter: str
    amount: int


class Reset(msgspec.Struct, tag=True):
    """Set a counter that exists to 0; answered by 0."""

    counter: str


COMMANDS = msgspec.msgpack.Decoder(Add | Reset)


class Counters:
    """Counters by name. A query is a counter's name, an answer its value."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def apply(self, index: int, command: bytes) -> bytes:
        """Carry a command out; called once for each on every node, in the same order everywhere."""
        match COMMANDS.decode(command):
            case Add(counter, amount):
                self.values[counter] = self.values.get(counter, 0) + amount
            case Reset(counter):
                if counter not in self.values:
                    raise MachineError(f"there is no counter {counter!r}")
                self.values[counter] = 0
        return msgspec.msgpack.encode(self.values[counter])

    def query(self, query: bytes) -> bytes:
        """Answer without changing anything."""
        return msgspec.msgpack.encode(self.values.get(query.decode(), 0))

    def snapshot(self) -> bytes:
        """The whole state, the same bytes on all nodes: sorted, since the order of a dict is history."""
        return msgspec.msgpack.encode(sorted(self.values.items()))

    def restore(self, data: bytes) -> None:
        """Become what a snapshot holds; b"" is the empty state."""
        self.values = dict(msgspec.msgpack.decode(data, type=list[tuple[str, int]])) if data else {}


async def add(cluster: AsyncClient, counter: str, amount: int) -> int:
    """Add, and learn the sum."""
    done = await cluster.command(msgspec.msgpack.encode(Add(counter, amount)))
    return msgspec.msgpack.decode(done.result, type=int)


async def value(cluster: AsyncClient, counter: str) -> int:
    """What a counter says; as fresh as any command that was answered before."""
    found = await cluster.query(counter.encode())
    return msgspec.msgpack.decode(found.result, type=int)


async def main() -> None:
    """Count, kill the leader, and count on."""
    with tempfile.TemporaryDirectory() as directory:
        hosts = {number: f"ipc://{directory}/host{number}" for number in (1, 2, 3)}
        nodes = [
            AsyncNode(
                number, listen=hosts[number], peers=hosts, data_dir=f"{directory}/{number}", machine=Counters
            )
            for number in hosts
        ]
        async with nodes[0], nodes[1], nodes[2], nodes[0].client(timeout_seconds=30) as cluster:
            for visitor in ("alice", "bob", "carol"):
                print(visitor, "is visitor", await add(cluster, "visitors", 1))
            leader = await nodes[0].wait_for_leader()
            pid = nodes[leader.node - 1].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            print("the leader is dead, and there were", await value(cluster, "visitors"), "visitors")
            print("dave is visitor", await add(cluster, "visitors", 1))


if __name__ == "__main__":
    asyncio.run(main())
