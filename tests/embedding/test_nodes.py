"""Nodes run by a program, with real processes: start, restart, refusal, transfer, and end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from actors.processes.child import process_alive
from actors.transport.curve import generate
from raft.client import AsyncClient
from raft.embedding import AsyncNode, Leader, Node
from tests.embedding.hosts import PATIENCE_SECONDS, alone, run, three, until_restarted

pytestmark = pytest.mark.processes


def test_three_programs_share_a_store_and_one_of_their_nodes_may_die(directory: Path) -> None:
    async def body() -> None:
        async with three(directory) as nodes, nodes[0].client() as cluster:
            await cluster.put("greeting", "hello")
            leader = next(node for node in nodes if node.leads)
            assert leader.leader is not None
            os.kill(leader.pid or 0, signal.SIGKILL)
            await until_restarted(leader)
            assert await cluster.get("greeting") == b"hello"
            status = await leader.status()
            assert status.incarnation == 2
            assert status.term > 1

    run(body())


def test_each_new_leader_is_observed(directory: Path) -> None:
    told: list[Leader | None] = []

    async def body() -> None:
        async with alone(directory, on_leader=told.append) as node:
            leader = await node.wait_for_leader()
            assert node.leads
            os.kill(node.pid or 0, signal.SIGKILL)
            seen = [each async for each in first_three(node)]
            assert seen[0] == leader
            assert seen[1] is None
            assert seen[2] is not None
            assert seen[2].term > leader.term

    async def first_three(node: AsyncNode) -> AsyncIterator[Leader | None]:
        count = 0
        async for leader in node.observe():
            yield leader
            count += 1
            if count == 3:
                return

    run(body())
    assert [leader is None for leader in told[:3]] == [False, True, False]
    assert told[-1] is None


def test_a_restarted_node_continues_with_its_data(directory: Path) -> None:
    async def body() -> None:
        async with alone(directory) as node, node.client() as cluster:
            await cluster.put("kept", "yes")
        async with alone(directory, existing=True) as node, node.client() as cluster:
            assert await cluster.get("kept") == b"yes"
            assert (await node.status()).incarnation == 2

    run(body())


def test_a_leader_transfers_leadership_when_its_context_exits(directory: Path) -> None:
    at = {node: f"ipc://{directory}/n{node}" for node in (1, 2, 3)}

    async def body() -> None:
        async with AsyncExitStack() as whole:
            nodes, stacks = {}, {}
            for node in at:
                nodes[node] = AsyncNode(node, listen=at[node], peers=at, data_dir=directory / str(node))
                stacks[node] = await whole.enter_async_context(AsyncExitStack())
                await stacks[node].enter_async_context(nodes[node])
            before = await nodes[1].wait_for_leader()
            observer = nodes[1 if before.node != 1 else 2]
            await stacks[before.node].aclose()
            async for after in observer.observe():
                if after is not None and after.term > before.term:
                    assert after.term == before.term + 1
                    break
        log = (directory / f"{before.node}.log").read_text()
        assert f"no longer leads term {before.term}: stopping" in log

    run(body())


def test_a_node_and_its_clients_work_under_uvloop(directory: Path) -> None:
    async def body() -> None:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        async with three(directory) as nodes, nodes[0].client() as cluster:
            async with cluster.election("boss", ttl="2s") as lead:
                assert lead.token
                await cluster.put("boss", "me")
            leader = next(node for node in nodes if node.leads)
            os.kill(leader.pid or 0, signal.SIGKILL)
            await until_restarted(leader)
            assert await cluster.get("boss") == b"me"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(body(), PATIENCE_SECONDS))


def test_with_keys_the_node_and_its_clients_use_the_same_one(directory: Path) -> None:
    async def body() -> None:
        generate(directory / "keys", ["n1", "n2"])
        key = directory / "keys" / "n1.toml"
        async with alone(directory, keys=key) as node:
            await node.wait_for_leader()
            async with node.client() as cluster:
                await cluster.put("secret", "kept")
                assert await cluster.get("secret") == b"kept"
            assert (await node.status()).role == "leader"

    run(body())


def test_a_blocking_program_has_the_same_node(directory: Path) -> None:
    with Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data") as node:
        assert node.wait_for_leader(PATIENCE_SECONDS).node == 1
        assert node.leads
        with node.client() as cluster:
            cluster.put("greeting", "hello")
            assert cluster.get("greeting") == b"hello"
        assert node.status().role == "leader"
        pid = node.pid
        node.check()
    assert pid is not None
    assert not process_alive(pid)


def test_a_blocking_program_sees_one_leader_after_the_other_and_the_end(directory: Path) -> None:
    seen: list[Leader | None] = []
    with Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data") as node:
        first = node.wait_for_leader(PATIENCE_SECONDS)
        changed = threading.Event()

        def watch() -> None:
            for leader in node.observe():
                seen.append(leader)
                if leader is not None and leader.term > first.term:
                    changed.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        os.kill(node.pid or 0, signal.SIGKILL)
        assert changed.wait(PATIENCE_SECONDS)
        assert next(iter(node.observe())) == node.leader
    watcher.join(PATIENCE_SECONDS)
    assert not watcher.is_alive()
    assert {leader.node for leader in seen if leader is not None} == {1}


def test_a_client_under_uvloop_needs_no_node_beside_it(directory: Path) -> None:
    with Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data"):

        async def body() -> None:
            async with AsyncClient({1: f"ipc://{directory}/n1"}) as cluster:
                await asyncio.gather(*(cluster.put(f"k{number}", "v") for number in range(100)))
                assert await cluster.get("k99") == b"v"

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(body(), PATIENCE_SECONDS))


def test_a_node_logs_lines_of_json_at_the_level_that_it_was_given(directory: Path) -> None:
    async def body() -> None:
        for level, says in (("INFO", True), ("ERROR", False)):
            log = directory / f"{level}.log"
            settings: dict[str, Any] = {"log_path": log, "log_level": level}
            async with AsyncNode(
                1, listen=f"ipc://{directory}/n1", data_dir=directory / level, **settings
            ) as node:
                await node.wait_for_leader()
            lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            assert bool(lines) is says
            assert all(line["node"] == "n1" and line["level"] == "INFO" for line in lines)
            assert not (directory / f"{level}.log.out").read_text()

    run(body())
