"""How a node run by a program ends: with it, after failures, or removed; and what the program sees."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raft.embedding import AsyncNode, Leader, Node, NodeFailed, NodeRemoved
from raft.embedding.running_node import RunningNode
from raft.embedding.settings import plan_of
from tests.embedding.hosts import ONCE, PATIENCE_SECONDS, ROOT, alone, run, three

pytestmark = pytest.mark.processes


def test_the_node_ends_when_its_program_dies(directory: Path) -> None:
    host = subprocess.Popen(
        [sys.executable, "-m", "tests.embedding.a_host", str(directory)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with host:
        assert host.stdout is not None
        node = os.pidfd_open(int(host.stdout.readline()))
        host.kill()
        assert select.select([node], [], [], PATIENCE_SECONDS)[0], "the node has outlived its program"
        os.close(node)


def test_a_node_that_failed_cancels_the_body_with_its_error(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with alone(directory, restarts=ONCE) as node:
            os.kill(node.pid or 0, signal.SIGKILL)
            await asyncio.Event().wait()

    with caplog.at_level(logging.CRITICAL), pytest.raises(NodeFailed, match=r"given up.*killed by SIGKILL"):
        run(body())
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


def test_a_cancellation_of_the_program_s_own_is_left_to_the_program(directory: Path) -> None:
    async def body() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit, alone(directory):
                limit.reschedule(asyncio.get_running_loop().time())
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run(body())


def test_a_cancellation_by_others_at_the_same_moment_is_not_swallowed(directory: Path) -> None:
    async def body() -> None:
        running = RunningNode(plan_of(1, f"ipc://{directory}/n1", directory / "data", {}), None)
        task = running.body = asyncio.current_task()
        assert task is not None
        task.cancel()
        running.ended(NodeFailed("at the same moment"))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        assert not await running.uncancel(asyncio.CancelledError)
        assert task.uncancel() == 0, "that of the others was still there"
        await running.stop()

    run(body())


def test_what_the_body_raises_is_raised_even_if_the_node_has_failed(directory: Path) -> None:
    async def body() -> None:
        async with alone(directory, restarts=ONCE) as node:
            os.kill(node.pid or 0, signal.SIGKILL)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError):
        run(body())


def test_after_a_failure_the_task_is_not_cancelled_any_more(directory: Path) -> None:
    async def body() -> None:
        with pytest.raises(NodeFailed):
            async with alone(directory, restarts=ONCE) as node:
                os.kill(node.pid or 0, signal.SIGKILL)
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run(body())


def test_a_cancellation_too_late_for_the_body_hits_no_other_code(directory: Path) -> None:
    async def body() -> None:
        running = RunningNode(plan_of(1, f"ipc://{directory}/n1", directory / "data", {}), None)
        running.body = asyncio.current_task()
        running.ended(NodeFailed("at the very end"))
        assert not await running.uncancel(None)
        await running.stop()

    run(body())


def test_a_blocking_program_sees_a_failure_when_it_checks(directory: Path) -> None:
    node = Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data", restarts=ONCE)
    with pytest.raises(NodeFailed), node:
        os.kill(node.pid or 0, signal.SIGKILL)
        assert node.failed.wait(PATIENCE_SECONDS)
        assert node.leader is None
        with pytest.raises(NodeFailed):
            node.check()
        with pytest.raises(NodeFailed):
            node.status()
        with pytest.raises(NodeFailed):
            next(node.observe())


def test_a_blocking_program_gets_an_error_when_the_thread_of_its_node_has_ended(directory: Path) -> None:
    def leave(_: Leader | None) -> None:
        sys.exit(3)

    node = Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data", on_leader=leave)
    with pytest.raises(NodeFailed, match="SystemExit: 3"), node:
        assert node.failed.wait(PATIENCE_SECONDS)
        with pytest.raises(NodeFailed):
            node.status()


def test_a_blocking_program_does_not_wait_for_a_node_whose_thread_ends_at_the_start(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(directory / "missing"))
    node = Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data")
    with pytest.raises(NodeFailed, match=r"FileNotFoundError.*missing"):
        node.__enter__()


def test_a_removed_member_raises_node_removed(directory: Path) -> None:
    async def body() -> None:
        async with three(directory) as nodes, nodes[0].client() as cluster:
            gone = next(node for node in nodes if not node.leads)
            with pytest.raises(NodeRemoved):
                await asyncio.gather(cluster.remove_member(gone.id), watch_to_the_end(gone))
            await asyncio.Event().wait()

    async def watch_to_the_end(node: AsyncNode) -> None:
        async for _ in node.observe():
            pass

    with pytest.raises(NodeRemoved, match="no longer a member of its cluster"):
        run(body())


def test_a_later_member_joins_through_the_client_and_knows_its_log_the_next_time(directory: Path) -> None:
    there = f"ipc://{directory}/n4"

    async def body() -> None:
        async with three(directory) as nodes, nodes[0].client() as cluster:
            await cluster.put("kept", "yes")
            peers = {node.id: f"ipc://{directory}/n{node.id}" for node in nodes}
            fourth = AsyncNode(4, listen=there, data_dir=directory / "4", peers=peers, join=True)
            async with fourth:
                members = await cluster.add_member(4, there)
                assert members.voters == (1, 2, 3, 4)
                await fourth.wait_for_leader()
            again = AsyncNode(4, listen=there, data_dir=directory / "4", peers=peers, existing=True)
            async with again:
                await again.wait_for_leader()
                while (await again.status()).voters != [1, 2, 3, 4]:  # It applies its log as it commits.
                    pass

    run(body())
