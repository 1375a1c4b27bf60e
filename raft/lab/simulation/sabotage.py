"""Proof that the simulation detects errors: guards are removed one by one, and some seed must fail.

    python -m raft.lab.simulation.sabotage [--seeds N] [--seconds S] [NAME ...]

Owns the search and its report. Exits with 1 if a sabotage survives all seeds. Knows nothing of the guards.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from msgspec import Struct

from raft.lab.simulation.faults.plan import draw_plan
from raft.lab.simulation.guards import SABOTAGES
from raft.lab.simulation.patches import Sabotage
from raft.lab.simulation.setting import draw_setting
from raft.lab.simulation.simulation import simulate

REASON_CHARACTERS = 150


class Hunt(Struct, frozen=True):
    """The fate of a sabotage: how many seeds it survived, and the failure that revealed it, if any."""

    survived: int
    reason: str | None


def hunt(sabotage: Sabotage, *, seeds: int, seconds: float, nodes: int = 5) -> Hunt:
    """Run seeds 1, 2, 3 and so on without a guard, until one of them fails."""
    with sabotage.patch():
        for seed in range(1, seeds + 1):
            setting = draw_setting(seed, nodes=nodes, seconds=seconds)
            failure = simulate(setting, draw_plan(setting)).failure
            if failure is not None:
                return Hunt(seed - 1, failure.reason)
    return Hunt(seeds, None)


def main(arguments: Sequence[str]) -> int:
    """Test the named sabotages, or all; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m raft.lab.simulation.sabotage", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="give up after this many (200)")
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated seconds of each (60)")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *(s.name for s in SABOTAGES)])
    asked = parser.parse_args(arguments)
    chosen = [sabotage for sabotage in SABOTAGES if not asked.names or sabotage.name in asked.names]
    survivors = 0
    for sabotage in chosen:
        start = time.monotonic()
        found = hunt(sabotage, seeds=asked.seeds, seconds=asked.seconds)
        survivors += found.reason is None
        fate = "SURVIVED all" if found.reason is None else f"survived {found.survived}"
        took_seconds = time.monotonic() - start
        sys.stdout.write(f"{sabotage.name:<24} {fate:<13} ({took_seconds:.1f} s)  {sabotage.description}\n")
        if found.reason is not None:
            lines = [line for line in found.reason.strip().splitlines() if line.strip()]
            words = lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"
            sys.stdout.write(f"{'':<24} {words[:REASON_CHARACTERS]}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - survivors} of {len(chosen)} sabotages were detected\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
