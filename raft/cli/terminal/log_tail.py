"""`up --logs`: the nodes' logs between the events.

Owns a thread that reads the files as they grow; the launcher's own loop is not held up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from raft.cli.views import Paint, log_line
from raft.cluster.records.logs import ClusterLogs
from raft.cluster.records.timestamps import Stamp
from raft.cluster.spec import ClusterRecord

_PAUSE_SECONDS = 0.1


class Tail:
    """Writes every new log line, merged by time as far as one look at the files goes."""

    def __init__(
        self, record: ClusterRecord, write: Callable[[str], None], paint: Paint, stamp: Stamp
    ) -> None:
        self._logs = ClusterLogs(Path(record.log_dir))
        self._write = write
        self._paint = paint
        self._stamp = stamp

    def start(self) -> None:
        """Go on until the process ends; what earlier runs have left is skipped."""
        self._logs.skip()
        threading.Thread(target=self._run, name="tail", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_PAUSE_SECONDS):
            for line in self._logs.arrived():
                self._write(log_line(line, self._paint, self._stamp))
