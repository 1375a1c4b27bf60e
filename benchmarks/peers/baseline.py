"""This checkout beside another commit of itself, in turn, so that "no worse" can be checked.

Owns the other commit's checkout, and the table: a row for each figure, with the ratio of the medians and how
far the rounds spread. Each side runs its own nodes and its own client. Knows nothing of what is measured.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from benchmarks.load import ROOT
from benchmarks.peers.raft_actors import DEFAULT, RaftActors
from benchmarks.peers.record import Figure
from benchmarks.peers.showing import written

ROUNDS_MIN = 3
THIS, BASELINE = "raft-actors", "baseline"


@contextmanager
def checkout(what: str, work: Path) -> Iterator[Path]:
    """The directory of a checkout that is there already, or a commit, checked out until this ends.

    Raises CalledProcessError if it is neither.
    """
    if (Path(what) / "raft").is_dir():
        yield Path(what).resolve()
        return
    tree = work / "baseline"
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", tree, what], check=True)
    try:
        yield tree
    finally:
        subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)


def baseline(tree: Path, commit: str) -> RaftActors:
    """The other side."""
    return RaftActors(BASELINE, DEFAULT, "the same timings", tree, commit)


class Pair(Struct, frozen=True):
    """One figure of both sides. `ratio` is above 1 where this checkout is better."""

    scenario: str
    nodes: int
    what: str
    unit: str
    before: float
    now: float
    ratio: float
    spread: float | None
    """Half the distance between the rounds' least and greatest ratio; a smaller change says nothing. None if
    there were too few rounds to tell."""

    @property
    def verdict(self) -> str:
        """What the ratio says, given the noise."""
        if self.spread is None:
            return "too few rounds"
        change = self.ratio - 1
        return "same" if abs(change) <= max(self.spread, 0.01) else "better" if change > 0 else "worse"


def pairs(figures: Iterable[Figure]) -> list[Pair]:
    """What both sides have measured, round by round."""
    grouped: dict[tuple[str, int, str, str, bool], dict[str, list[float]]] = {}
    for figure in figures:
        key = (figure.scenario, figure.nodes, figure.what, figure.unit, figure.more_is_better)
        grouped.setdefault(key, {}).setdefault(figure.peer, []).append(figure.value)
    found = []
    for (scenario, nodes, what, unit, more), sides in grouped.items():
        before, now = sides.get(BASELINE, []), sides.get(THIS, [])
        sign = 1 if more else -1
        rounds = [(new / old) ** sign for old, new in zip(before, now, strict=False) if old and new]
        if rounds:
            medians = statistics.median(before), statistics.median(now)
            ratio = (medians[1] / medians[0]) ** sign
            spread = (max(rounds) - min(rounds)) / 2 if len(rounds) >= ROUNDS_MIN else None
            found.append(Pair(scenario, nodes, what, unit, *medians, ratio, spread))
    return found


def table(found: Iterable[Pair]) -> str:
    """As markdown."""
    lines = [
        "| | nodes | before | now | ratio | noise | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for pair in found:
        what = f"{pair.scenario}: {pair.what}"
        before, now = written(pair.before, pair.unit), written(pair.now, pair.unit)
        noise = "" if pair.spread is None else f"{pair.spread:.2f}"
        cells = [what, str(pair.nodes), before, now, f"{pair.ratio:.2f}", noise, pair.verdict]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "A ratio above 1 is better. Noise: half the spread of the rounds' ratios."])
