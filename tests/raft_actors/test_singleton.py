"""One actor in a cluster, names with one holder: processes are killed and stopped, and a judge looks on."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from actors import Address, Backoff, ProcessSystem, RestartPolicy
from actors.errors import NameTaken
from raft.actors.registry import NameRegistry
from raft.actors.singleton import spawn_singleton
from raft.client import AsyncClient, LeadershipLost
from raft.lab.checkers.judge import judge
from raft.lab.checkers.records import Header, Record, RecordedHistory
from raft.lab.checkers.verdict import Ruling
from tests.client.nodes import Nodes
from tests.raft_actors.alone import TAGS, Alone

pytestmark = pytest.mark.processes
HOSTS = ("host1", "host2", "host3")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="ra") as name:
        nodes = Nodes(Path(name))
        yield nodes
        nodes.server.close()


class Watched:
    """What the actor has written down, in all of its processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def records(self) -> list[Record]:
        lines = [line for path in self.directory.glob("*.jsonl") for line in path.read_bytes().splitlines()]
        decode = msgspec.json.Decoder(Record).decode
        return sorted((decode(line) for line in lines), key=lambda record: record.call)

    def tokens(self) -> list[int]:
        return [record.result["token"] for record in self.records() if record.op == "acquire"]

    def writes(self, token: int) -> list[Record]:
        return [record for record in self.records() if record.op == "fenced-put" and record.expected == token]

    def pid(self, token: int) -> int:
        of = {record.result["token"]: record for record in self.records() if record.op == "acquire"}
        return int(of[token].client.split()[1])


def test_the_singleton_moves_when_its_process_dies_or_sleeps_and_no_two_act_with_a_valid_token(
    nodes: Nodes, tmp_path: Path
) -> None:
    watched = Watched(tmp_path)
    arguments = {"directory": str(tmp_path), "nodes": nodes.endpoints}
    policy = RestartPolicy(max_restarts=20, backoff=Backoff(first_seconds=0.01))
    with ProcessSystem(TAGS, supervision=policy) as system:
        for host in HOSTS:
            spawn_singleton(
                system, host, "alone", Alone, nodes=nodes.endpoints, arguments=arguments, ttl="1s"
            )

        def acts(after: int) -> bool:
            tokens = watched.tokens()
            return len(tokens) > after and len(watched.writes(tokens[-1])) >= 3

        def next_one(after: int) -> int:
            while not system.run_until(lambda: acts(after), 0.05):
                pass
            return watched.tokens()[-1]

        first = next_one(0)
        os.kill(watched.pid(first), signal.SIGKILL)
        second = next_one(1)
        sleeper = watched.pid(second)
        os.kill(sleeper, signal.SIGSTOP)
        third = next_one(2)
        os.kill(sleeper, signal.SIGCONT)
        nodes.kill(1)
        os.kill(watched.pid(third), signal.SIGKILL)
        fourth = next_one(3)
        nodes.revive()
        assert first < second < third < fourth
    history = RecordedHistory(header=Header(workload="election"), records=watched.records())
    verdict = judge(history)
    assert verdict.ruling is Ruling.LEGAL, verdict


def test_a_name_has_one_holder_who_knows_when_it_is_lost(nodes: Nodes) -> None:
    async def run() -> None:
        async with AsyncClient(nodes.endpoints) as one, AsyncClient(nodes.endpoints) as two:
            names, others = NameRegistry(one, ttl="1s"), NameRegistry(two, ttl="1s")
            seen = names.watch("leader")
            here, there = Address("a", "main"), Address("b", "main")
            async with names.hold("leader", here) as lead:
                with pytest.raises(NameTaken, match="'leader' is held by a/main"):
                    async with others.hold("leader", there):
                        pass
                holder = await others.where_is("leader")
                assert holder is not None
                assert (holder.address, holder.token) == (here, lead.token)
            async with others.hold("leader", there) as later:
                assert later.token > lead.token
                holder = await names.where_is("leader")
                assert holder is not None
                assert holder.address == there
                assert await anext(seen) == holder
                await later.session.close()
                with pytest.raises(LeadershipLost):
                    later.check()
            assert await names.where_is("missing") is None

    asyncio.run(run())
