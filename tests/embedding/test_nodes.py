"""Nodes beside a program, with real processes: they start, come back, refuse, hand over, and end with it."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from actors.curve import generate
from actors.process import process_alive
from actors.supervision import RestartPolicy
from raft.client import AsyncClient
from raft.embedding import AsyncNode, Leader, Node, NodeFailed, NodeRefused, NodeRemoved
from raft.embedding.settings import plan_of
from raft.embedding.stay import Stay

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
ONCE = RestartPolicy(max_restarts=0)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="re") as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    threads = threading.active_count()
    yield
    assert threading.active_count() == threads, "a thread has outlived its context"


def alone(directory: Path, **settings: Any) -> AsyncNode:
    """The only member of its cluster."""
    return AsyncNode(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data", **settings)


@asynccontextmanager
async def three(directory: Path, **settings: Any) -> AsyncIterator[list[AsyncNode]]:
    """A cluster, as if each node were beside a program of its own; entered side by side."""
    at = {node: f"ipc://{directory}/n{node}" for node in (1, 2, 3)}
    nodes = [
        AsyncNode(
            node,
            listen=at[node],
            data_dir=directory / str(node),
            peers={other: there for other, there in at.items() if other != node},
            **settings,
        )
        for node in at
    ]
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(node)
        await nodes[0].wait_for_leader()
        yield nodes


async def until_restarted(node: AsyncNode) -> None:
    """Wait until a node that was killed is there again."""
    async for _ in node.observe():
        if node.restarts and node.leader is not None:
            return


def run(body: Any) -> None:
    asyncio.run(asyncio.wait_for(body, PATIENCE_SECONDS))


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


def test_leaders_are_told_as_they_come(directory: Path) -> None:
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


def test_a_node_goes_on_where_it_was(directory: Path) -> None:
    async def body() -> None:
        async with alone(directory) as node, node.client() as cluster:
            await cluster.put("kept", "yes")
        async with alone(directory, existing=True) as node, node.client() as cluster:
            assert await cluster.get("kept") == b"yes"
            assert (await node.status()).incarnation == 2

    run(body())


def test_a_leader_whose_context_is_left_hands_over_first(directory: Path) -> None:
    at = {node: f"ipc://{directory}/n{node}" for node in (1, 2, 3)}

    async def body() -> None:
        async with AsyncExitStack() as whole:
            nodes, stacks = {}, {}
            for node in at:
                nodes[node] = AsyncNode(node, listen=at[node], peers=at, data_dir=directory / str(node))
                stacks[node] = await whole.enter_async_context(AsyncExitStack())
                await stacks[node].enter_async_context(nodes[node])
            before = await nodes[1].wait_for_leader()
            witness = nodes[1 if before.node != 1 else 2]
            await stacks[before.node].aclose()
            async for after in witness.observe():
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


def test_with_keys_the_node_and_its_clients_speak_by_the_same_one(directory: Path) -> None:
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


# -- how it ends -------------------------------------------------------------------------------------


def test_however_its_program_dies_the_node_dies_too(directory: Path) -> None:
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


def test_a_node_that_is_given_up_cancels_the_body_and_says_why(
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
        stay = Stay(plan_of(1, f"ipc://{directory}/n1", directory / "data", {}), None)
        task = stay.body = asyncio.current_task()
        assert task is not None
        task.cancel()
        stay.ended(NodeFailed("at the same moment"))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        assert not await stay.take_back_cancellation(asyncio.CancelledError)
        assert task.uncancel() == 0, "that of the others was still there"
        await stay.stop()

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


def test_a_cancellation_that_comes_too_late_for_the_body_hits_nobody_else(directory: Path) -> None:
    async def body() -> None:
        stay = Stay(plan_of(1, f"ipc://{directory}/n1", directory / "data", {}), None)
        stay.body = asyncio.current_task()
        stay.ended(NodeFailed("at the very end"))
        assert not await stay.take_back_cancellation(None)
        await stay.stop()

    run(body())


def test_a_blocking_program_learns_of_a_failure_when_it_looks(directory: Path) -> None:
    node = Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data", restarts=ONCE)
    with pytest.raises(NodeFailed), node:
        os.kill(node.pid or 0, signal.SIGKILL)
        assert node.failed.wait(PATIENCE_SECONDS)
        assert node.leader is None
        with pytest.raises(NodeFailed):
            node.check()
        with pytest.raises(NodeFailed):
            node.status()


def test_a_removed_member_says_so(directory: Path) -> None:
    async def body() -> None:
        async with three(directory) as nodes, nodes[0].client() as cluster:
            gone = next(node for node in nodes if not node.leads)
            with pytest.raises(NodeRemoved):
                await asyncio.gather(cluster.remove_member(gone.id), watch_to_the_end(gone))
            await asyncio.Event().wait()

    async def watch_to_the_end(node: AsyncNode) -> None:
        async for _ in node.observe():
            pass

    with pytest.raises(NodeRemoved, match="no member of its cluster any more"):
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
                assert (await again.status()).voters == [1, 2, 3, 4]

    run(body())


# -- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"listen": "http://127.0.0.1:1"}, "an endpoint is ipc:///absolute/path or tcp://host:port"),
        ({"listen": "tcp://10.0.0.1:7001"}, "needs CURVE keys"),
        ({"peers": {1: "tcp://127.0.0.1:7002"}}, "listed among its own peers"),
        ({"peers": {2: "tcp://127.0.0.1:7001"}}, "two members share the endpoint"),
        ({"heartbeat": "soon"}, "a time is written 500ms, 5s or 2m"),
        ({"heartbeat": "1s"}, "less than two heartbeats"),
        ({"machine": "counter"}, "a machine is written package.module:Class"),
        ({"id": 0}, "a node's id is a number from 1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    directory: Path, settings: dict[str, Any], says: str
) -> None:
    given = {"id": 1, "listen": "tcp://127.0.0.1:7001", "data_dir": directory / "data", **settings}
    for kind in (AsyncNode, Node):
        with pytest.raises(NodeRefused, match=says):
            kind(**given)
    assert not list(directory.iterdir())


def test_all_hosts_may_be_told_the_same_members(directory: Path) -> None:
    members = {1: "tcp://127.0.0.1:7001", 2: "tcp://127.0.0.1:7002"}
    plan = plan_of(1, members[1], directory / "data", {"peers": members})
    assert plan.config.peers == {2: members[2]}
    assert plan.endpoints == members


def test_a_misspelt_setting_is_an_error(directory: Path) -> None:
    with pytest.raises(TypeError, match="no setting 'heart_beat'"):
        alone(directory, heart_beat="50ms")


def refusal(node: AsyncNode) -> str:
    async def body() -> None:
        async with node:
            raise AssertionError("it has started")

    with pytest.raises(NodeRefused) as caught:
        run(body())
    return str(caught.value)


def test_a_taken_port_a_foreign_directory_and_one_in_use_are_named(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = "tcp://127.0.0.1:%d" % taken.getsockname()[1]  # noqa: UP031 - an address is a tuple
        assert "in use" in refusal(AsyncNode(1, listen=endpoint, data_dir=directory / "data"))
    (directory / "foreign").mkdir()
    (directory / "foreign" / "letters.txt").touch()
    foreign = AsyncNode(1, listen=f"ipc://{directory}/n1", data_dir=directory / "foreign")
    assert "holds something else" in refusal(foreign)

    async def body() -> None:
        async with alone(directory):
            with pytest.raises(NodeRefused, match="in use by another process"):
                await AsyncNode(1, listen=f"ipc://{directory}/n2", data_dir=directory / "data").__aenter__()

    run(body())


def test_a_data_directory_of_another_node_is_refused(directory: Path) -> None:
    async def body() -> None:
        async with alone(directory):
            pass

    run(body())
    assert "belongs to" in refusal(AsyncNode(2, listen=f"ipc://{directory}/n2", data_dir=directory / "data"))


def test_a_node_that_has_run_before_refuses_an_empty_directory(directory: Path) -> None:
    assert "holds no log" in refusal(alone(directory, existing=True))


def test_a_disk_that_is_lost_while_the_program_runs_is_noticed_at_the_next_start(directory: Path) -> None:
    async def body() -> None:
        async with alone(directory) as node:
            shutil.rmtree(directory / "data")
            os.kill(node.pid or 0, signal.SIGKILL)
            await asyncio.Event().wait()

    with pytest.raises(NodeRefused, match="holds no log"):
        run(body())


def test_a_machine_that_is_none_is_refused(directory: Path) -> None:
    assert "cannot be had" in refusal(alone(directory, machine="no.such.module:Machine"))
    assert "is no machine" in refusal(alone(directory, machine="random:Random"))


def test_a_machine_that_only_this_process_knows_is_refused(directory: Path) -> None:
    class Local:
        apply = query = snapshot = restore = None

    with pytest.raises(NodeRefused, match="local to a function"):
        alone(directory, machine=Local)
    at_a_prompt = (
        "import asyncio, sys; from raft.embedding import Node\n"
        "class Machine: apply = query = snapshot = restore = None\n"
        f"Node(1, listen='ipc://{directory}/n1', data_dir='{directory}/data', machine=Machine).__enter__()"
    )
    done = subprocess.run([sys.executable, "-c", at_a_prompt], cwd=ROOT, capture_output=True, text=True)
    assert "the machine __main__:Machine cannot be had" in done.stderr.splitlines()[-1]


def test_a_client_under_uvloop_needs_no_node_beside_it(directory: Path) -> None:
    with Node(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data"):

        async def body() -> None:
            async with AsyncClient({1: f"ipc://{directory}/n1"}) as cluster:
                await asyncio.gather(*(cluster.put(f"k{number}", "v") for number in range(100)))
                assert await cluster.get("k99") == b"v"

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(body(), PATIENCE_SECONDS))
