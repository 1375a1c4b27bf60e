"""Writes of three nodes with keys, in network namespaces of their own beside the same over loopback.

Owns both clusters, which run at the same time, and the load on one and then the other, `--rounds` times: what
disturbs this machine disturbs both alike. Needs root, iproute2 and nftables, as `chaos --hosts netns` does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from actors.transport.curve import generate
from benchmarks._rows import Row, tell
from raft.client import Client
from raft.cluster.namespaces import NamespaceHosts, NoNamespaces
from raft.cluster.performance import Load, run_load

NODES = (1, 2, 3)
PORT = 7450
SHARE_WANTED = 0.9
READY_SECONDS = 20.0

Place = Callable[[int, Sequence[str]], list[str]]


@contextlib.contextmanager
def nodes_at(endpoints: Mapping[int, str], directory: Path, place: Place) -> Iterator[None]:
    """Three nodes, each where `place` puts its command line; they have a leader when the block begins."""
    running = []
    try:
        for node, endpoint in endpoints.items():
            words = [
                *("--id", str(node), "--listen", endpoint, "--data-dir", str(directory / f"data{node}")),
                *("--keys", str(directory / "keys" / f"n{node}.toml")),
                *("--log-file", str(directory / f"n{node}.log")),
            ]
            peers = [f"--peer={other}={at}" for other, at in endpoints.items() if other != node]
            command = place(node, [sys.executable, "-m", "raft.node", *words, *peers])
            running.append(subprocess.Popen(command))
        with Client(endpoints, keys=_key(directory), timeout_seconds=READY_SECONDS) as client:
            client.put("ready", "")
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def writes(endpoints: Mapping[int, str], directory: Path, seconds: float, callers: int) -> float:
    """Acknowledged writes a second."""
    load = Load(seconds=seconds, callers=callers, value_bytes=16, reads=False, at_least=0.0)
    figures = asyncio.run(
        run_load(dict(endpoints), "default", load, lambda _share, _done: None, _key(directory))
    )
    assert not figures.failed, figures.first_failure
    return figures.per_second


def rows(rounds: int, seconds: float, callers: int) -> Iterator[Row]:
    """The median of the pairs' ratios; what each pair did goes to standard error."""
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(NamespaceHosts())
        here = {node: f"tcp://127.0.0.1:{PORT + node}" for node in NODES}
        apart = {node: f"tcp://{hosts.add(node)}:{PORT}" for node in NODES}
        places: list[Place] = [lambda _, command: list(command), hosts.on_host]
        clusters = []
        for endpoints, place in zip((here, apart), places, strict=True):
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bh")))
            generate(directory / "keys", [*(f"n{node}" for node in NODES), "client"])
            stack.enter_context(nodes_at(endpoints, directory, place))
            clusters.append((endpoints, directory))
        for endpoints, directory in clusters:
            writes(endpoints, directory, min(seconds, 1.0), callers)  # To warm up.
        pairs = []
        for _ in range(rounds):
            pair = [writes(endpoints, directory, seconds, callers) for endpoints, directory in clusters]
            pairs.append(pair)
            told = f"loopback {pair[0]:8,.0f}/s  hosts {pair[1]:8,.0f}/s  {pair[1] / pair[0]:.2f}"
            print(told, file=sys.stderr, flush=True)
    ratio = statistics.median(loopback / hosts for loopback, hosts in pairs)
    yield Row(f"writes, {callers} callers, loopback : hosts", ratio, "", round(1 / SHARE_WANTED, 3))


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a row each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hosts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    try:
        return tell(rows(options.rounds, options.seconds, options.callers), options.output)
    except NoNamespaces as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _key(directory: Path) -> str:
    return str(directory / "keys" / "client.toml")
