"""The log of a node's process, and what it writes when the process dies of something.

Owns where lines go: to the log file, or to standard error where there is none, and the last ones into memory.
Knows nothing of what is worth a line.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actors.errors import GaveUp
from actors.failures.crash_reports import CrashReport
from actors.processes.logs import LogFile, PrintedLines, ProcessLog, print_line
from actors.transport.log import Log
from raft.core.errors import MajorityRolledBack, RolledBack
from raft.machines.machine import Diverged, MachineError, WrongVersion
from raft.node.config import NodeConfig
from raft.node.log_writer import DiskFailed
from raft.node.members.handshakes import IncarnationAlreadyUsed
from raft.node.process.data_dir import mark_rolled_back
from raft.node.reporter import Leadership
from raft.node.requests.recent import LINES_KEPT, LogLines, Ring, keep_line
from raft.protocol.registry import process_of

if TYPE_CHECKING:
    from raft.node.node import Node

# What may end a node and is no mistake of its own program; and as which event that is logged.
NO_MISTAKES: dict[type[Exception], str] = {
    DiskFailed: "disk-failed",
    Diverged: "machine-diverged",
    MachineError: "machine-unfit",
    WrongVersion: "machine-wrong-version",
    RolledBack: "disk-rolled-back",
    MajorityRolledBack: "promise-broken",
    MemoryError: "out-of-memory",
    IncarnationAlreadyUsed: "life-used",
}


class NodeLog:
    """Where a node and its process write; a journal of events, too. `node` is whose leadership lines tell."""

    def __init__(self, config: NodeConfig, incarnation: int) -> None:
        self.lines: LogLines = Ring(LINES_KEPT)
        self.node: Node | None = None
        keep = partial(keep_line, self.lines)
        write = LogFile(Path(config.log_path)).write if config.log_path else print_line
        log = ProcessLog(
            write, keep, node=process_of(config.node), incarnation=incarnation, level=config.log_level,
            extra=self._leadership,
        )  # fmt: skip
        self.write: Log = log
        self.crashes = Crashes(log)
        if config.log_path:
            # What a machine prints is read where everything else about its node is.
            sys.stdout, sys.stderr = (
                PrintedLines(partial(log, level, "printed")) for level in ("INFO", "WARNING")
            )
        if "loguru" in sys.modules:  # The user's own machine uses it.
            log.take_over_loguru()

    def event(self, event: str, message: str, **values: object) -> None:
        """See `Journal`."""
        self.write("INFO", event, message, **values)

    def _leadership(self) -> dict[str, object]:
        leadership = Leadership() if self.node is None else self.node.leadership
        return {"term": leadership.term, "role": leadership.role.value}


class Crashes:
    """What the process has died of."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._last = ""

    def report(self, report: CrashReport) -> None:
        """Leave the traceback in the log, and on standard error for the parent process."""
        self._last = report.error
        kind = self._kind
        event = NO_MISTAKES[kind] if kind else "crashed"
        self._log("ERROR", event, report.error, traceback=report.traceback)
        if kind is None:
            last_words(report.traceback)

    def verdict(self, error: GaveUp, data_dir: Path) -> Exception:
        """A failed disk, or a machine that others brought, is no mistake of the node's.

        That the disk has gone back is noted in the data directory, for later incarnations.
        """
        kind = self._kind
        verdict = error if kind is None else kind(self._last.partition(": ")[2])
        if isinstance(verdict, RolledBack):
            mark_rolled_back(data_dir, str(verdict))
        return verdict

    @property
    def _kind(self) -> type[Exception] | None:
        name = self._last.partition(": ")[0]
        return next((kind for kind in NO_MISTAKES if kind.__name__ == name), None)


def last_words(text: str) -> None:
    """Say why the process ends, where its parent or a person finds it."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(text)
        sys.__stderr__.flush()
