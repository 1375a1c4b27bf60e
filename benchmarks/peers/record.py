"""What a comparison found, as a value that is kept: figures, and on what they were measured.

Owns the figures' shape, the description of the machine, and the file. Knows nothing of how they came about
or how they are shown.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

FILE_NAME = "comparison.json"


class Figure(Struct, frozen=True, kw_only=True):
    """One figure of one peer in one round."""

    peer: str
    scenario: str
    nodes: int
    what: str
    unit: str
    more_is_better: bool = False
    value: float


class Record(Struct, kw_only=True):
    """A whole run."""

    v: int = 1
    kind: str = "comparison"
    machine: dict[str, str]
    peers: dict[str, str]  # The name, and what was measured.
    notes: dict[str, str]
    durable: dict[str, bool]
    missing: dict[str, str]  # Peers that could not be measured, and why.
    failed: list[str] = []
    rounds: int
    figures: list[Figure] = []

    def write(self, directory: Path) -> Path:
        """Keep it."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE_NAME
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        return path

    @classmethod
    def read(cls, directory: Path) -> Record:
        """What was kept."""
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=cls)


class Row(Struct, frozen=True):
    """One figure of all peers: medians over the rounds."""

    scenario: str
    nodes: int
    what: str
    unit: str
    more_is_better: bool
    medians: dict[str, float]

    def ratio(self, ours: str, other: str) -> float | None:
        """How many times better the one is than the other; None where one of them has no such figure."""
        mine, theirs = self.medians.get(ours), self.medians.get(other)
        if not mine or not theirs:
            return None
        return mine / theirs if self.more_is_better else theirs / mine


def rows_of(figures: Iterable[Figure]) -> list[Row]:
    """Figures by what they are of, in the order of their first appearance."""
    grouped: dict[tuple[str, int, str, str, bool], dict[str, list[float]]] = {}
    for figure in figures:
        key = (figure.scenario, figure.nodes, figure.what, figure.unit, figure.more_is_better)
        grouped.setdefault(key, {}).setdefault(figure.peer, []).append(figure.value)
    return [
        Row(*key, {peer: statistics.median(values) for peer, values in by_peer.items()})
        for key, by_peer in grouped.items()
    ]


def describe_machine(work: Path) -> dict[str, str]:
    """What the figures depend on, and how busy it was when they began."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": file_system_of(work),
        "python": platform.python_version(),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
    }


def file_system_of(path: Path) -> str:
    """The kind of file system that a directory is on."""
    resolved = str(path.resolve())
    mounts = psutil.disk_partitions(all=True)
    found = [mount for mount in mounts if (resolved + "/").startswith(mount.mountpoint.rstrip("/") + "/")]
    return max(found, key=lambda mount: len(mount.mountpoint)).fstype if found else "unknown"
