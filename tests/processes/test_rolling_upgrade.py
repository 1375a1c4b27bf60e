"""The build of a while ago and this one in one cluster: rolled up and down under load, and judged."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.client import Client, OutcomeUnknown, Rejected
from raft.lab.checkers.judge import judge
from raft.lab.checkers.recorder import Recorder
from raft.lab.checkers.records import Header, RecordedHistory
from raft.lab.checkers.verdict import Ruling
from tests.processes.clusters import PATIENCE_SECONDS, ROOT

pytestmark = pytest.mark.processes

PREVIOUS = "36d110b"
"""The commit that counts as the previous release; a later one when there is a reason to give that up."""
OPERATIONS_BETWEEN = 40


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous release, beside this one."""
    archived = subprocess.run(["git", "archive", PREVIOUS, "raft", "actors"], cwd=ROOT, capture_output=True)
    if archived.returncode:
        pytest.skip(f"the previous release is not here: {archived.stderr.decode().strip()}")
    directory = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


class Hosts:
    """Three nodes on their own, each of whichever release it was started with."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.at = {node: f"ipc://{directory}/s{node}" for node in (1, 2, 3)}
        self._running: dict[int, subprocess.Popen[str]] = {}

    def start(self, node: int, release: Path) -> None:
        words = ["--id", str(node), "--listen", self.at[node], "--data-dir", str(self._directory / f"{node}")]
        words += ["--log-file", str(self._directory / f"{node}.log"), "--snapshot-entries", "100"]
        for other in self.at:
            if other != node:
                words += ["--peer", f"{other}={self.at[other]}"]
        self._running[node] = subprocess.Popen(
            [sys.executable, "-m", "raft.node", *words],
            cwd=release,
            env={**os.environ, "PYTHONPATH": str(release)},
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self, node: int) -> None:
        process = self._running.pop(node)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, said

    def deploy(self, node: int, release: Path) -> None:
        """Exchange a node's release, as an operator does: gracefully, and wait until it is back."""
        self.stop(node)
        self.start(node, release)
        with Client({node: self.at[node]}, timeout_seconds=PATIENCE_SECONDS) as only:
            only.get("ready")

    def close(self) -> None:
        for node in list(self._running):
            self._running[node].kill()
            self._running.pop(node).communicate()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(tmp_path)
    yield hosts
    hosts.close()


class Load:
    """Reads and writes of a few keys, by several clients, and what each was told."""

    def __init__(self, at: dict[int, str]) -> None:
        self._at = at
        self._over = False
        self._recorder = Recorder(time.monotonic)
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(3)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        with Client(self._at, timeout_seconds=PATIENCE_SECONDS) as client:
            incarnation = step = 0
            while not self._over:
                step += 1
                name = f"c{number}.{incarnation}"
                if not self._step(client, name, f"k{step % 3}", f"{name}.{step}", reads=step % 2 == 0):
                    incarnation += 1

    def _step(self, client: Client, name: str, key: str, value: str, *, reads: bool) -> bool:
        """One operation; whether its outcome is known."""
        with self._changed:
            record = self._recorder.called(
                name, "get" if reads else "put", key, value=None if reads else value
            )
        try:
            found = client.get(key) if reads else client.put(key, value)
        except (OutcomeUnknown, Rejected) as error:
            with self._changed:
                if isinstance(error, Rejected):
                    self._recorder.refused(record)
            return isinstance(error, Rejected)
        with self._changed:
            told = found.decode() if isinstance(found, bytes) else None
            self._recorder.done(record, told, found if isinstance(found, int) else 0)
            self._changed.notify_all()
        return True

    def await_more(self) -> None:
        with self._changed:
            enough = self._done() + OPERATIONS_BETWEEN
            assert self._changed.wait_for(lambda: self._done() >= enough, PATIENCE_SECONDS)

    def _done(self) -> int:
        return sum(record.done for record in self._recorder.records)

    def end(self) -> RecordedHistory:
        self._over = True
        for thread in self._threads:
            thread.join()
        return RecordedHistory(header=Header(workload="register"), records=self._recorder.records)


def test_a_cluster_is_rolled_from_the_previous_release_to_this_one_and_back_under_load(
    hosts: Hosts, previous: Path
) -> None:
    for node in hosts.at:
        hosts.start(node, previous)
    load = Load(hosts.at)
    try:
        load.await_more()
        for release in (ROOT, previous):
            for node in hosts.at:
                hosts.deploy(node, release)
                load.await_more()
    finally:
        history = load.end()
    verdict = judge(history)
    assert verdict.ruling is Ruling.LEGAL, verdict
    assert verdict.operations >= 7 * OPERATIONS_BETWEEN
    assert verdict.unknown < verdict.operations / 10
