"""Ending, starting, pausing and resuming nodes by request.

Owns the steps of each of those verbs, and the answer when all steps are done. Knows nothing of how a
verb is received.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.context import Context
from raft.cluster.cluster import Cluster
from raft.cluster.conditions import Conditions
from raft.cluster.faults.registry import CRASH, KILL, PAUSE, Fault, cleared, injected
from raft.cluster.processes.node_process import HAS_NONE, HAS_PROCESS, Cause, NodeProcess, NodeState
from raft.cluster.processes.processes import Processes
from raft.cluster.quantities import format_duration
from raft.cluster.rpc.messages import Kill, Pause, Restart, Resume, Start, Stop
from raft.cluster.rpc.replies import Answer, Lines

EXIT_SECONDS_MAX = 5.0
START_SECONDS_MAX = 15.0


class ProcessControl:
    """Carries out verbs on processes."""

    def __init__(
        self,
        context: Context,
        cluster: Cluster,
        processes: Processes,
        conditions: Conditions,
        on_wake: Callable[[NodeProcess], None],
    ) -> None:
        self._context = context
        self._cluster = cluster
        self._processes = processes
        self._conditions = conditions
        self._on_wake = on_wake

    def kill(self, verb: Kill, answer: Answer) -> None:
        """SIGKILL; answered when the processes have ended."""
        chosen = self._cluster.choose(verb.selector, HAS_PROCESS)
        lines = [f"{node.name} killed (pid {node.pid})" for node in chosen]
        back = verb.restart_after_seconds
        if verb.dry_run:
            later = "" if back is None else f", and start it again after {format_duration(back)}"
            answer.done([f"would kill {node.name} (pid {node.pid}){later}" for node in chosen])
            return
        for node in chosen:
            words = f"kill {node.name}" + ("" if back is None else f", back after {format_duration(back)}")
            self._inject(self._cluster.faults.add_process_fault(KILL, node.id, words))
            self._processes.kill(node, Cause.INJECTED)

        def ended() -> None:
            answer.done(lines)
            if back is not None:
                for node in chosen:
                    self.start_later(node, back)

        self._when_ended(chosen, ended, answer.failed)

    def stop(self, verb: Stop, answer: Answer) -> None:
        """SIGTERM; answered when the processes have ended."""
        chosen = self._cluster.choose(verb.selector, HAS_PROCESS)
        if verb.dry_run:
            answer.done([f"would stop {node.name} (pid {node.pid})" for node in chosen])
            return
        lines = [f"{node.name} stopped (pid {node.pid})" for node in chosen]
        self.terminate(chosen, lambda: answer.done(lines), answer.failed)

    def start(self, verb: Start, answer: Answer) -> None:
        """Answered when the nodes are up."""
        chosen = self._cluster.choose(verb.selector, HAS_NONE)
        for node in chosen:
            node.repair = verb.repair_from_peers
        self.begin(chosen, lambda: answer.done(self._started_lines(chosen)), answer.failed)

    def restart(self, verb: Restart, answer: Answer) -> None:
        """Stop the running ones and start all, in parallel; a rolling restart is in `rolling_restart`."""
        chosen = self._cluster.choose(verb.selector)
        running = [node for node in chosen if node.state in HAS_PROCESS]
        if verb.dry_run:
            answer.done([f"would restart {node.name} ({_process_words(node)})" for node in chosen])
            return

        def back() -> None:
            answer.done([f"{node.name} restarted (pid {node.pid})" for node in chosen])

        self.terminate(running, lambda: self.begin(chosen, back, answer.failed), answer.failed)

    def pause(self, verb: Pause, answer: Answer) -> None:
        """SIGSTOP."""
        chosen = self._cluster.choose(verb.selector, {NodeState.RUNNING})
        if verb.dry_run:
            until = "" if verb.for_seconds is None else f" for {format_duration(verb.for_seconds)}"
            answer.done([f"would pause {node.name} (pid {node.pid}){until}" for node in chosen])
            return
        for node in chosen:
            words = f"pause {node.name}"
            if verb.for_seconds is not None:
                words += f" for {format_duration(verb.for_seconds)}"
            fault = self._cluster.faults.add_process_fault(PAUSE, node.id, words)
            self._processes.pause(node)
            self._inject(fault)
            if verb.for_seconds is not None:
                self._context.after(verb.for_seconds, self._waker(node, fault))
        answer.done([f"{node.name} paused (pid {node.pid})" for node in chosen])

    def resume(self, verb: Resume, answer: Answer) -> None:
        """SIGCONT."""
        chosen = self._cluster.choose(verb.selector, {NodeState.PAUSED})
        for node in chosen:
            self.wake(node)
        answer.done([f"{node.name} resumed (pid {node.pid})" for node in chosen])

    def wake(self, node: NodeProcess) -> None:
        """Resume a paused node, and send it what it missed."""
        self._processes.resume(node)
        self._on_wake(node)
        self._clear(PAUSE, node)

    def terminate(
        self, nodes: Sequence[NodeProcess], then: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        """SIGTERM, then SIGKILL for those that have not ended in time."""
        for node in nodes:
            self._processes.terminate(node)
        exits = {node: node.exits for node in nodes}

        def ended(held: bool) -> None:
            late = [node for node in nodes if node.exits == exits[node]]
            for node in late:
                self._processes.kill(node, Cause.STOPPED)
            if held:
                then()
            else:
                self._when_ended(late, then, failed)

        self._conditions.wait(
            lambda: all(node.exits > exits[node] for node in nodes), EXIT_SECONDS_MAX, ended
        )

    def begin(
        self, nodes: Sequence[NodeProcess], then: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        """Start them, and wait until all are up."""
        for node in nodes:
            self._clear(KILL, node)
            self._clear(CRASH, node)
            if node.state in HAS_NONE:
                self._processes.start(node)

        def up() -> bool:
            return all(node.state is NodeState.RUNNING for node in nodes)

        self._conditions.wait(
            lambda: up() or any(node.state is NodeState.GAVE_UP for node in nodes),
            START_SECONDS_MAX,
            lambda _: then() if up() else failed(self._not_up(nodes)),
        )

    def forget_faults_of_dead(self, node: NodeProcess) -> None:
        """A process that has ended is no longer paused."""
        self._clear(PAUSE, node)

    def _when_ended(
        self, nodes: Sequence[NodeProcess], then: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        exits = {node: node.exits for node in nodes}
        self._conditions.wait(
            lambda: all(node.exits > exits[node] for node in nodes),
            EXIT_SECONDS_MAX,
            lambda held: then() if held else failed("the kernel has not ended them yet"),
        )

    def start_later(self, node: NodeProcess, seconds: float) -> None:
        """Start a node after a delay, unless it was started meanwhile."""
        exits = node.exits

        def start() -> None:
            if node.exits == exits and node.state is NodeState.DOWN:
                self._clear(KILL, node)
                self._clear(CRASH, node)
                self._processes.start(node)

        self._context.after(seconds, start)

    def _waker(self, node: NodeProcess, fault: Fault) -> Callable[[], None]:
        def wake() -> None:
            if self._cluster.faults.process_fault(PAUSE, node.id) is fault:
                self.wake(node)

        return wake

    def _inject(self, fault: Fault) -> None:
        self._cluster.journal.record(injected(fault), self._context.now())

    def _clear(self, kind: str, node: NodeProcess) -> None:
        fault = self._cluster.faults.process_fault(kind, node.id)
        if fault is not None:
            self._cluster.faults.remove(fault.id)
            self._cluster.journal.record(cleared(fault), self._context.now())

    def _started_lines(self, nodes: Sequence[NodeProcess]) -> Lines:
        took = {node: format_duration(node.up_seconds - node.started_seconds) for node in nodes}
        return [f"{node.name} started (pid {node.pid}) in {took[node]}" for node in nodes]

    def _not_up(self, nodes: Sequence[NodeProcess]) -> str:
        late = [node for node in nodes if node.state is not NodeState.RUNNING]
        gave_up = [node for node in late if node.state is NodeState.GAVE_UP]
        if gave_up:
            return "; ".join(f"{node.name} gave up: {_last_line(node.last_output)}" for node in gave_up)
        return f"not up within {format_duration(START_SECONDS_MAX)}: " + ", ".join(
            f"{node.name} is {node.state.value}" for node in late
        )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _process_words(node: NodeProcess) -> str:
    return f"pid {node.pid}" if node.state in HAS_PROCESS else node.state.value
