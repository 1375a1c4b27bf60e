"""Real nodes, and strangers who may reach their ports."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from raft.client import Client, ClientError

pytestmark = pytest.mark.processes

SILENT = 2_000
LIMIT = 1_024
TRIES = 10
PACE_SECONDS = 0.02


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rs") as name:
        yield Path(name)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process may have more connections than the nodes may."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], min(limits[1], SILENT + 1000)), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(directory: Path, node: int, ports: dict[int, int], ends: ExitStack) -> subprocess.Popen[bytes]:
    others = [f"--peer={other}=tcp://127.0.0.1:{port}" for other, port in ports.items() if other != node]
    command = [
        *("bash", "-c", f'ulimit -n {LIMIT}; exec "$0" "$@"', sys.executable, "-m", "raft.node"),
        *("--id", str(node), "--listen", f"tcp://127.0.0.1:{ports[node]}", *others),
        *("--data-dir", f"{directory}/n{node}", "--log-file", f"{directory}/n{node}.log"),
    ]
    process = subprocess.Popen(command)
    ends.callback(process.wait, 20)
    ends.callback(process.kill)
    return process


def put(client: Client, key: str, value: str) -> None:
    """Until it is known to be done: leaders come and go."""
    for _ in range(TRIES):
        with suppress(ClientError):
            client.put(key, value)
            return
    raise AssertionError(f"{key} was not put in {TRIES} tries")


@contextmanager
def a_flood(port: int) -> Iterator[None]:
    """Connections that say nothing, so many a second that a node that keeps each for one is full."""
    ended, filled = Event(), Event()

    def keep_coming() -> None:
        silent: deque[socket.socket] = deque()
        while not ended.wait(PACE_SECONDS):
            for _ in range(int(SILENT * PACE_SECONDS)):
                stranger = socket.socket()
                stranger.setblocking(False)
                with suppress(BlockingIOError):
                    stranger.connect(("127.0.0.1", port))
                silent.append(stranger)
            while len(silent) > SILENT:
                filled.set()
                silent.popleft().close()
        while silent:
            silent.popleft().close()

    flood = Thread(target=keep_coming)
    flood.start()
    try:
        assert filled.wait(60)
        yield
    finally:
        ended.set()
        flood.join()


def test_thousands_of_silent_connections_end_no_node_and_keep_no_member_out(
    directory: Path, many_descriptors: None
) -> None:
    with ExitStack() as ends:
        flood_and_return(directory, ends)


def flood_and_return(directory: Path, ends: ExitStack) -> None:
    ports = {node: free_port() for node in (1, 2, 3)}
    nodes = {node: start(directory, node, ports, ends) for node in ports}
    with Client([f"tcp://127.0.0.1:{port}" for port in ports.values()], timeout_seconds=60.0) as client:
        put(client, "before", "1")
        nodes[3].kill()
        nodes[3].wait(60)
        ends.enter_context(a_flood(ports[2]))
        put(client, "meanwhile", "2")
        # The others are for files and for members.
        assert sum(1 for _ in Path(f"/proc/{nodes[2].pid}/fd").iterdir()) <= LIMIT * 3 // 4
        nodes[3] = start(directory, 3, ports, ends)
        # With one of the first two gone, nothing is committed unless the third is heard by the other.
        nodes[1].kill()
        put(client, "after", "3")
        assert client.get("before") == b"1" and client.get("meanwhile") == b"2"
    assert [nodes[node].poll() for node in (2, 3)] == [None, None]
