"""What each library is asked to do, and how it says what came of it.

Owns the sizes and the form of the answer: one JSON object a line. Imported by programs that run without this
project installed, so it imports the standard library only.
"""

import json
import os
import statistics
import time
from collections.abc import Callable

ASKS = 3000
WINDOW = 256
ROUNDS = 20
TELLS = 50_000
JOBS = 200
MANY = 1000
KILLS = 5


def tell(**figures: float) -> None:
    """Print some figures."""
    print(json.dumps(figures), flush=True)


def tell_latencies(seconds: list[float]) -> None:
    """Print what one ask at a time takes."""
    ordered = sorted(seconds)
    tell(
        ask_p50_us=statistics.median(ordered) * 1e6,
        ask_p99_us=ordered[int(len(ordered) * 0.99)] * 1e6,
    )


def compute(rounds: int = 60_000) -> int:
    """A job that keeps a processor busy for some milliseconds."""
    total = 0
    for number in range(rounds):
        total += number * number
    return total


def timed(call: Callable[[], object]) -> float:
    """How many seconds a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def memory_mib(pids: set[int]) -> float:
    """What these processes have in memory together, what they share counted in parts (PSS)."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:  # noqa: PTH123
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


def children() -> set[int]:
    """This process and all that came of it."""
    parents = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/stat") as file:  # noqa: PTH123
                    parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found
