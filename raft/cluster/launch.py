"""One cluster's run in the foreground: claim, start, supervise, end, clean up.

Owns the order in which directories, fork server, runtime and supervisor are created and removed. What the
supervisor does is its own; what is printed is decided by the listener.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from msgspec import Struct

from actors.clock import MonotonicClock
from actors.codec import Registry
from actors.errors import GaveUp, TransportError
from actors.failures.supervision import RestartPolicy
from actors.processes.child import ForkServer, ForkServerGone
from actors.processes.descriptors import raise_descriptor_limit
from actors.processes.repeated import Repeated
from actors.runtime import Runtime
from actors.transport.zeromq import ZeroMqTransport
from raft.cluster import rundir
from raft.cluster.cluster import Cluster
from raft.cluster.datadir import DataDirectory, clear_abandoned, open_data
from raft.cluster.failures import ExitCode, VerbFailed
from raft.cluster.hosts import ClusterHosts
from raft.cluster.namespaces import NamespaceHosts
from raft.cluster.processes.node_process import NodeProcess
from raft.cluster.records.events import ClusterStarted, Event, EventLog, RunDirectoryRemoved
from raft.cluster.records.journal import Journal
from raft.cluster.records.report import LeaderReport, final_report
from raft.cluster.rpc.messages import VERB_TAGS, Down
from raft.cluster.rundir import RunDirectory, RunLock
from raft.cluster.spec import ClusterRecord, ClusterSpec, NodeRecord
from raft.cluster.supervisor import Ending, SupervisorActor
from raft.node.settings import ProcessSettings, configure
from raft.protocol.registry import SUPERVISOR, TAGS

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_SIGNAL_SECONDS = 1.0
CHECK_SECONDS = 1.0
DESCRIPTORS_MIN, DESCRIPTORS_PER_NODE = 48, 6  # Per process; measured: 40 with three nodes, 60 with seven.


class Ended(Struct, frozen=True):
    """How a run ended; `reason` is empty if it was asked to end."""

    exit_code: ExitCode
    reason: str
    report: LeaderReport


class RunningCluster:
    """A cluster that has been claimed and is about to run in this process."""

    def __init__(
        self,
        cluster: Cluster,
        data: DataDirectory,
        fork_server: ForkServer,
        clock: MonotonicClock,
        duration_seconds: float | None,
        lock: RunLock,
    ) -> None:
        self.cluster = cluster
        self._lock = lock
        self.record = cluster.record
        self.data = data
        self._clock = clock
        self._ending = Ending()
        self._run_directory_lost = False
        self._asked_to_end_seconds: float | None = None
        self._transport = transport = ZeroMqTransport(
            SUPERVISOR.process,
            1,
            cluster=cluster.record.cluster,
            endpoint=cluster.run_directory.launcher_endpoint,
        )
        # A crashed supervisor must not restart nodes: the launcher ends, and the nodes with it.
        self.runtime = Runtime(
            SUPERVISOR.process,
            transport=transport,
            registry=Registry({**TAGS, **VERB_TAGS}),
            clock=clock,
            supervision=RestartPolicy(max_restarts=0),
        )
        self.runtime.spawn(
            lambda: SupervisorActor(
                cluster,
                fork_server,
                self.argument_of,
                self.runtime.stop,
                self._ending,
                data,
                duration_seconds,
            ),
            SUPERVISOR.actor,
        )
        self.runtime.spawn(lambda: Repeated(CHECK_SECONDS, self._check_run_directory), "run-directory")

    def run(self, listener: Callable[[Event], None]) -> Ended:
        """Run until asked to end, by a verb or a signal; `listener` is called with every event."""
        self.cluster.journal.listener = listener
        try:
            self.runtime.run()
        except GaveUp as failure:
            self._ending.exit_code, self._ending.reason = ExitCode.FAILURE, str(failure)
        report = final_report(self.cluster.journal.events)
        return Ended(self._ending.exit_code, self._ending.reason, report)

    def end(self) -> None:
        """Ask for the end; from any thread."""
        self.runtime.post(SUPERVISOR, Down())

    def _check_run_directory(self) -> None:
        """Recreate it if something has removed it, such as a cleaner of temporary files."""
        if not self._run_directory_lost and not self._lock.is_in_place:
            path, text = str(self.cluster.run_directory.path), "was removed, and made again"
            try:
                self._lock.restore()
            except VerbFailed as failure:
                self._run_directory_lost = True
                text = f"was removed: {failure}"
            self.cluster.journal.record(RunDirectoryRemoved(path=path, text=text), self._clock.now())
        if not self._run_directory_lost and self._transport.listen_again():
            self.cluster.save_record()

    @contextlib.contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM or a closed terminal end the cluster gracefully; a second one ends it at once.

        Several within a second count as one: a closed terminal or a service manager may send two.
        A signal that the parent process ignores (nohup) stays ignored.
        """

        def interrupt(number: int, _frame: FrameType | None) -> None:
            now = self._clock.now()
            if self._asked_to_end_seconds is None:
                self._asked_to_end_seconds = now
                self.end()
            elif now - self._asked_to_end_seconds > SAME_SIGNAL_SECONDS:
                raise SystemExit(128 + number)

        numbers = [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, interrupt) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def argument_of(self, node: NodeProcess) -> bytes:
        """The configuration that the node's process is started with, encoded."""
        spec, endpoint_of, hosts = self.cluster.spec, self.cluster.endpoint_of, self.cluster.hosts
        settings: ProcessSettings = {
            **spec.node_settings(),
            "existing": True,  # Or empty with a permit, which the launcher leaves there.
            "peers": {other: endpoint_of(other) for other in self.cluster.nodes if other != node.id},
            "keys": "" if hosts is None else hosts.keys_of(node.id),
            "network_namespace": "" if hosts is None else hosts.namespace_of(node.id),
            "join": self.data.joins(node.id),
            "repair_from_peers": node.repair or spec.repair_from_peers,
            "cluster": self.record.cluster,
            # Each incarnation gets another seed, or a node that lost a race would lose it in the same way
            # again.
            "seed": "" if spec.seed is None else f"{spec.seed}/n{node.id}/{node.starts}",
            "supervisor": self.cluster.run_directory.launcher_endpoint,
            "fault_injection": True,
            "links": self.cluster.faults.links_of(node.id),
            "log_path": self.data.logs / f"{node.name}.log",
        }
        config = configure(node.id, endpoint_of(node.id), self.data.of_node(node.id), **settings)
        return config.encode()


