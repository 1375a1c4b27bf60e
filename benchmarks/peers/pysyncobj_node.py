"""A member of a PySyncObj cluster: a program that has the library in it, and so its callers too.

Owns the replicated dictionary, the tasks of benchmarks.peers.task that PySyncObj has a way to do, and the
small conversation by which a client program hands a task to a member: `--serve` is the member, without it
this is the client program. Callers are chains of callbacks in the library's own thread, its quickest way.
"""

from __future__ import annotations

import argparse
import queue
import random
import socket
import sys
import time
from collections.abc import Sequence
from typing import BinaryIO, cast

import msgspec
from pysyncobj import SyncObj, SyncObjConf, replicated

from benchmarks.peers.task import Answer, Latencies, Leads, Task, Took, read_task

TUNED = {
    "appendEntriesUseBatch": False,
    "appendEntriesPeriod": 0.010,
    "raftMinTimeout": 0.050,
    "raftMaxTimeout": 0.100,
    "connectionRetryTime": 0.050,
}
POLL_SECONDS = 0.002


class Dictionary(SyncObj):  # type: ignore[misc]
    """Keys and values. A linearizable read is a command of its own: the library has no other."""

    def __init__(self, own: str, others: list[str], conf: SyncObjConf) -> None:
        self._values: dict[str, str] = {}
        super().__init__(own, others, conf)

    @replicated  # type: ignore[untyped-decorator, unused-ignore]
    def put(self, key: str, value: str) -> None:
        """Bind a key."""
        self._values[key] = value

    @replicated  # type: ignore[untyped-decorator, unused-ignore]
    def read(self, key: str) -> str | None:
        """What a key holds."""
        return self._values.get(key)

    def leads(self) -> bool:
        """Does this member lead, as far as it knows?"""
        return bool(self._isLeader())


class Caller:
    """Asks again as soon as it is answered, until the time is over."""

    def __init__(self, held: Dictionary, task: Task, begin: float, ended: queue.Queue[Caller]) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self._held, self._task, self._ended = held, task, ended
        self._begin, self._end = begin, begin + task.seconds
        self._random = random.Random(task.seed + id(self))
        self._value = "x" * task.value_bytes
        self._asked = 0.0

    def ask(self) -> None:
        """One write or read."""
        key = f"k{self._random.randrange(self._task.keys):08d}"
        self._asked = time.monotonic()
        if self._random.random() < self._task.reads:
            self._held.read(key, callback=self._answered)
        else:
            self._held.put(key, self._value, callback=self._answered)

    def _answered(self, _result: object, error: int) -> None:
        now = time.monotonic()
        if self._begin <= now < self._end:
            if error:
                self.failed += 1
            else:
                self.latencies.append(now - self._asked)
        if now < self._end:
            self.ask()
        else:
            self._ended.put(self)


def load(held: Dictionary, task: Task, begin: float) -> Latencies:
    """Callers that wait for their answer before they ask again."""
    ended: queue.Queue[Caller] = queue.Queue()
    for _ in range(task.callers):
        Caller(held, task, begin, ended).ask()
    callers = [ended.get() for _ in range(task.callers)]
    latencies = [latency for caller in callers for latency in caller.latencies]
    return Latencies(latencies, sum(caller.failed for caller in callers))


def probe(held: Dictionary, task: Task, moments: queue.Queue[float]) -> Took:
    """Begin a write every so often until one that began after the named moment is acknowledged."""
    ended: queue.Queue[tuple[float, float]] = queue.Queue()
    moment = float("inf")

    def attempt() -> None:
        asked = time.monotonic()

        def answered(_result: object, error: int) -> None:
            if not error:
                ended.put((asked, time.monotonic()))

        held.put("probe", "x", callback=answered)

    while True:
        attempt()
        time.sleep(task.every_seconds)
        if not moments.empty():
            moment = moments.get()
        while not ended.empty():
            asked, acknowledged = ended.get()
            if asked >= moment:
                return Took(acknowledged - moment)


def serve(held: Dictionary, port: int) -> None:
    """Do one task after the other, for ever."""
    listening = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listening.accept()
        with connection, connection.makefile("rwb") as line:
            serve_one(held, cast(BinaryIO, line))


def serve_one(held: Dictionary, line: BinaryIO) -> None:
    """Read a task, say that it can begin, do it."""
    asked = line.readline()
    if not asked:
        return
    task = read_task(asked.decode())
    moments: queue.Queue[float] = queue.Queue()
    line.write(b"ready\n")
    line.flush()
    answer: Answer
    if task.do == "leader":
        line.readline()
        answer = Leads(task.node if held.leads() else 0)
    elif task.do == "load":
        answer = load(held, task, float(line.readline()))
    else:
        moments.put(float(line.readline()))
        answer = probe(held, task, moments)
    line.write(msgspec.json.encode(answer) + b"\n")
    line.flush()


# -- the client program ---------------------------------------------------------------------------


def hand(task: Task, endpoint: str) -> BinaryIO:
    """Give a task to a member as soon as it listens."""
    host, _, port = endpoint.partition(":")
    while True:
        try:
            connection = socket.create_connection((host, int(port)))
        except ConnectionRefusedError:
            time.sleep(POLL_SECONDS)
            continue
        line = cast(BinaryIO, connection.makefile("rwb"))
        line.write(msgspec.json.encode(task) + b"\n")
        line.flush()
        return line


def leader_of(task: Task) -> int:
    """Ask all who leads until one says that it does."""
    while True:
        for node, endpoint in task.endpoints.items():
            line = hand(msgspec.structs.replace(task, do="leader", node=node), endpoint)
            line.readline()
            line.write(b"0\n")
            line.flush()
            if msgspec.json.decode(line.readline(), type=Leads).leader:
                return node
        time.sleep(POLL_SECONDS)


def ask(task: Task) -> None:
    """Pass the conversation on: a load goes to the leader, a probe to the first member known."""
    if task.do == "leader":
        print("ready", flush=True)
        sys.stdin.readline()
        print(msgspec.json.encode(Leads(leader_of(task))).decode(), flush=True)
        return
    node = leader_of(task) if task.do == "load" else min(task.endpoints)
    if task.do == "probe":
        print("ready", flush=True)
        moment = sys.stdin.readline()
        line = hand(task, task.endpoints[node])
        line.readline()
    else:
        line = hand(task, task.endpoints[node])
        print(line.readline().decode(), end="", flush=True)
        moment = sys.stdin.readline()
    line.write(moment.encode())
    line.flush()
    print(line.readline().decode(), end="", flush=True)


def main(arguments: Sequence[str]) -> None:
    """A member, or a client of one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", type=int, default=0)
    parser.add_argument("--own", default="")
    parser.add_argument("--other", action="append", default=[])
    parser.add_argument("--journal", default="")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("task", nargs="?")
    options = parser.parse_args(arguments)
    if not options.serve:
        ask(read_task(options.task))
        return
    conf = SyncObjConf(journalFile=options.journal or None, **(TUNED if options.tuned else {}))
    serve(Dictionary(options.own, options.other, conf), options.serve)


if __name__ == "__main__":
    main(sys.argv[1:])
