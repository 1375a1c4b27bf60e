"""A user's machine is upgraded host by host, and back, while a program uses it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from raft.client import AsyncClient, UnsupportedVersion
from raft.embedding import AsyncNode, Node, NodeRefused
from raft.machines.commands import Downgrade
from tests.embedding.hosts import alone, refusal, run
from tests.machines.banks import Balance, Bank, Close, Deposit, OldBank, OldDeposit

pytestmark = pytest.mark.processes


class Hosts:
    """Three hosts, on each of which runs a node with the machine that was deployed there last."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._at = {node: f"ipc://{directory}/n{node}" for node in (1, 2, 3)}
        self._stacks: dict[int, AsyncExitStack] = {}
        self.nodes: dict[int, AsyncNode] = {}

    async def deploy(self, node: int, machine: type[Any]) -> None:
        """Stop the node gracefully, and start it with that machine."""
        before = self._stacks.pop(node, None)
        if before is not None:
            await before.aclose()
        made = AsyncNode(
            node,
            listen=self._at[node],
            peers=self._at,
            data_dir=self._directory / str(node),
            machine=machine,
            existing=before is not None,
        )
        stack = AsyncExitStack()
        self.nodes[node] = await stack.enter_async_context(made)
        self._stacks[node] = stack
        await made.wait_for_leader()

    def client(self) -> AsyncClient:
        return AsyncClient(self._at, timeout_seconds=30)

    async def leader(self) -> int:
        return (await self.nodes[1].wait_for_leader()).node

    async def versions(self) -> set[int]:
        return {(await node.status()).cluster_version for node in self.nodes.values()}

    async def until_agreed(self, version: int) -> None:
        while await self.versions() != {version}:
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        for stack in self._stacks.values():
            await stack.aclose()


class Depositor:
    """Deposits one cent after another, each exactly once."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.done = 0

    async def work(self) -> None:
        async with self._client.session(ttl=10) as session:
            while True:
                await session.execute(OldDeposit("alice", 1))
                self.done += 1
                await asyncio.sleep(0.005)

    async def until_more(self) -> None:
        """Wait until some more were answered."""
        goal = self.done + 5
        while self.done < goal:
            await asyncio.sleep(0.01)


def test_a_rolling_upgrade_and_the_way_back_under_load_lose_nothing_and_stop_no_node(directory: Path) -> None:
    async def body() -> None:
        hosts = Hosts(directory)
        try:
            await asyncio.gather(*(hosts.deploy(node, OldBank) for node in (1, 2, 3)))
            async with hosts.client() as cluster, hosts.client() as other:
                depositor = Depositor(other)
                working = asyncio.create_task(depositor.work())
                await there_and_back(hosts, cluster, depositor)
                assert all(not node.restarts for node in hosts.nodes.values()), "a node has died"
                working.cancel()
                await asyncio.wait([working])
                assert working.cancelled()
                balance = await cluster.evaluate(Balance("alice"))
                assert balance in {depositor.done, depositor.done + 1}
        finally:
            await hosts.close()

    run(body())


async def there_and_back(hosts: Hosts, cluster: AsyncClient, depositor: Depositor) -> None:
    last = await hosts.leader()
    for node in {1, 2, 3} - {last}:
        await hosts.deploy(node, Bank)
        await depositor.until_more()  # Version 1 leads.
    await hosts.deploy(last, OldBank)
    assert await hosts.leader() != last
    await depositor.until_more()  # Version 2 leads.
    with pytest.raises(UnsupportedVersion, match=rf"node {last} at .* is of version 1"):
        await cluster.execute(Close("bob"))
    await hosts.deploy(last, Bank)
    await hosts.until_agreed(2)
    assert await cluster.execute(Close("bob")) == 0
    assert (await cluster.execute(Deposit("bob", 1, note="from now on"))).balance == 1

    await cluster.call(Downgrade(1, force=True))
    await hosts.until_agreed(1)
    for node in (1, 2, 3):
        await hosts.deploy(node, OldBank)
        await depositor.until_more()
    assert await cluster.evaluate(Balance("bob")) == 1


def test_a_node_with_an_older_machine_than_agreed_is_refused_and_a_newer_one_goes_on(
    directory: Path,
) -> None:
    async def body() -> None:
        async with alone(directory, machine=Bank) as node, node.client() as cluster:
            while (await node.status()).cluster_version < 2:
                await asyncio.sleep(0.02)
            assert (await cluster.execute(Deposit("alice", 5))).balance == 5

    run(body())
    text = refusal(alone(directory, machine=OldBank, existing=True))
    assert "agreed on version 2 of its machine, and the machine here is of version 1" in text
    with Node(
        1, listen=f"ipc://{directory}/n1", data_dir=directory / "data", machine=Bank, existing=True
    ) as node:
        node.wait_for_leader(10)
        with node.client() as cluster:
            assert cluster.evaluate(Balance("alice")) == 5
            cluster.execute(Deposit("alice", 1))
            applied = node.status().applied
            assert node.snapshot() >= applied


class Forgetful(Bank):
    """Version 2 as it would be after a mistake."""

    def restore(self, data: bytes) -> None:
        if data:
            raise ValueError("written by whom?")


def test_a_node_whose_machine_cannot_read_its_snapshot_ends_at_once_and_loses_nothing(
    directory: Path,
) -> None:
    async def deposit() -> None:
        async with alone(directory, machine=OldBank) as node, node.client() as cluster:
            await cluster.execute(OldDeposit("alice", 5))

    async def forget() -> None:
        async with alone(directory, machine=Forgetful, existing=True):
            await asyncio.Event().wait()

    async def remember() -> None:
        async with alone(directory, machine=Bank, existing=True) as node, node.client() as cluster:
            assert await cluster.evaluate(Balance("alice")) == 5

    run(deposit())
    with pytest.raises(NodeRefused, match=r"cannot read its snapshot.*ValueError: written by whom"):
        run(forget())
    run(remember())
