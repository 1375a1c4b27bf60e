"""What a node's process is told by the launcher."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raft.cluster.launch import launched
from raft.cluster.spec import ClusterSpec
from raft.node.config import NodeConfig
from raft.protocol.admin import SetLink
from tests.cluster.supervisor_lab import FakeForkServer


class ForkServer(FakeForkServer):
    """Notes what it would remove if this process were killed."""

    def __init__(self) -> None:
        super().__init__()
        self.cleanup: list[Path] = []
        self.cleanup_at_close: list[Path] | None = None

    def set_cleanup(self, paths: Sequence[Path], if_empty: Sequence[Path] = ()) -> None:
        self.cleanup = list(paths)

    def close(self) -> None:
        super().close()
        self.cleanup_at_close = self.cleanup
        signal.raise_signal(signal.SIGTERM)  # Once more, when all is nearly over.


def test_a_process_starts_with_the_links_cut_that_are_cut_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    server: Any = ForkServer()
    with launched(ClusterSpec(name="c", nodes=3, data_dir=str(tmp_path / "data")), server, 0.0) as running:
        faults, node = running.cluster.faults, running.cluster.nodes[3]
        assert NodeConfig.decode(running.argument_of(node)).links == ()
        ways = {1: {3}, 2: {3}, 3: {1, 2}}
        fault = faults.add_network_fault("partition", ways, SetLink(0, [], cut=True), "n1 n2 | n3")
        assert NodeConfig.decode(running.argument_of(node)).links == (SetLink(fault.id, [1, 2], cut=True),)
        faults.remove(fault.id)
        assert NodeConfig.decode(running.argument_of(node)).links == ()
        running.runtime.transport.close()


def test_a_launcher_that_ends_in_good_order_leaves_nothing_to_a_fork_server_that_would_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    server: Any = ForkServer()
    before = signal.getsignal(signal.SIGTERM)
    with launched(ClusterSpec(name="c", nodes=1), server, 0.0) as running:
        directories = [running.cluster.run_directory.path, running.data.path]
        assert server.cleanup == directories
        running.runtime.transport.close()
    assert server.cleanup_at_close == [], "the signal in between has not ended it"
    assert signal.getsignal(signal.SIGTERM) is before
    assert not any(directory.exists() for directory in directories)