def _check_descriptors(nodes: int) -> None:
    """Report this once here, rather than by nodes that fail one after the other."""
    limit, needed = raise_descriptor_limit(), DESCRIPTORS_MIN + DESCRIPTORS_PER_NODE * nodes
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise VerbFailed(
            f"a process may open {limit} files, but with {nodes} nodes each needs {needed}: "
            "raise the limit (ulimit -n)"
        )


@contextlib.contextmanager
def launched(
    spec: ClusterSpec,
    fork_server: ForkServer,
    started_seconds: float,
    duration_seconds: float | None = None,
) -> Iterator[RunningCluster]:
    """A cluster of this (checked) shape, ready to `run`; everything is removed when the block is left.

    Raises VerbFailed before anything was started.
    """
    _check_descriptors(spec.nodes)
    clock = MonotonicClock()
    run_directory, lock = rundir.claim(spec.name, spec.nodes)
    with contextlib.ExitStack() as stack:
        stack.callback(_restore_signals, {number: signal.getsignal(number) for number in ENDING_SIGNALS})
        stack.callback(lock.remove)
        fork_server.set_cleanup([run_directory.path], [run_directory.path.parent])
        clear_abandoned()
        data = open_data(spec)
        stack.callback(data.close)
        if not data.keep:
            fork_server.set_cleanup([run_directory.path, data.path], [run_directory.path.parent])
        # Its children use these directories, so it must end before they are removed.
        stack.callback(_close, fork_server)
        # From here to the removal of the directories a signal would leave them behind.
        stack.callback(_ignore_signals)
        hosts = None
        if spec.hosts:
            hosts = ClusterHosts(stack.enter_context(NamespaceHosts()), data.path / "keys")
        record = _record(spec, run_directory, data, started_seconds, hosts)
        try:
            journal = Journal(EventLog(data.logs / "events.jsonl"), started_seconds=started_seconds)
            stack.callback(journal.close)
            record.write(run_directory.record)
            cluster = Cluster(record, run_directory, journal, random.Random(spec.seed), hosts)
            journal.record(ClusterStarted(nodes=len(data.members), pid=record.pid), clock.now())
            running = RunningCluster(cluster, data, fork_server, clock, duration_seconds, lock)
            stack.enter_context(running.handling_signals())
            yield running
        except TransportError as error:
            raise VerbFailed(f"the cluster cannot run: {error}") from error
        except OSError as error:
            raise VerbFailed(
                f"the cluster cannot run: {error.strerror} ({error.filename or run_directory.path}); the run "
                "directory is where XDG_RUNTIME_DIR says, the data where --data-dir does"
            ) from error


def _ignore_signals() -> None:
    """Let nothing but SIGKILL end this process any more; it is about to end by itself."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _restore_signals(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _close(fork_server: ForkServer) -> None:
    """End the fork server in order; this process then removes everything itself.

    Otherwise the server would wait for this process to release its locks, as after a kill.
    """
    with contextlib.suppress(ForkServerGone):
        fork_server.set_cleanup([])
    fork_server.close()


def _record(
    spec: ClusterSpec,
    run_directory: RunDirectory,
    data: DataDirectory,
    started_seconds: float,
    hosts: ClusterHosts | None,
) -> ClusterRecord:
    endpoint_of = run_directory.node_endpoint if hosts is None else hosts.endpoint
    return ClusterRecord(
        name=spec.name,
        cluster=data.cluster,
        pid=os.getpid(),
        started_seconds=started_seconds,
        data_dir=str(data.path),
        log_dir=str(data.logs),
        events=str(data.logs / "events.jsonl"),
        spec=spec,
        keys="" if hosts is None else hosts.client_keys,
        nodes=[
            NodeRecord(
                id=node,
                endpoint=endpoint_of(node),
                log=str(data.logs / f"n{node}.log"),
            )
            for node in data.members
        ],
    )
