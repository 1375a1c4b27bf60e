"""The verb that simulates whole clusters with faults: simulate.

Owns its command line, and how results are shown. Everything else is in raft.lab, which is loaded only by
this verb.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from raft.cli import options
from raft.cli.app import FAULTS, app, out, out_json, paint, say, session_of
from raft.cluster.failures import BadUsage, ExitCode
from raft.cluster.rundir import called_as

if TYPE_CHECKING:
    from raft.lab.simulation.campaign import Campaign
    from raft.lab.simulation.simulation import Result

SHRUNK_MAX = 3  # Of the failing seeds; shrinking takes a hundred runs each.
PROGRESS_SECONDS = 2.0

Seeds = Annotated[
    int | None, typer.Option("--seeds", metavar="N", min=1, help="Run N seeds.", show_default="100")
]
First = Annotated[int, typer.Option("--first", metavar="N", help="The first seed.")]
OneSeed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Show the run of this seed.", show_default=False)
]
Shrunk = Annotated[
    bool, typer.Option("--shrunk", help="With --seed: reproduce its failure with as few faults as possible.")
]
Nodes = Annotated[int, typer.Option("--nodes", metavar="N", help="Nodes in the cluster.", min=1, max=9)]
Length = Annotated[
    float,
    options.duration_option("--seconds", "--duration", help="Simulated time of each run.", shown="60s"),
]  # fmt: skip
Steps = Annotated[
    int | None,
    typer.Option("--steps", metavar="N", min=0, help="At most N faults in a run.", show_default=False),
]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", help="Processes to run seeds in.", min=1, max=64)]


@app.command(
    rich_help_panel=FAULTS,
    epilog="Example: launcher.py simulate --seeds 1000, then: launcher.py simulate --seed 7",
)
def simulate(
    context: typer.Context,
    seeds: Seeds = None,
    first: First = 1,
    seed: OneSeed = None,
    shrunk: Shrunk = False,
    nodes: Nodes = 5,
    seconds: Length = 60.0,
    steps: Steps = None,
    jobs: Jobs = 1,
    output: options.Output = options.Format.TABLE,
) -> None:
    """Run the nodes' own code in a simulated world with faults, and check every step."""
    from raft.lab.simulation.campaign import Campaign

    if seed is not None and seeds is not None:
        raise BadUsage("give either --seeds, to run many, or --seed, to see one")
    if seed is None and shrunk:
        raise BadUsage("--shrunk goes with --seed")
    campaign = Campaign(
        first=first if seed is None else seed,
        seeds=1 if seed is not None else 100 if seeds is None else seeds,
        nodes=nodes,
        seconds=seconds,
        steps=steps,
    )
    failed = (
        _tell(campaign, output, shrunk=shrunk)
        if seed is not None
        else _run(campaign, jobs, output, progress=not session_of(context).quiet)
    )
    if failed:
        raise typer.Exit(ExitCode.VIOLATION)


def _tell(campaign: Campaign, output: options.Format, *, shrunk: bool) -> bool:
    """Replay one seed line by line; returns whether a check failed."""
    from raft.lab.simulation.campaign import shrunk as shrink
    from raft.lab.simulation.simulation import simulate as simulate_one

    setting, plan = campaign.world(campaign.first)
    if shrunk:
        failure = simulate_one(setting, plan).failure
        if failure is None:
            say(f"seed {campaign.first} passes every check: there is nothing to shrink")
            return False
        plan = shrink(setting, plan, failure.at_seconds)
    if output is options.Format.JSON:
        story: list[str] = []
        result = simulate_one(setting, plan, story.append)
        broken = None if result.failure is None else result.failure.reason
        out_json(seed=result.seed, faults=len(plan), digest=result.digest, broken=broken, story=story)
        return result.failure is not None
    result = simulate_one(setting, plan, out)
    verdict = "every check passed" if result.failure is None else f"BROKEN: {result.failure.reason}"
    say(f"seed {result.seed}, {len(plan)} faults, run {result.digest}: {verdict}")
    if result.failure is not None and not shrunk:
        say(f"with fewer faults: {called_as()} simulate --seed {result.seed} --shrunk")
    return result.failure is not None


def _run(campaign: Campaign, jobs: int, output: options.Format, *, progress: bool) -> bool:
    """Run many seeds and sum them up; returns whether a check failed for any."""
    from raft.lab.simulation.campaign import run

    counts: Counter[str] = Counter()
    digests: dict[int, str] = {}
    failed: list[Result] = []
    simulated_seconds = 0.0
    start = last_said = time.monotonic()
    for result in run(campaign, jobs=jobs):
        counts.update(result.counts)
        digests[result.seed] = result.digest
        simulated_seconds += result.seconds
        if result.failure is not None:
            failed.append(result)
            say(
                f"seed {result.seed} BROKEN at {result.failure.at_seconds:.3f} s: {result.failure.reason}",
                "red",
            )
        now = time.monotonic()
        if progress and now - last_said >= PROGRESS_SECONDS:
            last_said = now
            speed = simulated_seconds / (now - start)
            say(f"{len(digests)} of {campaign.seeds} seeds, {speed:.0f} simulated seconds per second")
    for result in failed[:SHRUNK_MAX]:
        _shrink(campaign, result)
    from hashlib import blake2b  # Here, since it is slow to load.

    digest = blake2b("".join(digests[seed] for seed in sorted(digests)).encode(), digest_size=8).hexdigest()
    speed = simulated_seconds / max(time.monotonic() - start, 1e-9)
    if output is options.Format.JSON:
        summary = {
            "v": 1,
            "seeds": len(digests),
            "nodes": campaign.nodes,
            "simulated_seconds": round(simulated_seconds, 3),
            "speed": round(speed, 1),
            "digest": digest,
            "failed": [result.seed for result in failed],
            "counts": dict(sorted(counts.items())),
        }
        out(msgspec.json.encode(summary).decode())
        return bool(failed)
    style = paint()
    for name, number in sorted(counts.items()):
        out(f"{number:>10}  {name}")
    out(_headline(counts))
    seeds = "seed" if len(digests) == 1 else "seeds"
    verdict = style(f"{len(failed)} BROKEN", "red") if failed else "every check passed"
    out(
        f"{len(digests)} {seeds}, {simulated_seconds:.0f} simulated seconds at {speed:.0f} per second, "
        f"runs {digest}: {verdict}"
    )
    return bool(failed)


def _headline(counts: Counter[str]) -> str:
    """The most important counts, in one line."""
    names = {
        "elections": ["leader-elected"],
        "crashes": [name for name in counts if name in ("kills", "power cuts") or name.startswith("died at")],
        "truncations": ["truncations"],
        "snapshots installed": ["snapshots installed"],
        "torn tails cut": ["torn tails cut"],
        "bits flipped": ["bits flipped"],
        "wiped disks refused": ["wiped disks refused"],
        "changes of members": [name for name in counts if name.startswith("members ")],
    }
    return ", ".join(f"{sum(counts[part] for part in parts)} {name}" for name, parts in names.items())


def _shrink(campaign: Campaign, result: Result) -> None:
    from raft.lab.simulation.campaign import shrunk

    assert result.failure is not None
    setting, plan = campaign.world(result.seed)
    needed = shrunk(setting, plan, result.failure.at_seconds)
    say(f"seed {result.seed} fails with {len(needed)} of {len(plan)} faults:")
    for fault in needed:
        say(f"  {fault.at_seconds:9.4f}s  {fault.describe()}")
    say(f"  {called_as()} simulate --seed {result.seed} --shrunk")
