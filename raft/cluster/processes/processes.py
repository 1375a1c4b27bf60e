"""Starting, signalling and reaping node processes.

Owns the way between a node and its process: requests to the fork server, the detection of exits, restarts
of crashed nodes with backoff until they are given up. Expected exits are noted beforehand. The
consequences for leadership are the supervisor's.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import UNSET

from actors.context import Context
from actors.failures.supervision import RestartChildren, RestartPolicy, Supervisor
from actors.processes.child import ChildProcess
from raft.cluster.cluster import Cluster
from raft.cluster.faults.registry import CRASH
from raft.cluster.processes.node_process import HAS_PROCESS, Cause, NodeProcess, NodeState
from raft.cluster.processes.usage import is_stopped
from raft.cluster.records.events import NodeExited, NodeGaveUp
from raft.node.config import EXIT_REMOVED
from raft.node.process.exit_codes import DATA_NEED_A_DECISION

POLICY = RestartPolicy(max_restarts=5, window_seconds=30.0)
SILENT_SECONDS = 1.5
HUNG_SECONDS = 5.0
HUNG_CHECK_SECONDS = 1.0
NODE_ENTRY = "raft.node.process.main:main"
_LAST_OUTPUT_BYTES_MAX = 4096
_OUTPUT_BYTES_MAX = 16 * 1024 * 1024


class ForkServerLike(Protocol):
    """The part of a fork server that is used here."""

    @property
    def ended(self) -> bool:
        """Has it ended, and all its children with it?"""

    def fileno(self) -> int:
        """Readable when `receive` has something to do."""

    def receive(self) -> list[ChildProcess]:
        """The children that started, failed or ended."""

    def spawn(self, target: str, argument: bytes, *, log_path: Path) -> ChildProcess:
        """Request a child."""


class Processes:
    """The node processes of one cluster; `on_exit` is called after each exit, before a restart."""

    def __init__(
        self,
        context: Context,
        cluster: Cluster,
        fork_server: ForkServerLike,
        argument_of: Callable[[NodeProcess], bytes],
        on_exit: Callable[[NodeProcess, float], None],
        on_fork_server_gone: Callable[[], None],
    ) -> None:
        self._context = context
        self._cluster = cluster
        self._fork_server = fork_server
        self._argument_of = argument_of
        self._on_exit = on_exit
        self._on_fork_server_gone = on_fork_server_gone
        self._supervisors = {node: Supervisor(POLICY, cluster.random) for node in cluster.nodes}
        self._checked_seconds = context.now()
        context.add_reader(fork_server.fileno(), self._read_fork_server)
        context.every(HUNG_CHECK_SECONDS, self._kill_hung)

    def start(self, node: NodeProcess) -> None:
        """Request a process, unless the cluster is ending. Resets the restart count of a node given up."""
        if self._cluster.ending or self._cluster.nodes.get(node.id) is not node:
            return
        if node.state is NodeState.GAVE_UP:
            self._supervisors[node.id] = Supervisor(POLICY, self._cluster.random)
        now = self._context.now()
        output = self._output_of(node)
        with contextlib.suppress(OSError):  # The fork server reports what is wrong with it.
            output.parent.mkdir(mode=0o700, exist_ok=True)  # Its directory may have been removed.
        node.output_offset = _rotate_output(output)
        child = self._fork_server.spawn(NODE_ENTRY, self._argument_of(node), log_path=output)
        node.begin_process(child, now)
        self._supervisors.setdefault(node.id, Supervisor(POLICY, self._cluster.random)).started(
            node.name, now
        )

    def kill(self, node: NodeProcess, cause: Cause) -> None:
        """SIGKILL."""
        self._end(node, signal.SIGKILL, cause)

    def terminate(self, node: NodeProcess) -> None:
        """SIGTERM, for a graceful stop; a paused node is resumed for it."""
        self._end(node, signal.SIGTERM, Cause.STOPPED)
        if node.state is NodeState.PAUSED:
            self._signal(node, signal.SIGCONT)

    def pause(self, node: NodeProcess) -> None:
        """SIGSTOP."""
        self._signal(node, signal.SIGSTOP)
        node.state = NodeState.PAUSED

    def resume(self, node: NodeProcess) -> None:
        """SIGCONT."""
        node.heard_seconds = self._context.now()
        node.state = NodeState.RUNNING
        self._signal(node, signal.SIGCONT)

    def _end(self, node: NodeProcess, number: signal.Signals, cause: Cause) -> None:
        node.expected = cause
        self._signal(node, number)

    def _signal(self, node: NodeProcess, number: signal.Signals) -> None:
        assert node.child is not None, f"{node.name} has no process to be sent {number.name}"
        if node.pid is None:
            node.owed_signals.append(number)
        else:
            node.child.kill(number)

    def _read_fork_server(self) -> None:
        nodes = {id(node.child): node for node in self._cluster.nodes.values() if node.child is not None}
        for child in self._fork_server.receive():
            node = nodes.get(id(child))
            if node is None:
                continue
            self._spawned(node, child)
            if child.returncode is not None or child.error is not None:
                self._reap(node, child)
        self._cluster.save_record()
        if self._fork_server.ended:
            self._context.remove_reader(self._fork_server.fileno())
            self._on_fork_server_gone()

    def _spawned(self, node: NodeProcess, child: ChildProcess) -> None:
        node.pid = child.pid
        while node.owed_signals:
            child.kill(node.owed_signals.pop(0))

    def _reap(self, node: NodeProcess, child: ChildProcess) -> None:
        now = self._context.now()
        if child.returncode == EXIT_REMOVED:
            node.removed, node.expected = True, Cause.STOPPED
        if child.returncode == -signal.SIGKILL and self._cluster.faults.process_fault(CRASH, node.id):
            node.expected = Cause.INJECTED
        cause = node.end_process()
        # The report that a fault was cleared may have arrived too late.
        ordered = node.crash_armed and child.returncode == -signal.SIGKILL
        words = self._record_exit(node, child, Cause.INJECTED if ordered else cause, now)
        self._on_exit(node, now)
        child.close()
        if child.returncode in DATA_NEED_A_DECISION:
            self._give_up(node, now, words)
        elif cause is Cause.CRASH:
            self._restart(node, now)

    def _record_exit(self, node: NodeProcess, child: ChildProcess, cause: Cause, now: float) -> str:
        code, words = child.returncode, ""
        if child.error is not None:
            words = str(child.error)
        elif cause is Cause.CRASH:
            words = self._read_last_output(node)
        node.last_output = words
        exited = NodeExited(
            node=node.id,
            pid=child.pid or 0,
            cause=cause.value,
            signal=UNSET if code is None or code >= 0 else _signal_name(-code),
            code=UNSET if code is not None and code < 0 else (1 if code is None else code),
            traceback=words or UNSET,
        )
        self._cluster.journal.record(exited, now)
        return words

    def _read_last_output(self, node: NodeProcess) -> str:
        """The last output of the node: a traceback, or else its last line."""
        try:
            with self._output_of(node).open("rb") as output:
                size = os.fstat(output.fileno()).st_size
                output.seek(max(node.output_offset, size - _LAST_OUTPUT_BYTES_MAX))
                text = output.read(_LAST_OUTPUT_BYTES_MAX).decode(errors="replace")
        except OSError:
            return ""
        start = text.rfind("Traceback (most recent call last)")
        return text[start:].strip() if start >= 0 else "".join(text.strip().splitlines()[-1:])

    def _output_of(self, node: NodeProcess) -> Path:
        return Path(self._cluster.record.log_dir) / f"{node.name}.out"

    def _restart(self, node: NodeProcess, now: float) -> None:
        decision = self._supervisors[node.id].ended(node.name, now, failed=True)
        if isinstance(decision, RestartChildren):
            starts = node.starts
            self._context.after(decision.after_seconds, lambda: self._start_if_still_down(node, starts))
            return
        self._give_up(node, now)

    def _give_up(self, node: NodeProcess, now: float, reason: str = "") -> None:
        node.state = NodeState.GAVE_UP
        gave_up = NodeGaveUp(
            node=node.id,
            restarts=0 if reason else POLICY.max_restarts,
            window_s=POLICY.window_seconds,
            reason=reason or UNSET,
        )
        self._cluster.journal.record(gave_up, now)

    def _start_if_still_down(self, node: NodeProcess, starts: int) -> None:
        """Unless it was started meanwhile, or is to stay down."""
        if node.starts == starts and node.state is NodeState.DOWN and node.expected is Cause.CRASH:
            self.start(node)

    def _kill_hung(self) -> None:
        """Kill silent processes; one that was stopped from outside only counts as paused."""
        now = self._context.now()
        if self._cluster.record_error:
            self._cluster.save_record()
        asleep = now - self._checked_seconds > 2 * HUNG_CHECK_SECONDS
        self._checked_seconds = now
        for node in self._cluster.in_state(HAS_PROCESS - {NodeState.PAUSED}):
            silent_seconds = now - node.heard_seconds
            if asleep:  # This process was not running itself, and has unread reports.
                node.heard_seconds = now
            elif silent_seconds > SILENT_SECONDS and node.pid is not None and is_stopped(node.pid):
                node.state = NodeState.PAUSED
            elif silent_seconds > HUNG_SECONDS:
                self.kill(node, Cause.CRASH)


def _rotate_output(output: Path) -> int:
    """Put an output file aside that has grown too long; returns its size afterwards."""
    try:
        size = output.stat().st_size
        if size <= _OUTPUT_BYTES_MAX:
            return size
        output.replace(output.with_name(f"{output.name}.1"))
    except OSError:
        pass
    return 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
