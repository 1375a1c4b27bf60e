"""This project's actors beside other libraries': the same work, in turn, in one run.

Owns the turns and the table. A library that is not installed is left out and named; `--python` says where
the others are, as they need not be where this project is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PEERS: Final = ("xoscar", "thespian", "ray", "pykka")
SECONDS_MAX: Final = 240.0
FIGURES: Final = {
    "ask_p50_us": ("one ask at a time, p50", "us", 0),
    "ask_p99_us": ("one ask at a time, p99", "us", 0),
    "asks_per_second": ("256 asks at once", "a second", 0),
    "tells_per_second": ("tells, until all are handled", "a second", 0),
    "pool_seconds": ("200 jobs of some ms, two workers", "s", 2),
    "many_start_seconds": ("1,000 actors in 4 processes, started", "s", 2),
    "many_mib": ("their memory, with their parent's (PSS)", "MiB", 0),
    "back_ms": ("a worker killed, until its successor answers", "ms", 0),
}

Results = dict[str, dict[str, float]]


def missing(peer: str, python: str) -> str:
    """Why a library cannot be measured; empty if it can."""
    done = subprocess.run([python, "-c", f"import {peer}"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it cannot be imported"])[-1]


def command_of(name: str, python: str) -> tuple[list[str], Path]:
    """What runs one turn, and where."""
    if name == "actors":
        return [sys.executable, "-m", "benchmarks.actor_peers.with_actors"], ROOT
    return [python, f"with_{name}.py"], HERE


def turn(name: str, python: str) -> dict[str, float]:
    """The figures of one program; those that it printed before it failed, if it did."""
    command, directory = command_of(name, python)
    environment = {**os.environ, "PYTHONPATH": str(ROOT) if name == "actors" else ""}
    found: dict[str, float] = {}
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"{name} took longer than {SECONDS_MAX:g} s", file=sys.stderr)
        return found
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found.update(json.loads(line))
    if done.returncode:
        print(f"{name} ended with {done.returncode}: {done.stderr.strip()[-500:]}", file=sys.stderr)
    return found


def best(rounds: Iterable[dict[str, float]]) -> dict[str, float]:
    """The best of each figure: on a machine that others use too, what disturbs it least."""
    kept: dict[str, float] = {}
    for figures in rounds:
        for name, figure in figures.items():
            better = max if name.endswith("per_second") else min
            kept[name] = better(kept.get(name, figure), figure)
    return kept


def table(results: Results) -> str:
    """All figures as Markdown."""
    names = list(results)
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for key, (title, unit, digits) in FIGURES.items():
        cells = [f"{results[name][key]:,.{digits}f}" if key in results[name] else "" for name in names]
        lines.append(f"| {title} ({unit}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compare(peers: Sequence[str], python: str, rounds: int) -> int:
    """Measure, and print the table."""
    present = ["actors"]
    for peer in peers:
        if why := missing(peer, python):
            print(f"left out: {peer}: {why}", file=sys.stderr)
        else:
            present.append(peer)
    present.append("executor")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in present}
    for number in range(rounds):
        for name in present:
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            found[name].append(turn(name, python))
    results = {name: best(turns) for name, turns in found.items()}
    print(table(results))
    return 0
