"""Three node processes, for clients to be tested against."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from actors.processes.child import ChildProcess, ForkServer
from raft.node.config import NodeConfig


class Nodes:
    """Three node processes in a private directory."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.options = options
        self.endpoints = {node: f"ipc://{directory}/n{node}" for node in (1, 2, 3)}
        self.server = ForkServer.start(["raft.node.process.main"])
        self.children: dict[int, ChildProcess] = {}
        for node in self.endpoints:
            self.start(node)

    def start(self, node: int) -> None:
        config = NodeConfig(
            first_start=True,
            node=node,
            listen=self.endpoints[node],
            data_dir=str(self.directory / f"data{node}"),
            peers={other: at for other, at in self.endpoints.items() if other != node},
            log_path=str(self.directory / f"n{node}.log"),
            **self.options,
        )
        log_path = self.directory / f"n{node}.out"
        self.children[node] = self.server.spawn(
            "raft.node.process.main:main", config.encode(), log_path=log_path
        )
        self.children[node].wait_started(10)

    def kill(self, node: int) -> None:
        self.children[node].kill(signal.SIGKILL)
        self.children[node].wait(60)

    def revive(self) -> None:
        for node, child in self.children.items():
            if child.poll() is not None:
                self.start(node)
