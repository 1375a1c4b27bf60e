"""The processes of one cluster of a peer: started, hurt, read and ended by pid.

Owns their processes and what the operating system says of their CPU and memory, alike for all peers, and
the asking of client programs. Leaves neither a process nor a directory behind. Knows no figure.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from benchmarks.peers.peer import Peer, Plan, plan_of
from benchmarks.peers.task import Kind, Latencies, Leads, Task, Took

TIMEOUT_SECONDS = 90.0
LAST_WORDS_MAX = 300
ROOT = Path(__file__).resolve().parents[2]
Told = TypeVar("Told", Latencies, Took, Leads)


class Asked:
    """A client program that is ready to begin its task."""

    def __init__(self, command: list[str], task: Task, errors: Path) -> None:
        with errors.open("ab") as complaints:
            self.process = subprocess.Popen(
                [*command, msgspec.json.encode(task).decode()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd=ROOT,
            )
        self._errors = errors
        # Whatever it waits for in vain, the comparison goes on.
        self._patience = threading.Timer(TIMEOUT_SECONDS, self.process.kill)
        self._patience.daemon = True
        self._patience.start()

    def await_ready(self) -> None:
        """Wait until it has connected."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            self.end()
            raise RuntimeError(f"a client did not come up: {self._last_words()}")

    def begin(self, moment: float) -> None:
        """Name the moment from which on it counts."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{moment:.9f}\n".encode())
        self.process.stdin.flush()

    def answer(self, kind: type[Told]) -> Told:
        """What came of it."""
        try:
            told = self.process.communicate()[0]
        finally:
            self.end()
        if self.process.returncode:
            raise RuntimeError(f"a client failed: {self._last_words()}")
        return msgspec.json.decode(told, type=kind)

    def _last_words(self) -> str:
        said = self._errors.read_text().strip().splitlines()
        return said[-1][-LAST_WORDS_MAX:] if said else "it said nothing, or had no more time"

    def end(self) -> None:
        """Whatever it is doing."""
        self._patience.cancel()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Members:
    """One cluster of a peer; see `running`."""

    def __init__(self, peer: Peer, plan: Plan) -> None:
        self.peer = peer
        self.plan = plan
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._ran: set[int] = set()

    # -- processes ------------------------------------------------------------------------------

    def start(self, nodes: Iterable[int]) -> None:
        """Start members, all at once; returns before they are of any use."""
        for node in nodes:
            self.plan.directory(node).mkdir(exist_ok=True)
            command = self.peer.member_command(self.plan, node, again=node in self._ran)
            self._ran.add(node)
            with (self.plan.home / f"n{node}.log").open("ab") as log:
                self.processes[node] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
                )

    def send(self, node: int, number: signal.Signals) -> None:
        """A signal to one member."""
        self.processes[node].send_signal(number)

    def await_exit(self, node: int) -> None:
        """Wait until a member that was told to end has done so."""
        self.processes.pop(node).wait(TIMEOUT_SECONDS)

    def end(self) -> None:
        """Kill all that is left; nothing of it is needed any more."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    # -- what the operating system says ---------------------------------------------------------

    def pids(self) -> list[int]:
        """Those of the members that run."""
        return [process.pid for process in self.processes.values()]

    def memory(self) -> list[Any]:
        """What each member has in memory: rss, pss and the others."""
        return [psutil.Process(pid).memory_full_info() for pid in self.pids()]

    def busy_seconds(self) -> float:
        """The CPU time that all members have had, to the nanosecond; see proc(5), schedstat."""
        tasks = (task for pid in self.pids() for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    # -- clients --------------------------------------------------------------------------------

    def task(self, do: Kind, nodes: Iterable[int] = (), **fields: Any) -> Task:
        """A task for a client that knows those members, or all that run."""
        known = sorted(nodes or self.processes)
        return Task(do=do, endpoints={node: self.peer.endpoint(self.plan, node) for node in known}, **fields)

    def asked(self, task: Task) -> Asked:
        """A client that is about to do a task."""
        return Asked(self.peer.client_command(task.do), task, self.plan.home / "clients.log")

    def ready(self, task: Task) -> Asked:
        """A client that has connected, and waits for the word."""
        asked = self.asked(task)
        asked.await_ready()
        return asked

    def ask(self, task: Task, kind: type[Told]) -> Told:
        """Have a task done at once."""
        asked = self.ready(task)
        asked.begin(time.monotonic())
        return asked.answer(kind)

    def leader(self) -> int:
        """Who leads, by its own account."""
        return self.ask(self.task("leader"), Leads).leader


@contextlib.contextmanager
def places(peer: Peer, nodes: int, work: Path) -> Iterator[Members]:
    """Members of whom none runs yet, for the length of a block."""
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=work))
    members = Members(peer, plan_of(home, nodes))
    try:
        yield members
    finally:
        members.end()
        shutil.rmtree(home)


@contextlib.contextmanager
def running(peer: Peer, nodes: int, work: Path) -> Iterator[Members]:
    """A cluster that takes writes, for the length of a block."""
    with places(peer, nodes, work) as members:
        members.start(range(1, nodes + 1))
        members.ask(members.task("probe"), Took)
        yield members
