"""The check of a state machine in interpreters with different hash seeds, as in replicas.

Owns the running of a log elsewhere; the comparison is in `raft.machines.testkit`. For a custom machine it is
one line of a test:

    check_machine("shop.stock:Stock", [b"add 1", b"add 2"], queries=[b"sum"])
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from raft.machines import testkit
from raft.machines.machine import StateMachine
from raft.machines.testkit import Trace, compare, replay

HASH_SEEDS = (0, 1, 4711)


class Task(Struct, frozen=True, array_like=True):
    """What another interpreter is to run."""

    target: str
    log: list[bytes]


def check_machine(
    target: str, log: Sequence[bytes], queries: Sequence[bytes] = (), hash_seeds: Sequence[int] = HASH_SEEDS
) -> None:
    """`testkit.check_machine` for the class `package.module:Class`, then the log under each hash seed."""
    make = load(target)
    testkit.check_machine(make, log, queries)
    trace = replay(make(), log)
    for seed in hash_seeds:
        compare(trace, _replay_elsewhere(Task(target, list(log)), seed), f"with the hash seed {seed}")


def load(target: str) -> Callable[[], StateMachine]:
    """The class named by `package.module:Class`."""
    module, _, name = target.partition(":")
    make: Callable[[], StateMachine] = getattr(importlib.import_module(module), name)
    return make


def _replay_elsewhere(task: Task, seed: int) -> Trace:
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-m", "raft.lab.simulation.determinism"],
        input=msgspec.msgpack.encode(task),
        env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
    )
    return msgspec.msgpack.decode(done.stdout, type=Trace)


def _main() -> None:
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    trace = replay(load(task.target)(), task.log)
    sys.stdout.buffer.write(msgspec.msgpack.encode(trace))


if __name__ == "__main__":
    _main()
