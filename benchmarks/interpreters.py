"""The same work by several interpreters, in turn, each beside the others: A B C A B C, and the medians.

Owns the turns and the table; what is measured is `benchmarks core`, and `benchmarks growth` on three nodes.
The interpreters are given by their paths, and need the project's dependencies. A machine that does other work
meanwhile gives figures that mean nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.load import ROOT

GROWTH = {
    "a lone write, three nodes, ms": "lone_ms",
    "64 callers, writes a second": "per_second",
    "leader killed, until a write, ms": "failover_ms",
    "largest share of memory (PSS), MB": "memory_mb",
}

Figures = dict[str, list[float]]


def told(python: str, *words: str) -> Any:
    """What a measurement of this package says, run by that interpreter."""
    command = [python, "-m", "benchmarks", *words, "--output", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return json.loads(done.stdout)


def version_of(python: str) -> str:
    """As it says it, and how it was built where that makes it another one."""
    code = (
        "import sys, sysconfig; v = sysconfig.get_config_var; print(sys.version.split()[0],"
        " 'with PGO' if '--enable-optimizations' in (v('CONFIG_ARGS') or '') else '',"
        " 'free-threaded' if v('Py_GIL_DISABLED') else '')"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())


def round_of(python: str, figures: Figures) -> None:
    """One turn of one interpreter."""
    for row in told(python, "core")["rows"]:
        figures.setdefault(f"core: {row['what']}, {row['unit']}", []).append(row["figure"])
    (point,) = told(python, "growth", "--only", "nodes", "--most", "3")["points"]
    for what, name in GROWTH.items():
        figures.setdefault(what, []).append(point[name])


def table(by_version: Mapping[str, Figures]) -> Iterator[str]:
    """As markdown: medians, a column for each interpreter."""
    yield f"| median | {' | '.join(by_version)} |"
    yield "| --- |" + " ---: |" * len(by_version)
    for what in next(iter(by_version.values())):
        cells = (f"{statistics.median(figures[what]):,.2f}" for figures in by_version.values())
        yield f"| {what} | {' | '.join(cells)} |"


def main(arguments: Sequence[str] = ()) -> int:
    """Measure each interpreter in each round, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks interpreters", description=__doc__)
    parser.add_argument("python", nargs="*", default=[sys.executable], help="paths of interpreters; this one")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    by_version: dict[str, Figures] = {version_of(python): {} for python in given.python}
    for number in range(given.rounds):
        for python, figures in zip(given.python, by_version.values(), strict=True):
            print(f"round {number + 1}: {python}", file=sys.stderr)
            round_of(python, figures)
    print("\n".join(table(by_version)))
    return 0
