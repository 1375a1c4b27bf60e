"""Many seeds, on several processors.

Owns the division of the work among processes, each of which writes one result a line. A run depends on
nothing but its seed, so any process may run it. Knows nothing of what is simulated.
"""

from __future__ import annotations

import gc
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from raft.lab.shrinking import shrink
from raft.lab.simulation.faults.plan import Fault, draw_plan
from raft.lab.simulation.setting import Setting, draw_setting
from raft.lab.simulation.simulation import Result, simulate

ROOT = Path(__file__).resolve().parents[3]


class Campaign(Struct, frozen=True, kw_only=True):
    """Which seeds to run: `seeds` of them from `first`, every `stride`th.

    `steps` limits the faults of each.
    """

    first: int
    seeds: int
    stride: int = 1
    nodes: int = 5
    seconds: float = 60.0
    steps: int | None = None

    def world(self, seed: int) -> tuple[Setting, tuple[Fault, ...]]:
        """The world of a seed, and its faults."""
        setting = draw_setting(seed, nodes=self.nodes, seconds=self.seconds)
        return setting, draw_plan(setting)[: self.steps]

    def shares(self, jobs: int) -> list[Campaign]:
        """The same seeds, divided among that many processes."""
        return [
            msgspec.structs.replace(
                self, first=self.first + job, seeds=len(range(job, self.seeds, jobs)), stride=jobs
            )
            for job in range(min(jobs, self.seeds))
        ]


def run_here(campaign: Campaign) -> Iterator[Result]:
    """Run the seeds in this process, one after another."""
    gc.freeze()  # Objects from before the first world are not part of any.
    for number in range(campaign.seeds):
        # A world is small and short-lived: collecting garbage while it runs costs a quarter of the time.
        gc.disable()
        try:
            result = simulate(*campaign.world(campaign.first + number * campaign.stride))
        finally:
            gc.enable()
        gc.collect()
        yield result


def run(campaign: Campaign, *, jobs: int) -> Iterator[Result]:
    """Run the seeds in `jobs` processes, which end with the generator; results come as they are ready."""
    if jobs == 1:
        yield from run_here(campaign)
        return
    command = [sys.executable, "-m", "raft.lab.simulation.campaign"]
    children = [
        subprocess.Popen([*command, msgspec.json.encode(share).decode()], cwd=ROOT, stdout=subprocess.PIPE)
        for share in campaign.shares(jobs)
    ]
    try:
        yield from _results(children)
    finally:
        for child in children:
            child.kill()
            child.communicate()


def shrunk(setting: Setting, plan: tuple[Fault, ...], failed_at_seconds: float) -> tuple[Fault, ...]:
    """As few of the faults of a failing run as still make it fail."""
    relevant = [fault for fault in plan if fault.at_seconds <= failed_at_seconds]

    def fails(part: object) -> bool:
        assert isinstance(part, list | tuple)
        return simulate(setting, part).failure is not None

    return shrink(relevant if fails(relevant) else plan, fails)


def _results(children: list[subprocess.Popen[bytes]]) -> Iterator[Result]:
    decoder = msgspec.json.Decoder(Result)
    with selectors.DefaultSelector() as selector:
        for child in children:
            assert child.stdout is not None
            selector.register(child.stdout, selectors.EVENT_READ, bytearray())
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                key.data.extend(data)
                *lines, rest = bytes(key.data).split(b"\n")
                key.data[:] = rest
                yield from map(decoder.decode, lines)
    for child in children:
        if child.wait() != 0:
            raise RuntimeError(f"a process of the simulation ended with {child.returncode}")


def _main(argument: str) -> None:
    for result in run_here(msgspec.json.decode(argument, type=Campaign)):
        sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(sys.argv[1])
